//! The lines of `audit.jsonl`: the original's, with or without what awf adds, and their form before they had a schema.
//!
//! Takes a line, gives an [`Entry`] that borrows from it as far as the line has no escapes.

use std::borrow::Cow;

use serde::Deserialize;

use super::entry::Entry;

/// A line. Members that nothing here needs are passed over.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    timestamp: Cow<'a, str>,
    /// Before there was `timestamp`: seconds since 1970.
    #[serde(default)]
    ts: Option<f64>,
    #[serde(borrow, default)]
    client: Cow<'a, str>,
    #[serde(borrow, default)]
    host: Cow<'a, str>,
    #[serde(borrow, default)]
    dest: Cow<'a, str>,
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(default)]
    status: u32,
    #[serde(borrow)]
    decision: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(default)]
    client_port: Option<u16>,
    #[serde(borrow, default)]
    rule: Cow<'a, str>,
}

/// Reads a line; None if it is damaged.
pub(super) fn parse(line: &str) -> Option<Entry<'_>> {
    let line: Line<'_> = serde_json::from_str(line).ok()?;
    let (dest_ip, dest_port) = destination(&line.dest);
    let rule = Some(line.rule).filter(|rule| !matches!(&**rule, "" | "-"));
    Some(Entry {
        time_ms: milliseconds(&line.timestamp, line.ts),
        client_ip: said(line.client),
        client_port: line.client_port.map_or_else(|| "-".into(), |port| port.to_string().into()),
        host: said(line.host),
        dest_ip: dest_ip.into(),
        dest_port: dest_port.into(),
        protocol: "-".into(),
        method: said(line.method),
        status: line.status,
        decision: line.decision,
        url: line.url,
        user_agent: "-".into(),
        rule,
    })
}

fn said(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_empty() { Cow::Borrowed("-") } else { text }
}

fn milliseconds(timestamp: &str, ts: Option<f64>) -> i64 {
    if let Ok(time) = timestamp.parse::<jiff::Timestamp>() {
        return time.as_millisecond();
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "no log is from so far away, and saturation is harmless"
    )]
    ts.map_or(0, |seconds| (seconds * 1000.0).round() as i64)
}

fn destination(dest: &str) -> (String, String) {
    let (address, port) = dest.rsplit_once(':').unwrap_or((dest, "-"));
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let said = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    (said(bare), said(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        let original = r#"{"_schema":"audit/v0.23.1","timestamp":"2026-11-22T01:05:39.570Z","event":"http_access","client":"172.30.0.20","host":"a.test:443","dest":"[2001:db8::1]:443","method":"CONNECT","status":200,"decision":"TCP_TUNNEL","url":"a.test:443"}"#;
        let entry = parse(original).unwrap();
        assert_eq!(
            (entry.time_ms, &*entry.dest_ip, &*entry.dest_port),
            (1_795_309_539_570, "2001:db8::1", "443")
        );
        assert_eq!((&*entry.client_port, entry.rule), ("-", None));
        let legacy = r#"{"ts":1795309539.57,"client":"172.30.0.20","host":"a.test","dest":"-:-","method":"GET","status":403,"decision":"TCP_DENIED","url":"http://a.test/"}"#;
        assert_eq!(parse(legacy).unwrap().time_ms, 1_795_309_539_570);
        let ours = original
            .replace('}', r#","client_port":40001,"rule":"allow-both-plain","x":{"y":[1]}}"#);
        let entry = parse(&ours).unwrap();
        assert_eq!(
            (&*entry.client_port, entry.rule.as_deref()),
            ("40001", Some("allow-both-plain"))
        );
    }

    #[test]
    fn anything_else_is_damaged() {
        for text in ["", "{}", "[]", "{\"decision\":\"TCP_DENIED\"", "null"] {
            assert_eq!(parse(text), None);
        }
    }
}
