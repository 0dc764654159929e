//! What may be reached on this machine and in other containers.
//!
//! Owns the notation of ports and container names, and the keyword `localhost`. Takes text, gives ranges and names. Must never
//! ask whether anything listens there or whether a container runs.

use super::domains::{DomainEntry, items};
use super::options::Args;
use super::usage::UsageError;
use crate::policy::PortRange;

const HOST_PORTS: &str = "--allow-host-ports";
const SERVICE_PORTS: &str = "--allow-host-service-ports";
const ATTACH: &str = "--topology-attach";

/// What this machine is called in allow lists once `localhost` is read.
const HOST_NAME: &str = "host.docker.internal";

/// What `localhost` opens unless `--allow-host-ports` says otherwise: where development servers listen, the original's list.
const LOCALHOST_PORTS: [u16; 12] =
    [3000, 3001, 4000, 4200, 5000, 5173, 8000, 8080, 8081, 8888, 9000, 9090];

/// What the command may reach on this machine, beside 80 and 443.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAccess {
    /// Ranges of `--allow-host-ports`, or those of `localhost`.
    pub ports: Vec<PortRange>,
    /// Ports of `--allow-host-service-ports`.
    pub service_ports: Vec<u16>,
    /// Whether `localhost` asked for it.
    pub by_localhost: bool,
}

/// Reads all options that open this machine; `None` if none does. Replaces the keyword in the allow list.
pub(super) fn host_access(
    args: &Args,
    allow: &mut [DomainEntry],
    notices: &mut Vec<String>,
) -> Result<Option<HostAccess>, UsageError> {
    let by_localhost = replace_localhost(allow);
    let service_ports = args.allow_host_service_ports.as_deref().map(service_ports).transpose()?;
    let ports = args.allow_host_ports.as_deref().map(host_ports).transpose()?;
    if !(args.enable_host_access || by_localhost || service_ports.is_some()) {
        return match &args.allow_host_ports {
            Some(list) => {
                let remedy = "add it to open this machine to the command";
                Err(UsageError::value(HOST_PORTS, list, "requires --enable-host-access", remedy))
            }
            None => Ok(None),
        };
    }
    let given = ports.is_some();
    let by_default = if by_localhost { LOCALHOST_PORTS.as_slice() } else { &[] };
    let ports =
        ports.unwrap_or_else(|| by_default.iter().copied().map(PortRange::single).collect());
    if by_localhost {
        let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let choose = if given { "" } else { " (choose others with --allow-host-ports)" };
        notices.push(format!(
            "localhost in the allow list opens this machine to the command: host access is on, and \
             {HOST_NAME} leads to its ports 80, 443 and {list}{choose}"
        ));
    }
    if let Some(ports) = &service_ports {
        let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        notices.push(format!(
            "{SERVICE_PORTS} opens ports {list} of this machine to the command, and host access with \
             them; dangerous ones are not held back"
        ));
    }
    let service_ports = service_ports.unwrap_or_default();
    Ok(Some(HostAccess { ports, service_ports, by_localhost }))
}

/// Turns `localhost` into the name that leads to this machine; inside, localhost is the sandbox itself.
pub(super) fn replace_localhost(allow: &mut [DomainEntry]) -> bool {
    let mut found = false;
    for entry in allow {
        let scheme = match entry.text.as_str() {
            "localhost" => "",
            "http://localhost" => "http://",
            "https://localhost" => "https://",
            _ => continue,
        };
        entry.text = format!("{scheme}{HOST_NAME}");
        found = true;
    }
    found
}

/// `--allow-host-ports`.
fn host_ports(list: &str) -> Result<Vec<PortRange>, UsageError> {
    let refuse = |item: &str, problem: &str| {
        let remedy = "write ports from 1 to 65535 or ranges, such as 3000,8000-8080";
        UsageError::value(HOST_PORTS, item, problem, remedy)
    };
    let mut ranges = Vec::new();
    for item in items(list) {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        let (Some(low), Some(high)) = (port(low), port(high)) else {
            return Err(refuse(item, "not a port or a range of ports"));
        };
        if low > high {
            return Err(refuse(item, "the range runs backwards"));
        }
        let range = PortRange { low, high };
        if let Some((port, what)) = range.dangerous() {
            let problem = format!("port {port} ({what}) is dangerous to open");
            let remedy = format!("leave it out, or open it on purpose with {SERVICE_PORTS} {port}");
            return Err(UsageError::value(HOST_PORTS, item, problem, remedy));
        }
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    if ranges.is_empty() { Err(refuse(list, "the list is empty")) } else { Ok(ranges) }
}

/// `--allow-host-service-ports`.
fn service_ports(list: &str) -> Result<Vec<u16>, UsageError> {
    let refuse = |item: &str, problem: &str| {
        let remedy = "write single ports from 1 to 65535, such as 5432,6379";
        UsageError::value(SERVICE_PORTS, item, problem, remedy)
    };
    let mut ports = Vec::new();
    for item in items(list) {
        let port = port(item).ok_or_else(|| refuse(item, "not a port"))?;
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    if ports.is_empty() { Err(refuse(list, "the list is empty")) } else { Ok(ports) }
}

/// A port in decimal digits; leading zeros do not make it octal.
fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

/// Names of `--topology-attach`, each once. Docker's rule for names of containers (`daemon/names`).
pub(super) fn peers(names: &[String]) -> Result<Vec<String>, UsageError> {
    let mut peers: Vec<String> = Vec::new();
    for name in names {
        let letter = |byte: u8| byte.is_ascii_alphanumeric();
        let more = |byte: u8| letter(byte) || matches!(byte, b'_' | b'.' | b'-');
        let first = name.bytes().next().is_some_and(letter);
        if !first || name.len() < 2 || !name.bytes().all(more) {
            let problem = "not the name of a container";
            let remedy = "write a name as docker ps shows it; repeat the option for several";
            return Err(UsageError::value(ATTACH, name, problem, remedy));
        }
        if !peers.contains(name) {
            peers.push(name.clone());
        }
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::domains;

    fn args(ports: Option<&str>, service_ports: Option<&str>, enabled: bool) -> Args {
        Args {
            enable_host_access: enabled,
            allow_host_ports: ports.map(str::to_owned),
            allow_host_service_ports: service_ports.map(str::to_owned),
            ..Args::default()
        }
    }

    /// Ranges, service ports and the allow list, in words.
    fn read(args: &Args, allow: &str) -> Result<(String, String, Vec<String>), UsageError> {
        let mut allow = domains::from_flag("--allow-domains", allow);
        let mut notices = Vec::new();
        let access = host_access(args, &mut allow, &mut notices)?;
        let text = match &access {
            None => "off".to_owned(),
            Some(HostAccess { ports, service_ports, by_localhost }) => {
                let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
                let mark = if *by_localhost { " localhost" } else { "" };
                format!("{} {service_ports:?}{mark}", ports.join(","))
            }
        };
        let allow: Vec<_> = allow.into_iter().map(|entry| entry.text).collect();
        Ok((text, allow.join(","), notices))
    }

    #[track_caller]
    fn refusal(args: &Args) -> String {
        read(args, "").unwrap_err().to_string()
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        for (list, expected) in [
            ("80", "80"),
            ("3000", "3000"),
            ("65535", "65535"),
            ("3000-3010", "3000-3010"),
            ("1-20", "1-20"),
            ("080", "80"),
            (" 3000 ,,4000,3000", "3000,4000"),
            ("5-5", "5"),
        ] {
            let (text, _allow, notices) = read(&args(Some(list), None, true), "").unwrap();
            assert_eq!((text, notices.len()), (format!("{expected} []"), 0), "{list}");
        }
        for list in [
            "0",
            "65536",
            "20-25",
            "1-65535",
            "3010-3000",
            "3000-",
            "-5",
            "abc",
            "8080;",
            "",
            ",",
            "1-2-3",
            "+80",
            "0x50",
            "99999999999",
            "3000 - 3010",
            "٣",
        ] {
            let sentence = refusal(&args(Some(list), None, true));
            assert!(sentence.starts_with("--allow-host-ports '"), "{sentence}");
        }
    }

    #[test]
    fn dangerous_ports_are_refused_by_name() {
        for (list, name) in [
            ("22", "port 22 (SSH)"),
            ("3000,3306", "port 3306 (MySQL)"),
            ("5984", "port 5984 (CouchDB)"),
            ("20-25", "port 22 (SSH)"),
            ("1-65535", "port 22 (SSH)"),
            ("27000-28000", "port 27017 (MongoDB)"),
        ] {
            let sentence = refusal(&args(Some(list), None, true));
            assert!(sentence.contains(name) && sentence.contains(SERVICE_PORTS), "{sentence}");
        }
    }

    #[test]
    fn ports_need_host_access() {
        let sentence = refusal(&args(Some("3000"), None, false));
        assert!(sentence.contains("requires --enable-host-access"), "{sentence}");
        let (text, ..) = read(&args(Some("3000"), None, false), "localhost").unwrap();
        assert_eq!(text, "3000 [] localhost");
        let (text, ..) = read(&args(None, None, true), "").unwrap();
        assert_eq!(text, " []");
        assert_eq!(read(&args(None, None, false), "a.com").unwrap().0, "off");
    }

    #[test]
    fn service_ports_open_the_host_by_themselves_and_aloud() {
        let (text, _allow, notices) = read(&args(None, Some("5432,22,5432"), false), "").unwrap();
        assert_eq!(text, " [5432, 22]");
        assert!(notices[0].contains("5432,22") && notices[0].contains(SERVICE_PORTS));
        let (text, ..) = read(&args(Some("3000"), Some("06379"), false), "").unwrap();
        assert_eq!(text, "3000 [6379]");
        for list in ["", "0", "65536", "1-2", "5432-port", "-1", "x"] {
            let sentence = refusal(&args(None, Some(list), true));
            assert!(sentence.starts_with("--allow-host-service-ports '"), "{sentence}");
        }
    }

    #[test]
    fn localhost_means_this_machine() {
        let all = "3000,3001,4000,4200,5000,5173,8000,8080,8081,8888,9000,9090";
        for (allow, expected) in [
            ("localhost", "host.docker.internal"),
            ("http://localhost", "http://host.docker.internal"),
            ("a.com,https://localhost", "a.com,https://host.docker.internal"),
        ] {
            let (text, replaced, notices) = read(&args(None, None, false), allow).unwrap();
            assert_eq!((text, replaced), (format!("{all} [] localhost"), expected.to_owned()));
            assert!(notices.len() == 1 && notices[0].contains("opens this machine"), "{notices:?}");
        }
        let (text, ..) = read(&args(Some("7000"), None, true), "localhost").unwrap();
        assert_eq!(text, "7000 [] localhost");
        for other in ["localhost.example.com", "x.localhost", "host.docker.internal"] {
            let (text, kept, _) = read(&args(None, None, false), other).unwrap();
            assert_eq!((text.as_str(), kept.as_str()), ("off", other));
        }
    }

    #[test]
    fn peers_have_names_of_containers() {
        let read =
            |names: &[&str]| peers(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read(&["awmg-mcpg", "a_1.x", "awmg-mcpg"]).unwrap(), ["awmg-mcpg", "a_1.x"]);
        for name in ["", "a", "-a", ".a", "_a", "a b", "a/b", "a,b", "bücher", "a:80", "a\u{1b}b"]
        {
            let sentence = read(&[name]).unwrap_err().to_string();
            assert!(sentence.starts_with("--topology-attach '"), "{sentence}");
        }
    }
}
