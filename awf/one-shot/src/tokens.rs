//! The tokens: which they are, and the values of those that were asked for.
//!
//! Owns the list, read once from the environment, and the memory of the values. Gives what `getenv` gives. One thread at a
//! time changes anything; whoever merely looks waits for nobody.
#![expect(unsafe_code, reason = "values are C strings in memory of their own")]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use awf_common::one_shot::{LIST, MAX_TOKENS};

use crate::environment;
use crate::sys;

/// A token.
#[derive(Debug)]
pub(crate) struct Slot {
    name: AtomicPtr<u8>,
    length: AtomicUsize,
    value: AtomicPtr<c_char>,
}

impl Slot {
    const fn empty() -> Self {
        Self {
            name: AtomicPtr::new(ptr::null_mut()),
            length: AtomicUsize::new(0),
            value: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn name(&self) -> &'static [u8] {
        let (name, length) =
            (self.name.load(Ordering::Acquire), self.length.load(Ordering::Acquire));
        if name.is_null() {
            return &[];
        }
        // SAFETY: `remember` has stored a piece of the copied list, which is never unmapped or changed, and its length.
        unsafe { slice::from_raw_parts(name, length) }
    }
}

static SLOTS: [Slot; MAX_TOKENS] = [const { Slot::empty() }; MAX_TOKENS];
/// How many slots are in use; [`UNREAD`] before the list was read.
static COUNT: AtomicUsize = AtomicUsize::new(UNREAD);
const UNREAD: usize = usize::MAX;
/// The copied list as an entry of the environment; null if there is none.
static ENTRY: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());
/// Id of the process that is changing something; 0 if none is.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Changes when a removal begins and when it ends.
static REMOVALS: AtomicUsize = AtomicUsize::new(0);

/// Being the one that changes things. A thread that forks while another changes something leaves its child a lock that
/// nobody will open; there the owner is not this process, and the lock is taken over.
struct Alone;

impl Alone {
    fn wait() -> Self {
        let own = sys::process_id();
        loop {
            let free = OWNER.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst);
            let Err(owner) = free else { return Self };
            if owner == own {
                sys::give_way();
            } else if OWNER.compare_exchange(owner, own, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            {
                return Self;
            }
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        OWNER.store(0, Ordering::SeqCst);
    }
}

/// What `getenv` gives for this name.
pub(crate) fn get(name: &CStr) -> *const c_char {
    let name = name.to_bytes();
    if let Some(slot) = listed(name) {
        let kept = slot.value.load(Ordering::Acquire).cast_const();
        // A program may have set the variable again since.
        if kept.is_null() || find(name).is_some() { take(slot) } else { kept }
    } else {
        plain(name).unwrap_or(ptr::null())
    }
}

/// Whether an entry of an environment is a token's.
pub(crate) fn is_token(entry: *const c_char) -> bool {
    slots().iter().any(|slot| environment::value_of(entry, slot.name()).is_some())
}

/// The list as an entry of the environment.
pub(crate) fn list_entry() -> *const c_char {
    ENTRY.load(Ordering::Acquire)
}

/// Reads the list, if the environment is there.
pub(crate) fn begin() {
    if COUNT.load(Ordering::Acquire) == UNREAD {
        read_list();
    }
}

/// All tokens.
pub(crate) fn slots() -> &'static [Slot] {
    begin();
    match COUNT.load(Ordering::Acquire) {
        UNREAD => &[],
        count => SLOTS.get(..count).unwrap_or(&SLOTS),
    }
}

fn listed(name: &[u8]) -> Option<&'static Slot> {
    slots().iter().find(|slot| slot.name() == name)
}

fn find(name: &[u8]) -> Option<*const c_char> {
    environment::entries().find_map(|entry| entry.value_of(name))
}

/// The value of a variable that is none of ours. Entries that move up while they are walked can hide one from the walk, so
/// a miss during a removal is no miss.
fn plain(name: &[u8]) -> Option<*const c_char> {
    let before = REMOVALS.load(Ordering::SeqCst);
    find(name).or_else(|| {
        let quiet = OWNER.load(Ordering::SeqCst) == 0;
        if quiet && REMOVALS.load(Ordering::SeqCst) == before {
            return None;
        }
        let _alone = Alone::wait();
        find(name)
    })
}

/// Reads the list, unless the environment is not there yet.
fn read_list() {
    let _alone = Alone::wait();
    if COUNT.load(Ordering::Acquire) != UNREAD || environment::entries().next().is_none() {
        return;
    }
    let Some(list) = find(LIST.as_bytes()) else { return COUNT.store(0, Ordering::Release) };
    // The name and the `=` belong to the same entry.
    let Some(copy) = copy(list.wrapping_sub(LIST.len() + 1)) else { sys::exit(127) };
    // SAFETY: `copy` has made a string.
    let text = unsafe { CStr::from_ptr(copy) }.to_bytes();
    let names = text.get(LIST.len() + 1..).unwrap_or_default().split(|byte| *byte == b',');
    let names = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let mut count = 0;
    for (slot, name) in SLOTS.iter().zip(names) {
        slot.length.store(name.len(), Ordering::Release);
        slot.name.store(name.as_ptr().cast_mut(), Ordering::Release);
        count += 1;
    }
    ENTRY.store(copy, Ordering::Release);
    COUNT.store(count, Ordering::Release);
}

/// Takes a token out of the environment, if it is there, and gives its value. What cannot be taken off the stack, or kept,
/// is lost rather than given.
fn take(slot: &Slot) -> *const c_char {
    let _alone = Alone::wait();
    let name = slot.name();
    let Some(value) = find(name) else { return slot.value.load(Ordering::Acquire) };
    let kept = copy(value);
    REMOVALS.fetch_add(1, Ordering::SeqCst);
    while let Some(entry) = environment::entries().find(|entry| entry.value_of(name).is_some()) {
        entry.remove();
    }
    REMOVALS.fetch_add(1, Ordering::SeqCst);
    let hidden = environment::scrub(name);
    let kept = kept.filter(|_| hidden).unwrap_or(ptr::null_mut());
    slot.value.store(kept, Ordering::Release);
    kept
}

/// A copy of a string in memory of its own.
fn copy(text: *const c_char) -> Option<*mut c_char> {
    // SAFETY: an entry of the environment, or the rest of one: a string.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes_with_nul();
    let place = sys::map(bytes.len()).ok()?;
    // SAFETY: `map` has given at least that many bytes, which nobody else knows of.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    Some(place.cast())
}
