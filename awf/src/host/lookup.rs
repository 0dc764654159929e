//! Addresses of a name, as this machine knows them.
//!
//! Owns the one question that is asked before a run. Takes a name, gives addresses or the reason why there
//! are none. Must never be asked for what the command wants to reach.

use std::net::{IpAddr, ToSocketAddrs as _};

/// The addresses of a host name or literal, each once, IPv4 first: not every machine that knows IPv6
/// addresses can reach them.
pub fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|address| address.ip().to_canonical()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    if addresses.is_empty() { Err("it has none".to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_their_own_addresses_and_other_names_may_have_none() {
        assert_eq!(addresses("10.1.2.3").unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        assert_eq!(addresses("::ffff:10.1.2.3").unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        addresses("nothing.invalid").unwrap_err();
    }
}
