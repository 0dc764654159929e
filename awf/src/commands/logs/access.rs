//! The lines of `access.log`, in the original's format: ten fields between blanks, the last one in quotation marks.
//!
//! Takes a line, gives an [`Entry`] that borrows from it. Must never: take a line that was cut short for a whole one.

use std::borrow::Cow;

use super::entry::Entry;

/// Reads a line; None if it is damaged.
pub(super) fn parse(line: &str) -> Option<Entry<'_>> {
    let mut fields = Fields(line);
    let time_ms = milliseconds(fields.next()?)?;
    let (client_ip, client_port) = address(fields.next()?)?;
    let host = fields.next()?;
    let (dest_ip, dest_port) = address(fields.next()?)?;
    let protocol = fields.next()?;
    let method = fields.next()?;
    let status = fields.next()?.parse().ok()?;
    let decision = fields.next()?;
    let (code, hierarchy) = decision.split_once(':')?;
    if code.is_empty() && !hierarchy.is_empty() {
        return None;
    }
    let url = fields.next()?;
    let user_agent = quoted(fields.0.trim_start())?;
    Some(Entry {
        time_ms,
        client_ip: client_ip.into(),
        client_port: client_port.into(),
        host: host.into(),
        dest_ip: dest_ip.into(),
        dest_port: dest_port.into(),
        protocol: protocol.into(),
        method: method.into(),
        status,
        decision: decision.into(),
        url: url.into(),
        user_agent,
        rule: None,
    })
}

/// Fields between blanks; what is left.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a str> {
        // By bytes: a log has many lines, and blanks are no part of another character (UTF-8, RFC 3629).
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let bytes = self.0.as_bytes();
        let start = bytes.iter().position(|byte| !is_blank(byte))?;
        let length = bytes.get(start..)?.iter().position(is_blank)?;
        let field = self.0.get(start..start + length)?;
        self.0 = self.0.get(start + length..)?;
        Some(field)
    }
}

/// `SECONDS.MILLISECONDS`.
fn milliseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || fraction.is_empty() {
        return None;
    }
    let mut digits =
        fraction.bytes().chain([b'0'; 2]).map(|byte| i64::from(byte) - i64::from(b'0'));
    let mut next = || digits.next().filter(|digit| *digit >= 0);
    let (hundreds, tens, ones) = (next()?, next()?, next()?);
    let whole = seconds.parse::<i64>().ok()?.checked_mul(1000)?;
    whole.checked_add(hundreds * 100 + tens * 10 + ones)
}

/// An address and a port. Squid writes IPv6 without brackets, so the last colon counts; others may write them.
fn address(text: &str) -> Option<(&str, &str)> {
    let (address, port) = text.rsplit_once(':')?;
    let is_port =
        port == "-" || (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    (is_port && !address.is_empty()).then_some((bare.unwrap_or(address), port))
}

/// What stands in quotation marks at the beginning, with Squid's escapes resolved.
fn quoted(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_prefix('"')?;
    let end = text.find(['"', '\\'])?;
    let (plain, rest) = text.split_at_checked(end)?;
    if rest.starts_with('"') {
        return Some(Cow::Borrowed(plain));
    }
    let mut value = plain.to_owned();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(Cow::Owned(value)),
            '\\' => value.push(match characters.next()? {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::logs::entry::Outcome;

    fn line(client: &str, agent: &str) -> String {
        format!(
            "1795309539.570 {client} a.test:443 192.0.2.1:443 1.1 CONNECT 200 TCP_TUNNEL:HIER_DIRECT a.test:443 {agent}"
        )
    }

    #[test]
    fn every_field_is_read() {
        let text = line("172.30.0.20:59122", "\"curl/7.88.1\" more");
        let entry = parse(&text).unwrap();
        assert_eq!(
            text::json(&entry.to_json(None, None)),
            r#"{"timestamp":1795309539.57,"clientIp":"172.30.0.20","clientPort":"59122","host":"a.test:443","destIp":"192.0.2.1","destPort":"443","protocol":"1.1","method":"CONNECT","statusCode":200,"decision":"TCP_TUNNEL:HIER_DIRECT","url":"a.test:443","userAgent":"curl/7.88.1","domain":"a.test","isAllowed":true,"isHttps":true,"outcome":"allowed"}"#
        );
    }

    mod text {
        pub(super) fn json(value: &impl serde::Serialize) -> String {
            crate::commands::logs::text::json(value).unwrap()
        }
    }

    #[test]
    fn clients_may_have_ipv6_and_user_agents_may_hold_quotation_marks() {
        for (client, ip) in [("fd00::20:55248", "fd00::20"), ("[fd00::20]:55248", "fd00::20")] {
            let text = line(client, "\"a\"");
            let entry = parse(&text).unwrap();
            assert_eq!((&*entry.client_ip, &*entry.client_port), (ip, "55248"));
        }
        let agent =
            |text: &str| parse(&line("192.0.2.9:1", text)).map(|it| it.user_agent.into_owned());
        assert_eq!(agent(r#""a \"b\" \\ \tc""#).as_deref(), Some("a \"b\" \\ \tc"));
        assert_eq!(agent("\"\"").as_deref(), Some(""));
        assert_eq!(agent(r#""a\"#), None);
        assert_eq!(agent("\"a"), None, "cut short");
    }

    #[test]
    fn outcomes_and_domains_follow_from_the_fields() {
        let of = |host: &str, method: &str, decision: &str, url: &str| {
            let text =
                format!("1.5 192.0.2.9:1 {host} -:- 1.1 {method} 403 {decision} {url} \"-\"");
            let entry = parse(&text).unwrap();
            (entry.domain().to_owned(), entry.port(), entry.outcome())
        };
        let (denied, error) = ("TCP_DENIED:HIER_NONE", "NONE_NONE:HIER_NONE");
        assert_eq!(
            of("a:443", "CONNECT", denied, "b.test:8443"),
            ("b.test".into(), 8443, Outcome::Denied)
        );
        assert_eq!(of("-", "CONNECT", error, "[::1]:443"), ("[::1]".into(), 443, Outcome::Error));
        assert_eq!(
            of("c.test:81", "GET", denied, "http://x/"),
            ("c.test".into(), 80, Outcome::Denied)
        );
        assert_eq!(
            of("-", "GET", denied, "http://u@d.test:82/p?"),
            ("d.test".into(), 82, Outcome::Denied)
        );
        assert_eq!(of("-", "-", error, "error:invalid-request"), ("-".into(), 80, Outcome::Error));
        assert_eq!(
            of("-", "GET", "TCP_MISS:HIER_DIRECT", "odd"),
            ("odd".into(), 80, Outcome::Allowed)
        );
    }

    #[test]
    fn damaged_lines_are_no_entries() {
        let whole = line("172.30.0.20:1", "\"curl\"");
        for end in 0..whole.len() - 1 {
            assert_eq!(parse(whole.get(..end).unwrap()), None, "{end}");
        }
        for text in ["", "x", "{\"a\":1}", "1.x 2"] {
            assert_eq!(parse(text), None);
        }
    }
}
