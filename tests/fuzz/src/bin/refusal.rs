//! Refusals from the kernel: any bytes of the ring buffer become one whole line of the record, or none.

#![no_main]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use awf::doors::names::NameTable;
use awf::observe::journal::{Journal, Keeping};
use awf::observe::kernel::{Known, to_record};
use awf::observe::repeats::Repeated;
use awf_common::event::Refusal;
use awf_fuzz::is_one_line_of;
use libfuzzer_sys::fuzz_target;

static JOURNAL: LazyLock<Arc<Journal>> = LazyLock::new(|| {
    Journal::open("run".into(), Path::new("/dev/null"), Keeping::default()).expect("a journal")
});
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let names = NameTable::new(Ipv4Addr::new(198, 18, 0, 0), 24).expect("a range");
    names.address_of("example.com", false).expect("an address");
    Known::new(Arc::new(names), Arc::default())
});

fuzz_target!(|bytes: &[u8]| {
    let refusal = Refusal::from_bytes(bytes);
    assert_eq!(refusal.is_some(), bytes.len() == size_of::<Refusal>());
    if let Some(refusal) = refusal {
        is_one_line_of(&to_record(&Repeated { refusal, count: 1, until_ns: 0 }, &JOURNAL, &KNOWN));
    }
});
