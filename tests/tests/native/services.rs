//! The service door: what is opened of the machine is reached, by every kind of client, and nothing beside it.

use awf_tests::server::Server;
use awf_tests::{Outcome, Run, unconfined};
use serde_json::Value;
use xtask::lab::world;

/// Ways to fetch a URL: as the variables say (which except the host), as a proxy request, through a tunnel.
const WAYS: [&str; 3] = [
    "curl -sS -m 10",
    "curl -sS -m 10 --noproxy '' -x http://172.30.0.10:3128",
    "curl -sS -m 10 --noproxy '' -p -x http://172.30.0.10:3128",
];

/// The same fetch in every way.
fn fetch(url: &str) -> String {
    WAYS.map(|way| format!("{way} {url}")).join("; ")
}

fn host_ports(ports: &str) -> Run {
    Run::new().flag("--enable-host-access").option("--allow-host-ports", ports)
}

/// Asserts that a server can be reached without awf.
#[track_caller]
fn control(url: &str, page: &str) {
    let output = unconfined(&format!("curl -sS -m 10 {url}"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), page, "positive control: {output:?}");
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}

/// The records of connections to the host, whatever it was called.
fn of_host(outcome: &Outcome) -> Vec<&Value> {
    outcome.records_where(|record| {
        record["protocol"] == "tcp"
            && (record["name"] == "host.docker.internal" || record["address"] == "172.30.0.1")
    })
}

#[test]
fn an_opened_port_of_the_host_is_reached_by_every_name_and_way() {
    let server = Server::at("127.0.0.1:3100");
    control("http://127.0.0.1:3100/", &server.page());
    let names = ["host.docker.internal", "gateway.docker.internal", "172.30.0.1"];
    let line = names.map(|name| fetch(&format!("http://{name}:3100/a?b"))).join("; ");
    for (run, count) in [(host_ports("3100"), 9), (host_ports("3100").without_proxy_variables(), 9)]
    {
        let outcome = run.run(&line).succeeded();
        assert_eq!(outcome.stdout, server.page().repeat(count), "{outcome:#?}");
        let records = of_host(&outcome);
        assert_eq!(records.len(), count, "{outcome:#?}");
        for record in records {
            assert_eq!(
                (text(record, "verdict"), text(record, "layer"), text(record, "rule")),
                ("allow", "relay", "allow-host-port"),
                "{record}"
            );
            assert_eq!(
                (text(record, "name"), &record["port"]),
                ("host.docker.internal", &3100.into())
            );
            assert!(record["bytes_in"].as_u64() > Some(50), "{record}");
            assert!(record["bytes_out"].as_u64() > Some(50), "{record}");
            assert!(record["duration_ms"].is_u64() && text(record, "comm") == "curl", "{record}");
        }
    }
    // A server hears its own kind of request, whoever the client believed to speak to.
    let heard = server.heard();
    let right = |request: &&String| request.starts_with("GET /a?b HTTP/1.1\r\n");
    assert_eq!(heard.iter().filter(right).count(), 2 * 9, "{heard:#?}");
}

#[test]
fn the_web_ports_of_the_host_come_with_host_access() {
    let server = Server::at("127.0.0.1:80");
    let other = Server::at("127.0.0.1:443");
    let line = "curl -sS -m 5 http://host.docker.internal/; curl -sS -m 5 http://172.30.0.1:443/; \
                curl -sS -m 5 -H 'Host: example.org' http://172.30.0.1/";
    let run = Run::allowing("example.org").flag("--enable-host-access");
    let outcome = run.run(line).succeeded();
    assert_eq!(outcome.stdout, server.page() + &other.page() + &server.page(), "{outcome:#?}");
    outcome
        .recorded(&[("rule", "allow-host-access".into()), ("port", 80.into())])
        .recorded(&[("rule", "allow-host-access".into()), ("port", 443.into())]);
    // Opened for no run that does not say so.
    let line = "curl -sS -m 5 http://host.docker.internal/; curl -skS -m 5 https://172.30.0.1/";
    let closed = Run::allowing("example.com").run(line).failed();
    assert_eq!(closed.stdout.matches("served-at").count(), 0, "{closed:#?}");
    let why = |record: &Value| text(record, "reason").contains("--enable-host-access");
    assert!(closed.records_where(why).len() >= 2, "{closed:#?}");
}

#[test]
fn a_port_that_is_not_opened_is_refused_with_the_flag_that_would() {
    let server = Server::at("127.0.0.1:3102");
    control("http://127.0.0.1:3102/", &server.page());
    let heard = server.heard().len();
    let line = fetch("http://host.docker.internal:3102/") + "; curl -sS http://172.30.0.1:3102/";
    let outcome = host_ports("3103").run(&line).failed();
    assert!(!outcome.stdout.contains("served-at"), "{outcome:#?}");
    assert_eq!(server.heard().len(), heard, "the server was reached");
    let denied = of_host(&outcome);
    assert_eq!(denied.len(), 4, "{outcome:#?}");
    for record in denied {
        assert_eq!(text(record, "verdict"), "deny", "{record}");
        assert!(["port", "deny-unsafe-ports"].contains(&text(record, "rule")), "{record}");
        assert!(text(record, "reason").contains("--allow-host-ports 3102"), "{record}");
    }
    assert!(outcome.stdout.contains("--allow-host-ports 3102"), "the 403 names it: {outcome:#?}");
    assert!(outcome.stderr.contains("--allow-host-ports 3102"), "{outcome:#?}");
    assert!(!outcome.stderr.contains("--allow-domains \"host"), "{outcome:#?}");
}

#[test]
fn without_host_access_no_port_of_the_host_is_reached() {
    let server = Server::at("127.0.0.1:3104");
    control("http://127.0.0.1:3104/", &server.page());
    let line = fetch("http://host.docker.internal:3104/") + "; curl -sS http://172.30.0.1:3104/";
    let run = Run::allowing("host.docker.internal,example.com");
    let outcome = run.run(&line).failed();
    assert_eq!(server.heard().len(), 1, "only the control reached it");
    let with = "--enable-host-access with --allow-host-ports 3104";
    assert_eq!(outcome.records_where(|record| text(record, "reason").contains(with)).len(), 4);
    assert!(outcome.stderr.contains("nothing answers there without --enable-host-access"));
}

#[test]
fn ranges_open_what_they_say() {
    let servers = ["127.0.0.1:3110", "127.0.0.1:3112", "127.0.0.1:3113"].map(Server::at);
    control("http://127.0.0.1:3113/", &servers[2].page());
    let get = |port| format!("curl -sS -m 5 http://host.docker.internal:{port}/; ");
    let line = [3110, 3112, 3113, 3109].map(get).concat();
    let outcome = host_ports("3110-3112").run(&(line + "true")).succeeded();
    assert_eq!(outcome.stdout, servers[0].page() + &servers[1].page(), "{outcome:#?}");
    assert_eq!(servers[2].heard().len(), 1, "only the control reached it");
}

/// The original opened ports of the host for every allowed domain.
#[test]
fn the_same_port_of_an_allowed_domain_stays_closed() {
    let line = "curl -sS -m 5 http://example.com:8080/";
    assert!(unconfined(line).status.success(), "positive control");
    let both = [line, &format!("{line} --noproxy '' -x http://172.30.0.10:3128 -f")].join("; ");
    let run = host_ports("8080").option("--allow-domains", "example.com");
    let outcome = run.run(&both).failed();
    let of_port = outcome.records_where(|record| record["port"] == 8080);
    assert_eq!(of_port.len(), 2, "{outcome:#?}");
    assert!(of_port.iter().all(|record| record["verdict"] == "deny"), "{outcome:#?}");
    assert!(!of_port.iter().any(|record| text(record, "reason").contains("--allow-host-ports")));
}

#[test]
fn a_dangerous_port_is_opened_only_on_purpose_and_aloud() {
    let _server = Server::greeting("127.0.0.1:5432", "ready");
    let line = "exec 3<>/dev/tcp/host.docker.internal/5432 && head -c5 <&3";
    let refused = host_ports("5000-6000").run(line);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:#?}");
    assert!(refused.stderr.contains("port 5432 (PostgreSQL) is dangerous"), "{refused:#?}");
    let outcome = Run::new().option("--allow-host-service-ports", "5432").run(line).succeeded();
    assert_eq!(outcome.stdout, "ready", "{outcome:#?}");
    let warning = "[WARN] --allow-host-service-ports opens ports 5432 of this machine";
    assert!(outcome.stderr.contains(warning), "{outcome:#?}");
    outcome.recorded(&[("rule", "allow-host-service-port".into()), ("port", 5432.into())]);
}

#[test]
fn localhost_in_the_allow_list_opens_the_usual_ports() {
    let server = Server::at("127.0.0.1:5173");
    let line =
        "curl -sS -m 5 http://host.docker.internal:5173/; curl -sS http://localhost:5173/; true";
    let outcome = Run::allowing("localhost").run(line).succeeded();
    // Inside, localhost is the sandbox itself.
    assert_eq!(outcome.stdout, server.page(), "{outcome:#?}");
    assert!(outcome.stderr.contains("[WARN] localhost in the allow list opens this machine"));
    assert!(outcome.stderr.contains("[INFO] Opened: host.docker.internal (172.30.0.1)"));
}

#[test]
fn a_server_that_listens_on_an_address_of_the_machine_only_is_found() {
    let address = format!("{}:3120", world::HOST_V4);
    let server = Server::at(&address);
    let refused = unconfined("curl -sS -m 5 http://127.0.0.1:3120/");
    assert!(!refused.status.success(), "it listens on loopback, too: {refused:?}");
    let outcome =
        host_ports("3120").run("curl -sS -m 5 http://host.docker.internal:3120/").succeeded();
    assert_eq!(outcome.stdout, server.page(), "{outcome:#?}");
}

#[test]
fn where_nobody_listens_the_connection_ends_at_once_and_the_record_says_why() {
    let outcome = host_ports("3130").run(&fetch("http://host.docker.internal:3130/")).failed();
    let records = of_host(&outcome);
    assert_eq!(records.len(), 3, "{outcome:#?}");
    for record in records {
        assert_eq!((text(record, "verdict"), text(record, "rule")), ("error", "allow-host-port"));
        assert!(text(record, "reason").contains("did not accept the connection"), "{record}");
        assert!(record["duration_ms"].as_u64() < Some(1000), "{record}");
    }
}

#[test]
fn datagrams_to_an_opened_port_are_refused() {
    let line = "python3 -c \"
import socket
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('172.30.0.1', 3140))
except OSError as error: print(error.errno)\"";
    let outcome = host_ports("3140").run(line).succeeded();
    assert!(["111\n", "1\n"].contains(&outcome.stdout.as_str()), "{outcome:#?}");
    outcome.recorded(&[("rule", "udp".into()), ("address", "172.30.0.1".into())]);
}

#[test]
fn the_sandbox_knows_the_names_of_what_is_opened() {
    let line = "grep docker.internal /etc/hosts; getent ahostsv4 host.docker.internal | head -n1; echo $NO_PROXY";
    let outcome = host_ports("3150").run(line).succeeded();
    let expected = ["172.30.0.1\thost.docker.internal gateway.docker.internal", "172.30.0.1 "];
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], expected[0], "{outcome:#?}");
    assert!(lines[1].starts_with(expected[1]), "{outcome:#?}");
    assert!(lines[2].contains(",host.docker.internal,172.30.0.1,"), "{outcome:#?}");
    let closed = Run::new().run(line).succeeded();
    assert!(!closed.stdout.contains("docker.internal,"), "{closed:#?}");
}

#[test]
fn a_container_that_is_not_there_ends_the_run_before_it_begins() {
    let outcome = Run::new().option("--topology-attach", "awmg-mcpg").run("echo ran");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (116, ""), "{outcome:#?}");
    assert!(outcome.stderr.contains("[ERROR] --topology-attach awmg-mcpg: "), "{outcome:#?}");
}
