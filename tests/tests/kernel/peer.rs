//! A container behind the service door, as the programs and the relay alone serve it: Docker, which would tell of one, is not
//! needed. An address of the lab's host namespace plays it.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use awf::api_proxy::{ApiProxy, Way};
use awf::doors::names::NameTable;
use awf::enforce::Object;
use awf::observe::journal::{Journal, Keeping};
use awf::plan::addresses;
use awf::plan::api_proxy::ApiProxyPlan;
use awf::policy::{Opening, Policy, PortRange, Rule, Service, Services, Target};
use awf::proxy::{Demand, Ports, State};
use awf::relay::{Inspect, Reach, Relay, Upstream};
use awf_common::decide::Door;
use awf_tests::bench::Bench;
use awf_tests::server::Server;
use awf_tests::{Scratch, lab};
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use xtask::lab::world;

use crate::{TcpListener, contents, run};

fn services() -> Services {
    let rule = Rule::AllowPeer("allow-topology-peer-1");
    Services::new(vec![Service {
        names: vec!["gateway".to_owned()],
        address: addresses::FIRST_PEER,
        openings: vec![Opening { ports: PortRange::single(10_200), rule }],
        target: Target::Peer(world::HOST_V4.parse().unwrap()),
    }])
}

/// There is none: nothing here may want one.
fn no_squid() -> Upstream {
    let (_state, state) = watch::channel(State::Starting);
    let ports = Ports { tunnel: 1, forward: 1, accel: 1 };
    Upstream { ports, key: "".into(), state, demand: Demand::default() }
}

fn no_api_proxy(policy: &Arc<Policy>, journal: &Arc<Journal>) -> Arc<ApiProxy> {
    let (policy, journal) = (Arc::clone(policy), Arc::clone(journal));
    ApiProxy::new(ApiProxyPlan::default(), policy, Way::Squid(no_squid()), journal, None).unwrap()
}

/// A record that has begun in a new file.
fn begun(file: &Path) -> Arc<Journal> {
    File::create(file).unwrap();
    let journal = Journal::open("run".into(), file, Keeping::default()).unwrap();
    journal.begin();
    journal
}

#[test]
fn a_peer_is_reached_at_its_exposed_port_and_own_address_only() {
    let bench = Bench::new("peer");
    let [peer, closed] =
        ["10200", "10201"].map(|port| Server::at(&format!("{}:{port}", world::HOST_V4)));
    let decoy = Server::at("127.0.0.1:10200");
    let services = services();
    let mut object = Object::load(&contents().opening(&services).unwrap()).unwrap();
    let _links = bench.attach(&object);
    let scratch = Scratch::new("peer-record");
    let file = scratch.path().join("egress.jsonl");
    let journal = begun(&file);
    let names = NameTable::new(addresses::SYNTHETIC, addresses::SYNTHETIC_PREFIX).unwrap();
    let policy = Arc::new(Policy::default());
    let api = no_api_proxy(&policy, &journal);
    let reach = Reach { services: Arc::new(services), own: Vec::new(), api };
    let relay = Relay::new(
        object.take_origins().unwrap(),
        Arc::new(names),
        policy,
        (no_squid(), reach, Inspect::default()),
        Arc::clone(&journal),
    );
    let door = lab().in_host(|| Ok(TcpListener::bind("127.65.87.70:3")?)).unwrap();
    door.set_nonblocking(true).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let output = std::thread::scope(|scope| {
        // The loader's namespace is that of its thread, so the relay runs on one in the lab.
        scope.spawn(|| {
            lab().in_host(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let door = tokio::net::TcpListener::from_std(door)?;
                    relay.open(Door::Service, door);
                    let _stop = stopped.await;
                    relay.close(Duration::from_secs(2)).await;
                    Ok(())
                })
            })
        });
        let get = |port| format!("curl -sS -m 5 http://172.30.0.100:{port}/; ");
        let output = run(bench.agent(), &(get(10_200) + &get(10_201) + "true"));
        stop.send(()).unwrap();
        output
    });
    assert_eq!(String::from_utf8_lossy(&output.stdout), peer.page(), "{output:?}");
    assert!(decoy.heard().is_empty() && closed.heard().is_empty(), "{decoy:?} {closed:?}");
    journal.close(|_tally, _lost| None);
    let record = fs::read_to_string(&file).unwrap();
    let record: Value = serde_json::from_str(record.trim_end()).expect("one record");
    for (field, value) in [
        ("verdict", "allow"),
        ("layer", "relay"),
        ("rule", "allow-topology-peer-1"),
        ("name", "gateway"),
        ("name_source", "service"),
        ("address", "172.30.0.100"),
    ] {
        assert_eq!(record[field], value, "{record}");
    }
    assert_eq!(record["port"], 10_200);
}
