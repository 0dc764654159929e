//! The machine's own addresses.
//!
//! Owns one question. Takes nothing, gives a list. Must never judge it.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// Every address of every interface. An interface that appears later is not in it; private addresses are refused to the
/// proxy anyway, and a public one of a host that changes its addresses in mid-run is the rest that remains.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect()
}
