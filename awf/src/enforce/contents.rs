//! From the policy to what the kernel is told: pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use awf_common::config::{Config, GuardConfig};
use awf_common::guard::Listed;
use awf_common::limits::TCP_PORTS;

use crate::plan::addresses;
use crate::policy::Policy;

/// Everything the kernel is told, as plain data. Addresses are host-order numbers, as the programs compare them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// For the programs on the agent's cgroup.
    pub agent: Config,
    /// For the guard on the proxy's cgroup.
    pub proxy: GuardConfig,
    /// What the guard knows of single IPv4 addresses: [`Listed`] bits.
    pub listed4: BTreeMap<u32, u8>,
    /// What the guard knows of single IPv6 addresses, as four host-order words.
    pub listed6: BTreeMap<[u32; 4], u8>,
}

impl Contents {
    /// Derives the contents. `own` are the addresses of this machine.
    pub fn of(policy: &Policy, resolvers: &[IpAddr], own: &[IpAddr]) -> Self {
        let mut contents = Self {
            agent: Config {
                door: u32::from(addresses::DOOR),
                agent: u32::from(addresses::AGENT),
                proxy: u32::from(addresses::PROXY),
                proxy_port: addresses::PROXY_PORT,
                transparent_door_port: addresses::TRANSPARENT_DOOR_PORT,
                proxy_door_port: addresses::PROXY_DOOR_PORT,
                name_door_port: addresses::NAME_DOOR_PORT,
                tcp_ports: port_list(policy.tcp_ports()),
                chooses_errno: 0,
                options_have_caller: 0,
            },
            proxy: GuardConfig { tcp_ports: port_list(policy.tcp_ports()), chooses_errno: 0 },
            listed4: BTreeMap::new(),
            listed6: BTreeMap::new(),
        };
        for address in policy.exact_ips() {
            contents.list(IpAddr::V4(address), Listed::ALLOWED);
        }
        for address in resolvers {
            contents.list(*address, Listed::RESOLVER);
        }
        for address in own {
            contents.list(*address, Listed::OWN);
        }
        contents
    }

    /// The same contents for a kernel of this version: from 5.18 on a program may choose the errno of a refusal
    /// (`bpf_set_retval`), from 6.1 on the setsockopt hook may ask who calls. Told by version, because asking would cost a
    /// load on every start; a kernel that lacks a helper under a later number refuses the load, and thereby closes.
    #[must_use]
    pub fn for_kernel(mut self, version: (u32, u32)) -> Self {
        let chooses_errno = u32::from(version >= (5, 18));
        self.agent.chooses_errno = chooses_errno;
        self.proxy.chooses_errno = chooses_errno;
        self.agent.options_have_caller = u32::from(version >= (6, 1));
        self
    }

    fn list(&mut self, address: IpAddr, listed: Listed) {
        match address {
            IpAddr::V4(address) => self.list4(address, listed),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => self.list4(mapped, listed),
                None => *self.listed6.entry(words(address)).or_insert(0) |= listed.0,
            },
        }
    }

    fn list4(&mut self, address: Ipv4Addr, listed: Listed) {
        *self.listed4.entry(u32::from(address)).or_insert(0) |= listed.0;
    }
}

/// The first [`TCP_PORTS`] ports, zero-ended. A longer list opens fewer ports than asked, never more.
fn port_list(ports: &[u16]) -> [u16; TCP_PORTS] {
    let mut list = [0; TCP_PORTS];
    for (slot, port) in list.iter_mut().zip(ports) {
        *slot = *port;
    }
    list
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    let bits = u128::from(address);
    #[expect(clippy::cast_possible_truncation, reason = "a word is taken of it")]
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}
