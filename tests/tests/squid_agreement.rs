//! The configuration from `awf::proxy::config`, tried on the installed Squid: it must answer every
//! request as `Policy::decide` does, ask DNS for allowed names only, and write what it promises.
//!
//! Needs root (private network namespaces) and `/usr/sbin/squid`; fails without.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    reason = "the whole file is a test; clippy knows that of functions marked as tests only"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use awf::plan::outward::Outward;
use awf::policy::{Decision, Policy, Scheme};
use awf::proxy::config::{self, Spec};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::User;
use serde_json::Value;

const SQUID: &str = "/usr/sbin/squid";
const KEY: &str = "00112233445566778899aabbccddeeff";
const AGENT: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 20);
const ORIGINAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const TUNNEL: u16 = 3101;
const FORWARD: u16 = 3102;
const ACCEL: u16 = 3103;

/// A Squid in the calling thread's network namespace, with a resolver that knows no name.
struct Bed {
    dir: PathBuf,
    squid: Child,
    queries: Arc<Mutex<Vec<String>>>,
}

impl Bed {
    fn start(policy: &Policy) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let service = format!("awfagree{}x{serial}", std::process::id());
        let dir = std::env::temp_dir().join(&service);
        let user = User::from_name("proxy").expect("read passwd").expect("a user named proxy");
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        for sub in ["", "conf", "logs"] {
            fs::create_dir_all(dir.join(sub)).expect("create a directory");
            chown(dir.join(sub), Some(uid), Some(gid)).expect("give it to Squid");
        }
        let queries = Arc::new(Mutex::new(Vec::new()));
        serve_dns(Arc::clone(&queries));
        let spec = Spec {
            policy,
            tunnel_port: TUNNEL,
            forward_port: FORWARD,
            accel_port: ACCEL,
            key: KEY,
            outward: &Outward { resolvers: vec![Ipv4Addr::LOCALHOST.into()], ..Outward::default() },
            logs: &dir.join("logs"),
            conf_dir: &dir.join("conf"),
            agent_ip: AGENT,
        };
        let conf = write(&dir, &spec);
        let stderr = fs::File::create(dir.join("stderr")).expect("create the stderr file");
        let squid = Command::new(SQUID)
            .args(["-N", "-d", "1", "-n", &service, "-f"])
            .arg(conf)
            .uid(uid)
            .gid(gid)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("start Squid");
        let mut bed = Self { dir, squid, queries };
        bed.wait_until_ready();
        bed
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let probe = format!("CONNECT {}:443 HTTP/1.1\r\n\r\n", config::PROBE_NAME);
        let header = proxy_header(Ipv4Addr::LOCALHOST, Some(KEY.as_bytes()), b"");
        loop {
            if let Ok(reply) = try_ask(TUNNEL, &header, probe.as_bytes()) {
                assert_eq!(status(&reply), 403, "{reply}");
                return;
            }
            let gone = self.squid.try_wait().expect("wait for Squid");
            assert!(gone.is_none(), "Squid ended: {}", self.read("stderr"));
            assert!(Instant::now() < deadline, "Squid is not ready: {}", self.read("stderr"));
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).expect("read a file of Squid")
    }

    fn take_queries(&self) -> Vec<String> {
        std::mem::take(&mut *self.queries.lock().expect("the list of queries"))
    }

    /// The lines of audit.jsonl once there are `count` of them; each must be JSON.
    fn audit(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let text = self.read("logs/audit.jsonl");
            if text.lines().count() >= count || Instant::now() > deadline {
                let parse =
                    |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                return text.lines().map(parse).collect();
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.squid.kill().expect("kill Squid");
        self.squid.wait().expect("reap Squid");
        fs::remove_dir_all(&self.dir).expect("remove the directory");
        // Squid leaves its shared memory behind when it is killed.
        let service = self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(service)) {
                fs::remove_file(entry.path()).expect("remove shared memory");
            }
        }
    }
}

fn write(dir: &Path, spec: &Spec<'_>) -> PathBuf {
    let rendered = config::render(spec).expect("render the configuration");
    for (name, content) in &rendered.files {
        fs::write(spec.conf_dir.join(name), content).expect("write a file");
    }
    let conf = dir.join("squid.conf");
    fs::write(&conf, &rendered.conf).expect("write squid.conf");
    conf
}

/// Runs `body` on a thread with a network namespace of its own: loopback and no way out.
fn in_private_network<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("run ip");
        assert!(up.success());
        body()
    };
    thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Answers every query with NXDOMAIN (RFC 1035, section 4.1.1) and notes its name. Ends with the test
/// process.
fn serve_dns(queries: Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("listen on port 53");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let mut labels = Vec::new();
            let mut at = 12;
            while buffer[at] != 0 {
                let end = at + 1 + usize::from(buffer[at]);
                labels.push(String::from_utf8_lossy(&buffer[at + 1..end]).into_owned());
                at = end;
            }
            assert!(at + 5 <= length, "a short query");
            queries.lock().expect("the list of queries").push(labels.join("."));
            let mut reply = buffer[..at + 5].to_vec();
            reply[2..4].copy_from_slice(&[0x81, 0x83]);
            reply[6..12].fill(0);
            socket.send_to(&reply, client).expect("answer");
        }
    });
}

/// PROXY protocol version 2 for TCP over IPv4 with the two TLVs of awf.
fn proxy_header(client: Ipv4Addr, key: Option<&[u8]>, meta: &[u8]) -> Vec<u8> {
    let mut body = [client.octets(), ORIGINAL.octets()].concat();
    body.extend([40_000_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat());
    for (kind, value) in [(config::TLV_METADATA, Some(meta)), (config::TLV_KEY, key)] {
        if let Some(value) = value {
            body.push(kind);
            body.extend(u16::try_from(value.len()).expect("a short TLV").to_be_bytes());
            body.extend(value);
        }
    }
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(u16::try_from(body.len()).expect("a short header").to_be_bytes());
    header.extend(body);
    header
}

fn try_ask(port: u16, header: &[u8], request: &[u8]) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&[header, request].concat())?;
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    while !complete(&reply) {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        reply.extend_from_slice(&buffer[..length]);
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

fn complete(reply: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reply);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.and_then(|length| length.parse().ok()).is_none_or(|length: usize| body.len() >= length)
}

fn ask(port: u16, meta: &str, request: &str) -> String {
    let header = proxy_header(AGENT, Some(KEY.as_bytes()), meta.as_bytes());
    try_ask(port, &header, request.as_bytes()).expect("ask Squid")
}

fn status(reply: &str) -> u16 {
    let code = reply.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status in {reply:?}"))
}

fn policy(allow: &[&str], block: &[&str]) -> Policy {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    Policy::resolve(&owned(allow), &owned(block)).expect("a usable policy").0
}

/// One request as Squid gets it, and as the policy is asked.
struct Case {
    door: u16,
    request: String,
    host: String,
    decision: Decision,
}

fn cases(policy: &Policy, host: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |door, request: String, port, scheme| {
        let decision = policy.decide(host, port, scheme);
        cases.push(Case { door, request, host: host.to_owned(), decision });
    };
    for port in [443, 80, 8443, 22] {
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        add(TUNNEL, request, port, Scheme::Tls);
    }
    // Such a host is another host, or none, once it stands in a URL or a Host field.
    if host.is_empty() || host.contains(['/', '?', '#', '@', ' ', '%', '\t']) {
        return cases;
    }
    for port in [80, 443, 8080] {
        let request = format!("GET http://{host}:{port}/p?q HTTP/1.1\r\nHost: x\r\n\r\n");
        add(FORWARD, request, port, Scheme::Http);
        let request = format!("GET /p?q HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        add(ACCEL, request, port, Scheme::Http);
    }
    cases
}

/// Asks Squid and the policy about every host; both must agree on the answer and on the rule, and
/// no name may reach DNS that is not allowed.
fn agree(policy: Policy, hosts: Vec<String>) {
    in_private_network(move || {
        let bed = Bed::start(&policy);
        let cases: Vec<Case> = hosts.iter().flat_map(|host| cases(&policy, host)).collect();
        let mut malformed = vec![false; cases.len()];
        for (index, case) in cases.iter().enumerate() {
            let reply = ask(case.door, &index.to_string(), &case.request);
            let Case { host, decision, request, .. } = case;
            match status(&reply) {
                403 => assert!(!decision.allow, "{host:?}: {decision:?}: {request} {reply}"),
                400 => {
                    assert!(!decision.allow, "{host:?}: {decision:?}: {request} {reply}");
                    malformed[index] = true;
                }
                500..=504 => assert!(decision.allow, "{host:?}: {decision:?}: {request} {reply}"),
                other => panic!("status {other} for {host:?}: {reply}"),
            }
        }
        let lines = bed.audit(cases.len());
        assert_eq!(lines.len(), cases.len(), "one line for each request, none for the probe");
        for line in &lines {
            let index: usize =
                line["meta"].as_str().and_then(|m| m.parse().ok()).expect("the index");
            let Case { host, decision, request, .. } = &cases[index];
            assert!(
                malformed[index] || line["rule"] == decision.rule,
                "{host:?}: {request} {line}"
            );
        }
        for name in bed.take_queries() {
            let allowed = |scheme, port| policy.decide(&name, port, scheme).allow;
            assert!(
                allowed(Scheme::Tls, 443) || allowed(Scheme::Http, 80),
                "DNS was asked for {name}"
            );
        }
    });
}

/// Spellings that are about how a host is written, not which one it is.
const ODD_HOSTS: &[&str] = &[
    "1.2.3.4",
    "1.2.3.4.",
    "1.2.3.4..",
    "0x01020304",
    "0X1020304",
    "16909060",
    "01.02.03.04",
    "1.2.772",
    "1.131844",
    "[::ffff:1.2.3.4]",
    "[::ffff:102:304]",
    "[::1]",
    "[2001:db8::1]",
    "1.2.3.5",
    "127.1",
    "0177.0.0.1",
    "2130706433",
    "0",
    "1.2.3.4.5",
    "0x",
    "08.1.1.1",
    "a.1",
    "256.1.1.1",
    "1.2.3.4.com",
    "a.1.2.3.4",
    "GitHub.COM",
    "github.com.",
    "github.com..",
    "www.github.com.",
    ".github.com",
    "a..github.com",
    "notgithub.com",
    "github.com.evil.com",
    "evil-github.com",
    "a#b.github.com",
    "a/b.github.com",
    "a?b.github.com",
    "u@github.com",
    "a b.github.com",
    "a%2e.github.com",
    "%67ithub.com",
    "git\thub.com",
    "b\u{fc}.github.com",
    "*.github.com",
    "a_b.github.com",
    "-.github.com",
    "a!b.github.com",
    "a,b.github.com",
    "a;b.github.com",
    "a'b.github.com",
    "a|b.github.com",
    "x.invalid",
    "github.invalid",
    "localhost",
    "com",
    "evil.test",
    "awf.invalid",
    "agent.awf.invalid",
    "a",
    "x.a",
    "all",
    "[::ffff:1.2.3.4%eth0]",
    "[fe80::1%25lo]",
    "1.2.3.4%20",
    "example.com",
    "a.b.example.com",
];

/// Odd names, and these.
fn hosts(names: &[&str]) -> Vec<String> {
    let long = [63, 64].map(|n| format!("{}.github.com", "a".repeat(n)));
    let deep = [121, 122, 130].map(|n| format!("{}github.com", "a.".repeat(n)));
    let odd = ODD_HOSTS.iter().chain(names).map(ToString::to_string);
    odd.chain(long).chain(deep).collect()
}

#[test]
fn squid_and_policy_agree_on_the_example_table() {
    agree(
        policy(
            &["github.com", "1.2.3.4", "a"],
            &["1.2.3.5", "secret.github.com", "x-*.github.com", "y.*.com"],
        ),
        hosts(&[
            "secret.github.com",
            "a.SECRET.github.com.",
            "x-.github.com",
            "X-1.github.com.",
            "x-a_b.github.com",
            "y.a_b.com",
        ]),
    );
    agree(
        policy(
            &[
                "http://legacy.com",
                "https://secure.com",
                "https://*.example.com",
                "http://github.*",
            ],
            &["1.2.3.4", "b.example.com"],
        ),
        hosts(&[
            "legacy.com",
            "a.legacy.com",
            "secure.com",
            "a.secure.com",
            "x.example.com",
            "github.org",
        ]),
    );
    agree(
        policy(&["*.github.com", "*github.com", "*1", "*.*.b.a"], &["*e*m"]),
        hosts(&["1.2.b.a", "b1"]),
    );
    agree(Policy::default(), hosts(&[]));
    agree(policy(&["com", "1.2.3.4"], &["1.2.3.4", "http://github.com"]), hosts(&[]));
}

#[test]
fn squid_and_policy_agree_on_exact_names() {
    agree(
        policy(
            &[
                "=github.com",
                "=https://a.exact.com",
                "=b.com",
                "b.com",
                "=1.2.3.4",
                "=a",
                "*.c.com",
            ],
            &["=secret.b.com", "=x.c.com"],
        ),
        hosts(&[
            "a.exact.com",
            "A.EXACT.com.",
            "x.a.exact.com",
            "exact.com",
            "b.com",
            "x.b.com",
            "secret.b.com",
            "a.secret.b.com",
            "x.c.com",
            "y.x.c.com",
        ]),
    );
}

#[test]
fn squid_and_policy_agree_on_a_policy_in_audit_mode() {
    let lists = policy(
        &["github.com", "https://secure.com", "1.2.3.4", "*.corp.internal"],
        &["secret.github.com", "evil.com", "ad*.evil.org", "1.2.3.5"],
    );
    let names = [
        "secure.com",
        "evil.com",
        "a.EVIL.com.",
        "ads.evil.org",
        "not.evil.org",
        "secret.github.com",
        "intranet",
        "intranet.",
        "metadata.google.internal",
        "x.corp.internal",
        "printer.local",
        "printer.LOCAL.",
        "a.localhost",
        "1.0.0.10.in-addr.arpa",
        "local.example",
        "internal.example.org",
    ];
    agree(lists.in_audit_mode(true), hosts(&names));
    agree(Policy::default().in_audit_mode(true), hosts(&names));
}

/// A small generator with a fixed seed (xorshift64*), so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn name(&mut self, labels: &[&'static str]) -> String {
        let count = 1 + self.below(4);
        (0..count).map(|_| self.pick(labels)).collect::<Vec<_>>().join(".")
    }
}

const LABELS: &[&str] = &["a", "b", "ab", "a-b", "a_b", "com", "org", "b1", "xn--a"];

/// Entries for an allow and a block list.
fn generated_lists(dice: &mut Dice) -> [Vec<String>; 2] {
    const MASKS: &[&str] = &["*", "a*", "*b", "a*b", "a-*", "*_*", "a", "b", "com", "org", "x*n"];
    let mut entry = || {
        let scheme = dice.pick(&["", "", "http://", "https://"]);
        let name = match dice.below(5) {
            0 => format!("10.0.0.{}", dice.below(4)),
            1 | 2 => dice.name(MASKS),
            3 => return format!("={scheme}{}", dice.name(LABELS)),
            _ => dice.name(LABELS),
        };
        format!("{scheme}{name}")
    };
    let usable = |text: &String| Policy::resolve(std::slice::from_ref(text), &[]).is_ok();
    [14, 3].map(|size| (0..size).map(|_| entry()).filter(usable).collect())
}

#[test]
fn squid_and_policy_agree_on_generated_policies() {
    for seed in 1..=12 {
        let mut dice = Dice(seed);
        let [allow, block] = generated_lists(&mut dice);
        let (policy, _) = Policy::resolve(&allow, &block).expect("a usable policy");
        let mut host = || match dice.below(8) {
            0 => format!("10.0.0.{}", dice.below(6)),
            1 => format!("{}.", dice.name(LABELS)).to_ascii_uppercase(),
            _ => dice.name(LABELS),
        };
        agree(policy, (0..60).map(|_| host()).collect());
    }
}

/// A host that one of the entries covers, or just not: in another spelling, with a neighbour's or an odd character in it.
fn near(dice: &mut Dice, entries: &[String]) -> String {
    // No colon and no bracket: with them Squid reads, and judges, another host than what is written.
    const ODD: &str = "!\"#$%&'()*+,-./;<=>?@\\^_`{|}~ \t\u{7f}\u{e9}\u{3002}\u{ff0e}";
    let entry = &entries[dice.below(entries.len())];
    let entry =
        entry.trim_start_matches('=').trim_start_matches("http://").trim_start_matches("https://");
    let mut host = entry.replace('*', dice.pick(&["", "a", "a.b", "a_b", "-"]));
    match dice.below(6) {
        0 | 1 => {
            let odd: Vec<char> = ODD.chars().collect();
            host.insert(dice.below(host.len() + 1), odd[dice.below(odd.len())]);
        }
        2 => host.insert_str(0, dice.pick(&["a.", "a_b.", "a", "a-", ".", "0x"])),
        3 => host.push_str(dice.pick(&[".", "..", ".a", "a", ".1", "%2e", "%00"])),
        4 => host.make_ascii_uppercase(),
        _ => {}
    }
    // Blanks around it belong to the request line.
    host.trim().to_owned()
}

#[test]
fn squid_and_policy_agree_on_hosts_near_the_entries() {
    let chosen = std::env::var("AWF_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let now = || {
        u64::try_from(UNIX_EPOCH.elapsed().expect("a clock that is set").as_nanos() & 0xffff_ffff)
            .expect("32 bits")
    };
    let seed: u64 = chosen.unwrap_or_else(now).max(1);
    println!("to repeat: AWF_SEED={seed}");
    let mut dice = Dice(seed);
    for _ in 0..6 {
        let [allow, block] = generated_lists(&mut dice);
        let (policy, _) = Policy::resolve(&allow, &block).expect("a usable policy");
        let entries = [allow, block].concat();
        agree(policy, (0..40).map(|_| near(&mut dice, &entries)).collect());
    }
}

#[test]
fn a_connection_without_the_key_of_the_run_may_do_nothing() {
    in_private_network(|| {
        let bed = Bed::start(&policy(&["github.com"], &[]));
        let request = "CONNECT github.com:443 HTTP/1.1\r\nHost: github.com\r\n\r\n";
        let mut longer = KEY.as_bytes().to_vec();
        longer.push(b'0');
        let keys =
            [None, Some(&b""[..]), Some(&[b'0'; 32]), Some(&KEY.as_bytes()[1..]), Some(&longer)];
        for key in keys {
            let reply = try_ask(TUNNEL, &proxy_header(AGENT, key, b""), request.as_bytes());
            let reply = reply.expect("ask Squid");
            assert_eq!(status(&reply), 403, "{key:?}");
            assert!(reply.contains("(deny-unkeyed)"), "{reply}");
        }
        for door in [TUNNEL, FORWARD, ACCEL] {
            let reply = try_ask(door, b"", request.as_bytes()).expect("connect to Squid");
            assert_eq!(reply, "", "a connection without PROXY header gets no answer");
        }
        assert_eq!(bed.take_queries(), [""; 0]);
        assert!(status(&ask(TUNNEL, "", request)) >= 500);
        assert_eq!(bed.take_queries(), ["github.com", "github.com"], "A and AAAA");
        for file in ["logs/audit.jsonl", "logs/access.log", "logs/cache.log", "stderr"] {
            assert!(!bed.read(file).contains(KEY), "the key is in {file}");
        }
    });
}

#[test]
fn each_door_serves_its_own_kind_of_request_only() {
    in_private_network(|| {
        let bed = Bed::start(&policy(&["github.com", "awf.com"], &[]));
        for (door, request) in [
            (TUNNEL, "GET http://github.com/ HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (FORWARD, "CONNECT github.com:443 HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (FORWARD, "GET https://github.com/ HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (FORWARD, "GET ftp://github.com/ HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (FORWARD, "GET ftp://github.com:80/ HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (FORWARD, "GET cache_object://github.com/ HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (
                FORWARD,
                "GET http://127.0.0.1:3102/squid-internal-mgr/menu HTTP/1.1\r\nHost: x\r\n\r\n",
            ),
            (FORWARD, "GET http://awf.invalid/squid-internal-mgr/menu HTTP/1.1\r\nHost: x\r\n\r\n"),
            (FORWARD, "GET http://github.com/squid-internal-mgr/menu HTTP/1.1\r\nHost: x\r\n\r\n"),
            (ACCEL, "CONNECT github.com:443 HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (ACCEL, "GET http://evil.com/ HTTP/1.1\r\nHost: github.com\r\n\r\n"),
            (ACCEL, "GET / HTTP/1.1\r\nHost: evil.com\r\nHost: github.com\r\n\r\n"),
            (ACCEL, "GET / HTTP/1.1\r\n\r\n"),
            (ACCEL, "GET / HTTP/1.0\r\n\r\n"),
            (TUNNEL, "CONNECT github.com:22 HTTP/1.1\r\nHost: github.com:443\r\n\r\n"),
        ] {
            let status = status(&ask(door, "", request));
            assert!((400..500).contains(&status) || status == 501, "{status}: {request}");
        }
        assert_eq!(bed.take_queries(), [""; 0]);
    });
}

#[test]
fn a_refusal_is_short_and_says_why_and_what_to_do() {
    in_private_network(|| {
        let _bed = Bed::start(&policy(&["github.com"], &["x.github.com"]));
        let body = |host: &str| {
            let reply =
                ask(TUNNEL, "", &format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a body")
        };
        assert_eq!(
            body("evil.com:443"),
            "awf: CONNECT evil.com port 443 refused (deny-default): to allow it, use --allow-domains \
             evil.com\n"
        );
        assert_eq!(
            body("x.github.com:443"),
            "awf: CONNECT x.github.com port 443 refused (deny-blocked-plain): it is on the block list\n"
        );
        assert!(body("github.com:22").contains("(deny-unsafe-ports): only ports 80"));
    });
}

#[test]
fn logs_have_the_formats_of_the_original_and_stay_whole_under_attack() {
    in_private_network(|| {
        let bed = Bed::start(&policy(&["github.com"], &[]));
        let agent = "User-Agent: x\"y\\z{}\t\u{1}\r\n";
        ask(
            TUNNEL,
            "tls",
            &format!("CONNECT evil.com:443 HTTP/1.1\r\nHost: evil.com:443\r\n{agent}\r\n"),
        );
        ask(
            ACCEL,
            "m\"\\\n",
            &format!("GET /a\"b\\c?secret HTTP/1.1\r\nHost: github.com\r\n{agent}\r\n"),
        );
        ask(ACCEL, "", &format!("G\"T\\ /{{}} HTTP/1.1\r\nHost: github.com\r\n{agent}\r\n"));
        ask(TUNNEL, "", "\"garbage\\\r\n\r\n");
        ask(TUNNEL, "", &format!("CONNECT {}:443 HTTP/1.1\r\n\r\n", config::PROBE_NAME));
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, TUNNEL)).expect("connect to Squid"));
        let lines = bed.audit(6);
        assert_eq!(
            lines.len(),
            6,
            "the agent's use of the probe's name is logged, the probe is not"
        );
        assert_eq!(lines[1]["meta"], "m%22%5C%0A", "quoted by us, not left to Squid's guess");
        let first = &lines[0];
        assert_eq!(first["_schema"], format!("audit/v{}", env!("CARGO_PKG_VERSION")));
        let expected = serde_json::json!({
            "event": "http_access", "client": "172.30.0.20", "host": "evil.com:443", "dest": "-:-",
            "method": "CONNECT", "status": 403, "decision": "TCP_DENIED", "url": "evil.com:443",
            "client_port": 40000, "hierarchy": "HIER_NONE", "rule": "deny-default",
            "original_dest": "203.0.113.66:443", "meta": "tls",
        });
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(&first[key], value, "{key}");
        }
        assert!(first["timestamp"].as_str().is_some_and(|t| t.len() == 24 && t.ends_with('Z')));
        for key in ["bytes_in", "bytes_out", "duration_ms"] {
            assert!(first[key].is_u64(), "{key}");
        }
        assert!(!bed.read("logs/audit.jsonl").contains("secret"));
        let access = bed.read("logs/access.log");
        let line = access.lines().next().expect("a line");
        let (time, rest) = line.split_once(' ').expect("a time");
        assert!(
            time.split_once('.').is_some_and(|(s, ms)| s.len() == 10 && ms.len() == 3),
            "{time}"
        );
        let expected = "172.30.0.20:40000 evil.com:443 -:- 1.1 CONNECT 403 TCP_DENIED:HIER_NONE \
                        evil.com:443 \"x\\\"y\\\\z{}\\t";
        assert!(rest.starts_with(expected), "{rest}");
    });
}

#[test]
fn squid_starts_without_warnings_on_long_lists() {
    for (plain, patterns) in [(3, 3), (100_000, 1_000), (10_000, 0)] {
        let mut allow: Vec<String> =
            (0..plain).map(|i| format!("h{i}.zone{}.example", i % 97)).collect();
        allow.extend((0..patterns).map(|i| format!("api-*.p{i}.example")));
        // Overlaps of every kind, which Squid would complain about.
        allow.extend(
            ["h1.zone1.example", "x.h1.zone1.example", "*.h1.zone1.example"].map(String::from),
        );
        allow.extend(["http://a.org", "a.a.org", "https://a.org", ".A.org."].map(String::from));
        let (policy, _) =
            Policy::resolve(&allow, &["b.org".into(), "a.b.org".into()]).expect("usable");
        in_private_network(move || {
            let started = Instant::now();
            let bed = Bed::start(&policy);
            println!("{plain} names, {patterns} patterns: ready in {:?}", started.elapsed());
            let reply = ask(TUNNEL, "", "CONNECT h2.zone2.example:443 HTTP/1.1\r\n\r\n");
            assert!(status(&reply) >= 500, "{reply}");
            for file in ["stderr", "logs/cache.log"] {
                let text = bed.read(file);
                let bad = text.lines().find(|l| l.contains("WARNING") || l.contains("ERROR"));
                assert_eq!(bad, None, "{file}");
            }
        });
    }
}
