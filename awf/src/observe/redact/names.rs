//! By which name a variable tells that its value is a credential.
//!
//! Takes names, gives answers. Pure. That awf withholds a variable from the command does not make it a credential: some of
//! those hold addresses, which the artefacts must show.

use serde_json::Value;

/// What a name of a credential contains.
const PARTS: [&str; 8] =
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE", "COOKIE"];
/// The same as whole words, because they are parts of others: `GITHUB_PATH`, `GIT_AUTHOR_NAME`.
const WORDS: [&str; 4] = ["PAT", "AUTH", "B64", "PASS"];

/// Whether the value is a credential.
pub(super) fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    PARTS.iter().any(|part| name.contains(part))
        || name.split('_').any(|word| WORDS.contains(&word))
}

/// Whether the value is a list of header fields, or JSON with such lists: `OTEL_EXPORTER_OTLP_HEADERS`,
/// `GH_AW_OTLP_ENDPOINTS`, `AWF_BYOK_EXTRA_HEADERS`.
pub(super) fn holds_headers(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.contains("HEADER") || name.contains("OTLP_ENDPOINTS")
}

/// The values of header fields in `k=v,k=v`, one a line with colons, or JSON; each also without the scheme before it.
pub(super) fn header_values(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    match serde_json::from_str::<Value>(text) {
        Ok(value) => from_json(&value, &mut found),
        Err(_) => from_list(text, &mut found),
    }
    let bare = |value: &String| value.rsplit_once(' ').map(|(_scheme, rest)| rest.to_owned());
    let without_scheme: Vec<String> = found.iter().filter_map(bare).collect();
    found.extend(without_scheme);
    found
}

fn from_list(text: &str, found: &mut Vec<String>) {
    for field in text.split([',', '\n']) {
        if let Some((_name, value)) = field.split_once(['=', ':']) {
            found.push(value.trim().to_owned());
        }
    }
}

/// Every text below a member named `headers`; of a structure without one, all of them except addresses.
fn from_json(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(['=', ':']) && !text.contains("://") => {
            from_list(text, found);
        }
        Value::String(text) if !text.contains("://") => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| from_json(item, found)),
        Value::Object(members) => members.values().for_each(|member| from_json(member, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_by_their_names() {
        for name in [
            "OPENAI_API_KEY",
            "gh_token",
            "DB_PASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_PAT",
            "DOCKER_AUTH_CONFIG",
            "SSH_PRIVATE",
            "GOOGLE_CREDENTIALS",
            "CERT_B64",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "PATH",
            "GITHUB_PATH",
            "GIT_AUTHOR_NAME",
            "AWF_HOST_PATH",
            "HOME",
            "COMPASS",
            "MCP_GATEWAY_HOST_DOMAIN",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn values_of_header_fields_are_found_in_every_notation() {
        let check = |text: &str, expected: &[&str]| assert_eq!(header_values(text), expected);
        check("x-k=v1,Authorization=Bearer v2", &["v1", "Bearer v2", "v2"]);
        check("Authorization: token v3\n", &["token v3", "v3"]);
        let json = r#"[{"url":"https://o.example","headers":{"X-K":"v4"}},{"headers":"a=v5"}]"#;
        check(json, &["v4", "v5"]);
        check("", &[]);
    }
}
