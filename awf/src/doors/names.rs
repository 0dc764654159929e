//! Host names as the wire carries them, and the table that gives each one a synthetic IPv4 address.
//!
//! Owns the one spelling of a host name that the name door and the relay compare ([`canonical`]),
//! and the mapping name <-> address of a run ([`NameTable`]). Takes text from the agent, gives
//! lower-case names and addresses of one configured range. It never gives an address away twice in
//! a run (a stale DNS cache in some client would otherwise reach another name), and it never
//! decides whether a name is allowed.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, RwLock};

/// Bytes of the longest host name in text form, without the trailing dot (RFC 1035, 2.3.4).
pub const MAX_NAME: usize = 253;

/// Bytes of the longest label (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Why a text is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left once the trailing dot is gone.
    #[error("host name is empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes.
    #[error("host name is longer than 253 bytes")]
    TooLong,
    /// A label is empty, longer than 63 bytes, or holds something else than letters, digits, `-`,
    /// `_`.
    #[error("host name has a label that is not 1 to 63 letters, digits, hyphens or underscores")]
    Label,
    /// The text ends in a number, so some client or resolver would read it as an IPv4 address.
    #[error("an IP address where a host name is expected")]
    Address,
}

/// Brings a host name into the only form that is ever compared: lower case, one trailing dot gone.
///
/// A name whose last label is a number in any spelling (`127.1`, `0x7f.1`, `2130706433`) is
/// refused, not converted: `inet_aton(3)` and Squid read these as addresses, so the name's policy
/// would be asked about one thing and another thing would be contacted. Underscores and hyphens at
/// any place are accepted because such names exist and resolve.
pub fn canonical(text: &str) -> Result<String, NameError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    if !name.split('.').all(is_label) {
        return Err(NameError::Label);
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(NameError::Address);
    }
    Ok(name.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(plain)
}

/// The "ends in a number" rule of the WHATWG URL standard, for one label.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hex.map_or_else(
        || label.bytes().all(|b| b.is_ascii_digit()),
        |digits| digits.bytes().all(|b| b.is_ascii_hexdigit()),
    )
}

/// The configured range cannot serve as a name table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{network}/{prefix} is not an IPv4 network with a prefix length from 8 to 29")]
pub struct RangeError {
    network: Ipv4Addr,
    prefix: u8,
}

/// Names of one run and their synthetic addresses. Shared by the name door and the relay.
///
/// The range has two halves. Names that the policy denies get addresses of the lower half only;
/// allowed ("favoured") names take the upper half first and the lower half when that is full. So an
/// agent that asks for any number of denied names can fill its half, never the other. Memory is
/// bounded by the range: a /15 full of longest names takes 44 MB, and 20k ordinary names 2 MB.
#[derive(Debug)]
pub struct NameTable {
    first: u32,
    half: u32,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<Arc<str>, Ipv4Addr>,
    lower: Vec<Arc<str>>,
    upper: Vec<Arc<str>>,
}

impl NameTable {
    /// An empty table over `network`/`prefix` (host byte order is internal; host bits must be
    /// zero).
    ///
    /// The first and the last address of the range are never given out: they are the network's and
    /// the broadcast address, which some clients refuse to connect to.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Result<Self, RangeError> {
        let first = network.to_bits();
        let hosts = 1_u32.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
        if !(8..=29).contains(&prefix) || first & hosts.saturating_sub(1) != 0 {
            return Err(RangeError { network, prefix });
        }
        Ok(Self { first, half: hosts / 2, state: RwLock::default() })
    }

    /// The address of a canonical name; a name not seen before gets one.
    ///
    /// `favoured` says that the policy allows the name. `None`: no address is left for this kind of
    /// name (or a thread died inside the table), and the caller must answer that it failed.
    pub fn address_of(&self, name: &str, favoured: bool) -> Option<Ipv4Addr> {
        if let Some(known) = self.state.read().ok()?.addresses.get(name) {
            return Some(*known);
        }
        self.state.write().ok()?.insert(name, favoured, self.first, self.half)
    }

    /// The name that was given this address, if one was.
    pub fn name_of(&self, address: Ipv4Addr) -> Option<Arc<str>> {
        let offset = address.to_bits().checked_sub(self.first)?;
        self.state.read().ok()?.name_at(offset, self.half)
    }

    /// How many names have an address.
    pub fn len(&self) -> usize {
        self.state.read().map_or(0, |state| state.addresses.len())
    }

    /// Whether no name was asked for yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    fn name_at(&self, offset: u32, half: u32) -> Option<Arc<str>> {
        let (names, index) = match offset.checked_sub(half) {
            Some(index) => (&self.upper, index),
            None => (&self.lower, offset.checked_sub(1)?),
        };
        names.get(usize::try_from(index).ok()?).map(Arc::clone)
    }

    /// Offset 0 (network) and the last offset (broadcast) stay free, so each half holds `half - 1`.
    fn insert(&mut self, name: &str, favoured: bool, first: u32, half: u32) -> Option<Ipv4Addr> {
        // Another thread may have been quicker between the read lock and this one.
        if let Some(known) = self.addresses.get(name) {
            return Some(*known);
        }
        let room = |names: &Vec<Arc<str>>| {
            u32::try_from(names.len()).ok().filter(|count| *count < half.saturating_sub(1))
        };
        let (names, offset) = match (favoured, room(&self.upper), room(&self.lower)) {
            (true, Some(count), _) => (&mut self.upper, half.checked_add(count)?),
            (_, _, Some(count)) => (&mut self.lower, count.checked_add(1)?),
            (_, _, None) => return None,
        };
        let address = Ipv4Addr::from_bits(first.checked_add(offset)?);
        let name = Arc::<str>::from(name);
        names.push(Arc::clone(&name));
        self.addresses.insert(name, address);
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn table(prefix: u8) -> NameTable {
        NameTable::new(Ipv4Addr::new(198, 18, 0, 0), prefix).unwrap()
    }

    #[test]
    fn names_become_lower_case_without_trailing_dot() {
        for (text, want) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("_dmarc.a-b.x", "_dmarc.a-b.x"),
            ("-odd-.example", "-odd-.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("0x.example", "0x.example"),
            ("example.1a", "example.1a"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_names_are_refused() {
        let longest = format!("{}.{}", "a".repeat(61), vec!["a".repeat(63); 3].join("."));
        let long_label = format!("{}.com", "a".repeat(64));
        let long_name = vec!["a".repeat(63); 4].join(".");
        for (text, want) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("example.com..", NameError::Label),
            (".example.com", NameError::Label),
            ("a..b", NameError::Label),
            ("a b.com", NameError::Label),
            ("a\0b.com", NameError::Label),
            ("a/b.com", NameError::Label),
            ("user@example.com", NameError::Label),
            ("b\u{fc}cher.example", NameError::Label),
            ("[::1]", NameError::Label),
            ("::1", NameError::Label),
            ("127.0.0.1", NameError::Address),
            ("127.0.0.1.", NameError::Address),
            ("127.1", NameError::Address),
            ("0x7f.1", NameError::Address),
            ("0X7F000001", NameError::Address),
            ("2130706433", NameError::Address),
            ("0177.0.0.01", NameError::Address),
            ("example.0x", NameError::Address),
            (&long_label, NameError::Label),
            (&long_name, NameError::TooLong),
        ] {
            assert_eq!(canonical(text), Err(want), "{text}");
        }
        assert_eq!(canonical(&longest).as_deref(), Ok(longest.as_str()));
    }

    #[test]
    fn a_name_keeps_its_address_and_the_address_its_name() {
        let table = table(15);
        let denied = table.address_of("denied.example", false).unwrap();
        let allowed = table.address_of("allowed.example", true).unwrap();
        assert_eq!(denied, Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(allowed, Ipv4Addr::new(198, 19, 0, 0));
        assert_eq!(table.address_of("denied.example", true), Some(denied));
        assert_eq!(table.address_of("allowed.example", false), Some(allowed));
        assert_eq!(table.name_of(denied).as_deref(), Some("denied.example"));
        assert_eq!(table.name_of(allowed).as_deref(), Some("allowed.example"));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn addresses_not_given_out_have_no_name() {
        let table = table(15);
        assert!(table.is_empty());
        table.address_of("a.example", false).unwrap();
        for address in
            ["198.18.0.0", "198.18.0.2", "198.19.0.0", "198.19.255.255", "198.20.0.1", "8.8.8.8"]
        {
            assert_eq!(table.name_of(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn denied_names_cannot_use_up_the_addresses_of_allowed_ones() {
        let table = table(28);
        let denied = (0..100).filter_map(|n| table.address_of(&format!("d{n}.example"), false));
        assert_eq!(denied.count(), 7);
        let allowed = (0..100).filter_map(|n| table.address_of(&format!("a{n}.example"), true));
        assert_eq!(allowed.count(), 7);
        assert_eq!(table.address_of("d0.example", false), "198.18.0.1".parse().ok());
    }

    #[test]
    fn allowed_names_may_fill_both_halves_and_no_address_is_given_twice() {
        let table = table(28);
        let seen: HashSet<_> =
            (0..100).filter_map(|n| table.address_of(&format!("a{n}.example"), true)).collect();
        assert_eq!(seen.len(), 14);
        assert!(!seen.contains(&"198.18.0.0".parse().unwrap()));
        assert!(!seen.contains(&"198.18.0.15".parse().unwrap()));
        for address in seen {
            let name = table.name_of(address).unwrap();
            assert_eq!(table.address_of(&name, true), Some(address));
        }
    }

    #[test]
    fn threads_that_ask_for_the_same_names_get_the_same_addresses() {
        let table = table(15);
        let ask = || (0..2000).map(|n| table.address_of(&format!("n{n}.x"), n % 2 == 0)).collect();
        let (one, two): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(ask), scope.spawn(ask));
            (one.join().unwrap(), two.join().unwrap())
        });
        assert_eq!(one, two);
        assert_eq!(one.iter().collect::<HashSet<_>>().len(), 2000);
    }

    #[test]
    fn ranges_that_are_no_networks_are_refused() {
        for (network, prefix) in
            [("198.18.0.1", 15), ("198.19.0.0", 15), ("0.0.0.0", 0), ("198.18.0.0", 30)]
        {
            assert!(
                NameTable::new(network.parse().unwrap(), prefix).is_err(),
                "{network}/{prefix}"
            );
        }
        NameTable::new(Ipv4Addr::new(10, 0, 0, 0), 8).unwrap();
    }
}
