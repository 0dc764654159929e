//! Address families that no program of awf sees: only the filter of system calls stands before them.

use super::Vector;
use super::build::family;

pub(super) const TABLE: &[Vector] = &[
    family(
        ["any-family", "every family and type in turn", "kernel: net/socket.c"],
        "*/*/0",
        "can/raw/0",
    ),
    family(["xdp", "frames from user memory", "kernel: net/xdp"], "xdp/raw/0", "xdp/raw/0"),
    family(["vsock", "the hypervisor", "kernel: net/vmw_vsock"], "vsock/stream/0", "vsock/1/0"),
    family(
        ["vsock-dgram", "the hypervisor, datagrams", "CVE-2021-26708"],
        "vsock/dgram/0",
        "vsock/2/0",
    ),
    family(["alg", "the kernel's ciphers", "CVE-2024-26824"], "alg/seqpacket/0", "alg/5/0"),
    family(
        ["rds", "a kernel thread that connects anywhere", "CVE-2010-3904"],
        "rds/seqpacket/0",
        "rds/5/0",
    ),
    family(["tipc", "clusters", "CVE-2021-43267"], "tipc/seqpacket/0", "tipc/5/0"),
    family(["tipc-rdm", "clusters, datagrams", "CVE-2022-0435"], "tipc/rdm/0", "tipc/4/0"),
    family(["rxrpc", "remote calls of AFS", "kernel: net/rxrpc"], "33/dgram/2", "family-33/2/2"),
    family(["kcm", "messages over TCP", "kernel: net/kcm"], "41/dgram/0", "family-41/2/0"),
    family(
        ["smc-family", "shared memory, its own family", "kernel: net/smc"],
        "43/stream/0",
        "family-43/1/0",
    ),
    family(["caif", "modems", "kernel: net/caif"], "37/stream/0", "family-37/1/0"),
    family(["nfc", "near field", "CVE-2021-38208"], "39/raw/0", "family-39/3/0"),
    family(["x25", "packet switching", "CVE-2010-4164"], "9/seqpacket/0", "family-9/5/0"),
    family(["ax25", "packet radio", "CVE-2022-1199"], "3/dgram/0", "family-3/2/0"),
    family(
        ["netrom", "packet radio, routed", "kernel: net/netrom"],
        "6/seqpacket/0",
        "family-6/5/0",
    ),
    family(["rose", "packet radio, switched", "CVE-2022-2961"], "11/seqpacket/0", "family-11/5/0"),
    family(["appletalk", "AppleTalk", "CVE-2009-2903"], "5/dgram/0", "family-5/2/0"),
    family(["ipx", "IPX", "CVE-2017-7487"], "4/dgram/0", "family-4/2/0"),
    family(["bluetooth", "Bluetooth", "CVE-2020-12351"], "bluetooth/seqpacket/0", "bluetooth/5/0"),
    family(["can", "field bus", "CVE-2010-2959"], "can/raw/1", "can/raw/1"),
    family(["qipcrtr", "coprocessors", "CVE-2021-29647"], "42/dgram/0", "family-42/2/0"),
    family(["mctp", "management controllers", "kernel: net/mctp"], "45/dgram/0", "family-45/2/0"),
    family(["pf-key", "IPsec keys", "RFC 2367"], "15/raw/2", "family-15/3/2"),
    family(["llc", "frames by 802.2", "kernel: net/llc"], "26/stream/0", "family-26/1/0"),
    family(["pppox", "PPP over Ethernet", "CVE-2014-4943"], "24/stream/0", "family-24/1/0"),
    family(["phonet", "phones", "CVE-2021-45095"], "35/dgram/0", "family-35/2/0"),
    family(["ieee802154", "sensors", "kernel: net/ieee802154"], "36/dgram/0", "family-36/2/0"),
    family(["atm", "ATM circuits", "CVE-2008-5079"], "8/dgram/0", "family-8/2/0"),
];
