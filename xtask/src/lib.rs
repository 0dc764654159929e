//! The parts of xtask that the privileged tests use too.

pub mod docker;
pub mod lab;
pub mod vectors;

/// What clients read to find certification authorities: OpenSSL, curl, git, python requests, node. Set to the lab's CA, the
/// way an operator would offer a CA of their own.
pub const CA_VARIABLES: [&str; 5] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];
