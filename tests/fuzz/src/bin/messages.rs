//! What awf tells itself: messages of `awf init`, its specification and the list of what a run owns. Any bytes are refused
//! or read as something that is written the same way.

#![no_main]

use std::fmt::Debug;

use awf::runtime::native::AgentSpec;
use awf::runtime::native::wire::{Notice, Order};
use awf::session::run_dir::Owned;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|bytes: &[u8]| {
    survives::<Order>(bytes);
    survives::<Notice>(bytes);
    survives::<AgentSpec>(bytes);
    survives::<Owned>(bytes);
});

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&message).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&written).expect("and read again"), message);
    }
}
