//! The name door: every message gets a sound answer or none, the same one twice, and no address but those it may give.

#![no_main]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use awf::doors::name::NameDoor;
use awf::doors::names::NameTable;
use awf_fuzz::is_presentable;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::RData;
use libfuzzer_sys::fuzz_target;

/// Bytes of the longest answer: a question and one record, each with a name of at most 255 bytes, and EDNS.
const ANSWER_MAX: usize = 700;
const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 20);

fuzz_target!(|packet: &[u8]| {
    let table = Arc::new(NameTable::new(Ipv4Addr::new(198, 18, 0, 0), 24).expect("a range"));
    let hosts = HashMap::from([("agent".to_owned(), HOST)]);
    let door = NameDoor::new(
        Arc::clone(&table),
        hosts,
        |name| name.len() % 2 == 0,
        |asked| is_presentable(asked.name),
    );
    let Some(answer) = door.answer(packet) else { return };
    assert!(answer.len() <= ANSWER_MAX, "{} bytes", answer.len());
    assert_eq!(answer[..2], packet[..2], "the id");
    let message = Message::from_vec(&answer).expect("a sound message");
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert!(message.answers.len() <= 1);
    for record in &message.answers {
        if let RData::A(address) = &record.data {
            let known = table.name_of(address.0).is_some();
            assert!(known || address.0 == HOST || address.0.is_loopback(), "{address}");
        }
    }
    assert_eq!(door.answer(packet), Some(answer));
});
