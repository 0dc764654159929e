//! bpf(2) as another root would use it against a run. Finds programs and maps through the links of one cgroup, so that
//! nothing of anybody else is touched.

use std::fs;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;

// `enum bpf_cmd` in `include/uapi/linux/bpf.h`.
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_UPDATE: libc::c_long = 29;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const LINK_GET_NEXT_ID: libc::c_long = 31;
const LINK_DETACH: libc::c_long = 34;

/// bpf(2) with a `union bpf_attr` of words, into which the kernel may answer.
fn bpf(command: libc::c_long, attribute: &mut [u64]) -> nix::Result<i32> {
    let address = attribute.as_mut_ptr();
    // SAFETY: the kernel reads and writes the attribute, which outlives the call, as do the buffers it points to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of_val(attribute)) };
    Errno::result(result).map(|result| i32::try_from(result).unwrap())
}

/// Two fields of 32 bits, on a machine that puts the low byte first, as all that awf runs on do.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// The second of two such fields.
fn second(word: u64) -> u32 {
    u32::try_from(word >> 32).unwrap()
}

fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

fn by_id(command: libc::c_long, id: u32) -> nix::Result<OwnedFd> {
    let descriptor = bpf(command, &mut [pair(id, 0), 0])?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A number that the kernel tells of a descriptor.
pub fn told(descriptor: &OwnedFd, name: &str) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// The links that govern a cgroup.
pub fn links_of(cgroup: &Path) -> Vec<OwnedFd> {
    let wanted = fs::metadata(cgroup).unwrap().ino();
    let (mut links, mut attribute) = (Vec::new(), [0_u64, 0]);
    while bpf(LINK_GET_NEXT_ID, &mut attribute).is_ok() {
        // It answers in the second field and asks for the first.
        let id = second(attribute[0]);
        attribute = [pair(id, 0), 0];
        let link = by_id(LINK_GET_FD_BY_ID, id).ok();
        links.extend(link.filter(|link| told(link, "cgroup_id:") == Some(wanted)));
    }
    links
}

/// Detaches by force, as only root may.
pub fn detach(link: &OwnedFd) {
    bpf(LINK_DETACH, &mut [pair(number(link), 0)]).unwrap();
}

/// Replaces the program of a `connect4` link by one that allows everything.
pub fn disarm_connect4(link: &OwnedFd) {
    // `r0 = 1; exit` (Documentation/bpf/standardization/instruction-set.rst).
    let instructions = [0x0000_0001_0000_00b7_u64, 0x95];
    let (licence, cgroup_sock_addr) = (c"GPL", 18);
    let mut load = [0; 9];
    load[0] = pair(cgroup_sock_addr, 2);
    load[1] = instructions.as_ptr() as u64;
    load[2] = licence.as_ptr() as u64;
    load[8] = pair(0, CONNECT4);
    let program = bpf(PROG_LOAD, &mut load).unwrap();
    // SAFETY: the kernel has just made it for us.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    bpf(LINK_UPDATE, &mut [pair(number(link), number(&program)), 0]).unwrap();
}

/// `BPF_CGROUP_INET4_CONNECT` of `enum bpf_attach_type`.
pub const CONNECT4: u32 = 10;

/// The maps that the programs of these links use.
pub fn maps_of(links: &[OwnedFd]) -> Vec<OwnedFd> {
    let mut ids: Vec<u32> = links.iter().flat_map(map_ids).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| by_id(MAP_GET_FD_BY_ID, id).unwrap()).collect()
}

fn map_ids(link: &OwnedFd) -> Vec<u32> {
    let program = u32::try_from(told(link, "prog_id:").unwrap()).unwrap();
    let program = by_id(PROG_GET_FD_BY_ID, program).unwrap();
    let mut ids = [0_u32; 64];
    // `nr_map_ids` and `map_ids` of `struct bpf_prog_info` lie at bytes 52 and 56.
    let mut info = [0_u64; 8];
    info[6] = pair(0, 64);
    info[7] = ids.as_mut_ptr() as u64;
    let length = u32::try_from(size_of_val(&info)).unwrap();
    bpf(OBJ_GET_INFO_BY_FD, &mut [pair(number(&program), length), info.as_mut_ptr() as u64])
        .unwrap();
    ids[..second(info[6]) as usize].to_vec()
}

/// Writes an entry whose key and value are this byte throughout; an array has no such key but for zeroes.
pub fn write(map: &OwnedFd, key: u8, value: u8) -> nix::Result<()> {
    let (key, value) = ([key; 512], vec![value; 65_536]);
    let mut update = [pair(number(map), 0), key.as_ptr() as u64, value.as_ptr() as u64, 0];
    bpf(MAP_UPDATE_ELEM, &mut update).map(drop)
}
