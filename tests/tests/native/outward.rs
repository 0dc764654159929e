//! How awf itself gets out: through another proxy, and with names resolved over HTTPS.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};

use awf_tests::attempts::carries;
use awf_tests::{Outcome, Run, Scratch, lab, unconfined};
use xtask::lab::Packet;

use crate::stage::eventually;

/// A private address, and a port on which nothing else answers in the lab.
const PARENT: &str = "10.1.2.3";

/// A second, real Squid on the internet's side.
struct Parent {
    squid: Child,
    directory: Scratch,
    port: u16,
}

impl Parent {
    fn start(port: u16) -> Self {
        let directory = Scratch::new("parent");
        crate::stage::open_to_all(directory.path());
        let path = directory.path().display();
        let conf = directory.path().join("squid.conf");
        let text = format!(
            "http_port 0.0.0.0:{port}\nhttp_access allow all\ncache deny all\npid_filename none\npinger_enable off\n\
             dns_nameservers 8.8.8.8\nvisible_hostname parent.test\nshutdown_lifetime 0 seconds\n\
             access_log stdio:{path}/access.log\ncache_log {path}/cache.log\ncoredump_dir {path}\n"
        );
        fs::write(&conf, text).expect("write the configuration");
        let mut command = lab().internet_command("setpriv");
        command.args(["--reuid", "proxy", "--regid", "proxy", "--clear-groups"]);
        command.args(["squid", "-N", "-n", &format!("parent{port}"), "-f"]).arg(&conf);
        let squid = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("Squid");
        let address = SocketAddr::from((PARENT.parse::<Ipv4Addr>().expect("an address"), port));
        eventually("the parent listens", || {
            let connect = || Ok(std::net::TcpStream::connect(address)?);
            lab().in_host(connect).is_ok()
        });
        Self { squid, directory, port }
    }

    fn url(&self) -> String {
        format!("http://{PARENT}:{}", self.port)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        drop(self.squid.kill());
        drop(self.squid.wait());
    }
}

const FETCH: &str = "curl -sS -m 20 https://example.com/whoami && curl -sS -m 20 http://example.com/whoami && \
                     curl -sS -m 20 --noproxy '*' http://example.com/whoami; \
                     curl -sS -m 20 https://denied.example.net/";

fn run(options: &[(&str, &str)], variables: &[(&str, &str)], line: &str) -> Outcome {
    let mut run = Run::allowing("example.com,example.org").flag("--env-all");
    for (name, value) in options {
        run = run.option(name, value);
    }
    for (name, value) in variables {
        run = run.caller_variable(name, value);
    }
    run.run(line)
}

#[test]
fn everything_leaves_through_an_upstream_proxy_at_a_private_address_and_nothing_denied_does() {
    let parent = Parent::start(8891);
    let direct = run(&[], &[], FETCH);
    assert_eq!(
        (direct.stdout.matches("server=example.com").count(), parent.log().contains("example")),
        (3, false)
    );
    let outcome = run(&[("--upstream-proxy", &parent.url())], &[], FETCH);
    assert_eq!(outcome.stdout.matches("server=example.com").count(), 3, "{outcome:#?}");
    let log = parent.log();
    assert!(
        log.contains("CONNECT example.com:443") && log.contains("GET http://example.com/whoami"),
        "{log}"
    );
    assert!(!log.contains("denied.example.net"), "{log}");
    // Names that no other test asks for, so that their packets are known among those of others.
    let line = "curl -sS -m 20 https://outward.bulk.test/whoami; curl -sS -m 20 http://outward.bulk.test/whoami; \
                curl -sS -m 20 https://outward-denied.bulk.test/";
    let mark = lab().sink().mark().expect("a mark");
    let outcome = Run::allowing("outward.bulk.test").run(line);
    assert_eq!(outcome.stdout.matches("host=outward").count(), 2, "{outcome:#?}");
    let named = |packet: &Packet| carries(packet, b"outward");
    let packets = lab().sink().traffic_since(&mark).expect("the packets");
    assert!(
        packets.iter().any(|packet| named(packet) && packet.dport == Some(53)),
        "positive control"
    );
    let mark = lab().sink().mark().expect("a mark");
    let run = Run::allowing("outward.bulk.test").option("--upstream-proxy", &parent.url());
    let outcome = run.run(line);
    assert_eq!(outcome.stdout.matches("host=outward").count(), 2, "{outcome:#?}");
    for packet in lab()
        .sink()
        .traffic_since(&mark)
        .expect("the packets")
        .iter()
        .filter(|packet| named(packet))
    {
        assert_eq!(packet.dport, Some(parent.port), "something else left: {packet:?}");
    }
}

#[test]
fn the_callers_variables_name_the_proxy_and_stay_outside() {
    let parent = Parent::start(8892);
    let url = parent.url();
    let variables =
        [("HTTPS_PROXY", &*url), ("http_proxy", &*url), ("no_proxy", ".example.org,10.0.0.0/8")];
    let line = "curl -sS -m 20 https://example.com/whoami; curl -sS -m 20 https://example.org/whoami; env | grep -i proxy";
    let outcome = run(&[], &variables, line).succeeded();
    assert!(
        outcome.stdout.contains("server=example.com")
            && outcome.stdout.contains("server=example.org")
    );
    assert!(!outcome.stdout.contains(PARENT), "{outcome:#?}");
    assert!(outcome.stderr.contains("10.0.0.0/8 ignored"), "{outcome:#?}");
    let log = parent.log();
    assert!(log.contains("example.com:443") && !log.contains("example.org"), "{log}");
    let differing = run(&[], &[("HTTPS_PROXY", &url), ("HTTP_PROXY", "http://10.1.2.4:1")], "true");
    assert_eq!(differing.code, 1, "{differing:#?}");
}

#[test]
fn an_upstream_proxy_that_is_gone_is_said_on_record() {
    let outcome = run(&[("--upstream-proxy", "http://10.1.2.3:8893")], &[], FETCH).failed();
    let told = outcome.records_where(|record| {
        record["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("upstream proxy could not be reached"))
    });
    assert!(!told.is_empty(), "{outcome:#?}");
}

#[test]
fn names_are_resolved_over_https_and_nothing_is_asked_in_the_clear() {
    // A name that no other test asks for, so that its queries are known among those of others.
    let line = "curl -sS -m 20 https://looked-up.bulk.test/whoami";
    assert!(unconfined(line).status.success());
    let ca = lab().ca().display().to_string();
    let trusted = [("SSL_CERT_FILE", &*ca)];
    let options = [("--dns-over-https", "https://api.example.com/dns-query")];
    let asked = |options: &[(&str, &str)]| {
        let mark = lab().sink().mark().expect("a mark");
        let mut awf = Run::allowing("looked-up.bulk.test").flag("--env-all");
        for (name, value) in options {
            awf = awf.option(name, value);
        }
        let awf = trusted.iter().fold(awf, |awf, (name, value)| awf.caller_variable(name, value));
        let outcome = awf.run(line).succeeded();
        assert!(outcome.stdout.contains("host=looked-up"), "{outcome:#?}");
        let packets = lab().sink().traffic_since(&mark).expect("the packets");
        packets.into_iter().filter(|packet| packet.dport == Some(53)).collect::<Vec<_>>()
    };
    let named = |packet: &Packet| carries(packet, b"looked-up");
    assert!(asked(&[]).iter().any(named), "without the option it is asked for");
    let queries = asked(&options);
    assert!(!queries.iter().any(named), "{queries:?}");
    // The server's own name is looked up by the machine's resolver.
    assert!(queries.iter().any(|packet| carries(packet, b"\x03api\x07example")), "{queries:?}");
}

#[test]
fn a_resolver_with_a_wrong_certificate_resolves_nothing_on_record() {
    let url = "https://api.example.com/dns-query";
    let outcome =
        run(&[("--dns-over-https", url)], &[], "curl -sS -m 20 https://example.com/").failed();
    assert!(
        outcome.stderr.contains("no name can be resolved: api.example.com: TLS"),
        "{outcome:#?}"
    );
    let told = outcome.records_where(|record| {
        record["reason"].as_str().is_some_and(|reason| reason.contains("could not be resolved"))
    });
    assert!(!told.is_empty(), "{outcome:#?}");
}
