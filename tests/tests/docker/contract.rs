//! What a program finds that was written for the original: its addresses, on either runtime.

use awf_tests::server::Server;
use awf_tests::{Run, unconfined};

use crate::daemon;

#[test]
fn the_addresses_of_the_original_answer() {
    let server = Server::at("127.0.0.1:3217");
    let control = unconfined("curl -sS http://127.0.0.1:3217/");
    assert_eq!(String::from_utf8_lossy(&control.stdout), server.page(), "positive control");
    let line = "echo $HTTP_PROXY $HTTPS_PROXY; \
                curl -sS -o /dev/null -w '%{http_code}\\n' --proxy http://172.30.0.10:3128 https://example.com/; \
                curl -sS http://172.30.0.30:10000/health; echo; \
                curl -sS http://host.docker.internal:3217/";
    let run = Run::allowing("example.com").flag("--enable-host-access");
    let outcome = run.option("--allow-host-ports", "3217").run(line).succeeded();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "http://172.30.0.10:3128 http://172.30.0.10:3128");
    assert_eq!(lines[1], "200");
    assert!(lines[2].contains("\"status\":\"healthy\""), "{outcome:#?}");
    assert!(outcome.stdout.ends_with(&server.page()), "{outcome:#?}");
}

/// A container that serves a page on a port that it exposes and on one that it does not, in a network of its own.
pub(crate) struct Neighbour {
    name: String,
}

impl Neighbour {
    fn new() -> Self {
        Self::called(format!("neighbour-{}", std::process::id()))
    }

    pub(crate) fn called(name: String) -> Self {
        daemon().ask(&["network", "create", &name]).expect("a network can be made");
        // Squid is the only server in the images: it answers 400 to whoever asks without naming a site.
        let conf = "http_port 8080\\nhttp_port 9090\\npid_filename none\\ncache_log /dev/null\\naccess_log none\\n";
        let line = format!("printf '{conf}' >/tmp/conf; exec squid -N -f /tmp/conf");
        let run =
            ["run", "--detach", "--rm", "--network", &name, "--name", &name, "--expose", "8080"];
        daemon()
            .ask(&[&run[..], &[crate::SQUID, "bash", "-c", &line]].concat())
            .expect("the neighbour starts");
        Self { name }
    }

    fn address(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        daemon().ask(&["inspect", "--format", format, &self.name]).expect("it runs")
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(daemon().ask(&["kill", &self.name]));
        for _try in 0..100 {
            if daemon().ask(&["network", "rm", &self.name]).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

#[test]
fn an_attached_container_is_reached_by_name_on_the_ports_that_it_exposes() {
    let neighbour = Neighbour::new();
    let (name, address) = (&neighbour.name, neighbour.address());
    let answers = |host: &str, port: u16| {
        format!("curl -s -m 3 -o /dev/null -w '%{{http_code}}\\n' http://{host}:{port}/")
    };
    let control = unconfined(&format!(
        "for try in $(seq 100); do curl -s -o /dev/null http://{address}:9090 && break; sleep 0.1; done; {}; {}",
        answers(&address, 8080),
        answers(&address, 9090)
    ));
    assert_eq!(String::from_utf8_lossy(&control.stdout), "400\n400\n", "positive control");
    let line = [
        answers(name, 8080),
        answers(name, 9090),
        answers(&address, 8080),
        answers(&format!("x.{name}"), 8080),
    ];
    for runtime in ["docker", "native"] {
        let run = Run::allowing("example.com").option("--topology-attach", name);
        let outcome = run.option("--runtime", runtime).run(&(line.join("; ") + "; true"));
        let outcome = outcome.succeeded();
        let codes: Vec<&str> = outcome.stdout.lines().collect();
        assert_eq!(codes[0], "400", "{runtime}: {outcome:#?}");
        assert!(codes[1..].iter().all(|code| matches!(*code, "000" | "403")), "{outcome:#?}");
        outcome
            .recorded(&[("rule", "allow-topology-peer-1".into()), ("port", 8080.into())])
            .recorded(&[("verdict", "deny".into()), ("port", 9090.into())])
            .recorded(&[("verdict", "deny".into()), ("address", address.clone().into())]);
    }
}

#[test]
fn a_container_that_does_not_run_cannot_be_attached() {
    let outcome = Run::new().option("--topology-attach", "nobody-of-this-name").run("echo ran");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (116, ""), "{outcome:#?}");
    assert!(outcome.stderr.contains("--topology-attach nobody-of-this-name"), "{outcome:#?}");
}
