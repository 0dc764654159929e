//! The kernel's type information, as far as the programs need it: which number a hook has, and where fields lie.
//!
//! Takes the bytes of `/sys/kernel/btf/vmlinux` (`Documentation/bpf/btf.rst`), gives a [`Types`]. One walk over the types'
//! headers, 3 ms where aya's full parse takes 15 (measured). Must never guess: what is not found is told as missing.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use awf_common::config::{Layout, TaskLayout};
use aya_obj::btf::{Btf, BtfType, Func, FuncLinkage};

/// Where the running kernel describes itself.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Absent if securityfs is not mounted; then lockdown was hardly asked for.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Functions of this prefix are the hooks' places for programs (`kernel/bpf/bpf_lsm.c`).
const HOOK: &str = "bpf_lsm_";

/// Structures whose members are of interest.
const STRUCTURES: [&str; 14] = [
    "cgroup",
    "dentry",
    "file",
    "kernfs_node",
    "mm_struct",
    "mount",
    "path",
    "qstr",
    "sock",
    "sock_cgroup_data",
    "sock_common",
    "socket",
    "task_struct",
    "vfsmount",
];

/// How deep structures without a name may lie in each other.
const DEPTH: u32 = 4;

/// What was found.
#[derive(Debug, Default)]
pub struct Types {
    hooks: BTreeMap<String, u32>,
    /// Offsets in bytes by structure and member.
    members: BTreeMap<(&'static str, String), u32>,
    /// Programs may not read kernel memory (`LOCKDOWN_BPF_READ_KERNEL` in `include/linux/security.h`).
    is_confidential: bool,
}

/// Why the information cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TypesError {
    /// The kernel was built without it, or hides it.
    #[error("{VMLINUX}: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not in the format that every kernel has had so far.
    #[error("{VMLINUX} is not in a format that awf knows")]
    Format,
    /// It lacks something.
    #[error("{VMLINUX} knows no {0}")]
    Missing(String),
}

impl Types {
    /// Reads those of the running kernel.
    pub fn of_kernel() -> Result<Self, TypesError> {
        let types = Self::parse(&fs::read(VMLINUX)?).ok_or(TypesError::Format)?;
        let mode = fs::read_to_string(LOCKDOWN).unwrap_or_default();
        Ok(Self { is_confidential: mode.contains("[confidentiality]"), ..types })
    }

    /// Type information in which the hooks have the kernel's numbers and nothing else exists: all that aya needs to load a
    /// program for a hook.
    pub fn hooks_only(&self) -> Btf {
        let mut btf = Btf::new();
        let mut hooks: Vec<(&u32, &String)> =
            self.hooks.iter().map(|(name, id)| (id, name)).collect();
        hooks.sort();
        // Number 0 is there from the start.
        let mut next = 1;
        for (id, name) in hooks {
            for _nameless in next..*id {
                btf.add_type(BtfType::Unknown);
            }
            let name = btf.add_string(&format!("{HOOK}{name}"));
            btf.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Static)));
            next = id + 1;
        }
        btf
    }

    /// Where the fields lie.
    pub fn layout(&self) -> Result<Layout, TypesError> {
        let common = self.offset("sock", "__sk_common")?;
        Ok(Layout {
            socket_sock: self.offset("socket", "sk")?,
            sock_family: common + self.offset("sock_common", "skc_family")?,
            sock_type: self.offset("sock", "sk_type")?,
            sock_protocol: self.offset("sock", "sk_protocol")?,
            sock_cgroup: self.offset("sock", "sk_cgrp_data")?
                + self.offset("sock_cgroup_data", "cgroup")?,
            cgroup_node: self.offset("cgroup", "kn")?,
            node_id: self.offset("kernfs_node", "id")?,
        })
    }

    /// Where the fields lie that tell who a process is; `None` if this kernel does not tell, or lets no program read them.
    pub fn tasks(&self) -> Option<TaskLayout> {
        if self.is_confidential {
            return None;
        }
        self.task_fields().ok()
    }

    fn task_fields(&self) -> Result<TaskLayout, TypesError> {
        let path = self.offset("file", "f_path")?;
        Ok(TaskLayout {
            known: 1,
            leader: self.offset("task_struct", "group_leader")?,
            parent: self.offset("task_struct", "real_parent")?,
            tgid: self.offset("task_struct", "tgid")?,
            comm: self.offset("task_struct", "comm")?,
            birth: self.offset("task_struct", "start_boottime")?,
            executions: self.offset("task_struct", "self_exec_id")?,
            mm: self.offset("task_struct", "mm")?,
            exe_file: self.offset("mm_struct", "exe_file")?,
            file_mount: path + self.offset("path", "mnt")?,
            file_dentry: path + self.offset("path", "dentry")?,
            dentry_parent: self.offset("dentry", "d_parent")?,
            dentry_name: self.offset("dentry", "d_name")? + self.offset("qstr", "name")?,
            mount_root: self.offset("mount", "mnt")? + self.offset("vfsmount", "mnt_root")?,
            mount_inner: self.offset("mount", "mnt")?,
            mount_parent: self.offset("mount", "mnt_parent")?,
            mount_point: self.offset("mount", "mnt_mountpoint")?,
        })
    }

    fn offset(&self, structure: &'static str, member: &str) -> Result<u32, TypesError> {
        let found = self.members.get(&(structure, member.to_owned()));
        found.copied().ok_or_else(|| TypesError::Missing(format!("{structure}.{member}")))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // Magic 0xeb9f, version 1, flags; then lengths (`struct btf_header`).
        if bytes.get(..4)? != [0x9f, 0xeb, 1, 0] {
            return None;
        }
        let header = word(bytes, 4)?;
        let section = |offset: usize, length: usize| {
            let start = header.checked_add(word(bytes, offset)?)?;
            bytes.get(start..start.checked_add(word(bytes, length)?)?)
        };
        let walk = Walk { types: section(8, 12)?, strings: section(16, 20)? };
        let mut found = Self::default();
        let (mut at, mut id) = (0, 1);
        let mut structures = Vec::new();
        // Where the headers are, by number; number 0 is `void`.
        let mut places = vec![0];
        while at < walk.types.len() {
            places.push(at);
            let (name, kind, next) = walk.header(at)?;
            match kind {
                FUNC => found.keep_hook(walk.strings.get(name..)?, id)?,
                STRUCT => structures.extend(walk.structure(name).map(|structure| (structure, at))),
                _ => {}
            }
            at = next;
            id += 1;
        }
        for (structure, at) in structures {
            walk.members(&places, at, (0, DEPTH), &mut |member, offset| {
                found.members.entry((structure, member)).or_insert(offset);
            })?;
        }
        Some(found)
    }

    fn keep_hook(&mut self, name: &[u8], id: u32) -> Option<()> {
        if let Some(hook) = name.strip_prefix(HOOK.as_bytes()) {
            self.hooks.insert(text(hook)?, id);
        }
        Some(())
    }
}

/// The two parts of the information.
struct Walk<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

impl Walk<'_> {
    /// Place of the name, kind, and place of the next type's header.
    fn header(&self, at: usize) -> Option<(usize, usize, usize)> {
        let (name, info) = (word(self.types, at)?, word(self.types, at + 4)?);
        let (kind, count) = (info >> 24 & 0x1f, info & 0xffff);
        let next = at + 12 + size_of_body(kind, count)?;
        self.types.get(at..next)?;
        Some((name, kind, next))
    }

    /// Which structure of interest has the name at this place.
    fn structure(&self, name: usize) -> Option<&'static str> {
        let name = self.strings.get(name..)?;
        let is_it = |known: &&str| {
            name.strip_prefix(known.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        };
        STRUCTURES.into_iter().find(is_it)
    }

    /// Gives the members of a structure, also those that lie in structures and unions without a name.
    fn members(
        &self,
        places: &[usize],
        at: usize,
        (base, depth): (u32, u32),
        keep: &mut impl FnMut(String, u32),
    ) -> Option<()> {
        let (_name, kind, next) = self.header(at)?;
        if !matches!(kind, STRUCT | UNION) || depth == 0 {
            return Some(());
        }
        for member in (at + 12..next).step_by(12) {
            let name = text(self.strings.get(word(self.types, member)?..)?)?;
            // In bits; the upper byte may hold the width of a bit field.
            let offset = u32::try_from((word(self.types, member + 8)? & 0x00ff_ffff) / 8).ok()?;
            if name.is_empty() {
                let place = *places.get(word(self.types, member + 4)?)?;
                self.members(places, place, (base + offset, depth - 1), keep)?;
            } else {
                keep(name, base + offset);
            }
        }
        Some(())
    }
}

/// `enum` of kinds in `include/uapi/linux/btf.h`.
const STRUCT: usize = 4;
const UNION: usize = 5;
const FUNC: usize = 12;

/// Bytes behind the header of a type; `None` for a kind that is not known.
fn size_of_body(kind: usize, count: usize) -> Option<usize> {
    Some(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        STRUCT | UNION | 15 | 19 => 12 * count,
        // ENUM, FUNC_PROTO
        6 | 13 => 8 * count,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=FUNC | 16 | 18 => 0,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}

/// The string at the start, up to its zero.
fn text(bytes: &[u8]) -> Option<String> {
    let name = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;

    /// Type information of the format's first version: these type headers with bodies, these names.
    fn blob(types: &[&[u32]], strings: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.concat().iter().flat_map(|word| word.to_le_bytes()).collect();
        let (types_length, strings_length) =
            (u32::try_from(types.len()).unwrap(), u32::try_from(strings.len()).unwrap());
        let header = [24, 0, types_length, types_length, strings_length];
        let header = header.iter().flat_map(|word: &u32| word.to_le_bytes());
        [0x9f, 0xeb, 1, 0].into_iter().chain(header).chain(types).chain(strings.to_vec()).collect()
    }

    const INT: [u32; 4] = [0, 1 << 24, 4, 32];
    const STRINGS: &[u8] = b"\0bpf_lsm_bpf\0socket\0sk\0";

    #[test]
    fn members_of_a_part_without_a_name_are_found() {
        // struct socket { union (type 3); at byte 8 }, union { at byte 4: sk }
        let socket = [13, 4 << 24 | 1, 32, 0, 3, 8 * 8];
        let bytes = blob(&[&INT, &socket, &[0, 5 << 24 | 1, 8, 20, 1, 4 * 8]], STRINGS);
        assert_eq!(Types::parse(&bytes).unwrap().offset("socket", "sk").unwrap(), 12);
    }

    #[test]
    fn this_kernel_tells_where_it_keeps_what_names_a_process() {
        let Ok(types) = Types::of_kernel() else { return };
        let tasks = types.tasks().unwrap();
        assert!(tasks.comm > 0 && tasks.exe_file > 0 && tasks.dentry_name > 0, "{tasks:?}");
    }

    #[test]
    fn hooks_keep_their_numbers_and_members_their_offsets() {
        let bytes =
            blob(&[&INT, &[13, 4 << 24 | 1, 32, 20, 1, 24 * 8], &INT, &[1, 12 << 24, 9]], STRINGS);
        let types = Types::parse(&bytes).unwrap();
        let id = types.hooks_only().id_by_type_name_kind("bpf_lsm_bpf", BtfKind::Func).unwrap();
        assert_eq!(id, 4);
        assert_eq!(types.offset("socket", "sk").unwrap(), 24);
        let error = types.layout().unwrap_err().to_string();
        assert!(error.ends_with("knows no sock.__sk_common"), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_skipped() {
        let unknown_kind = blob(&[&[0, 31 << 24, 0]], STRINGS);
        assert!(Types::parse(&unknown_kind).is_none());
        let whole = blob(&[&INT, &[13, 4 << 24 | 1, 32, 20, 1, 0]], STRINGS);
        assert!(Types::parse(&whole).is_some());
        for length in 0..whole.len() {
            // Only strings behind the last one used may be missing, and then the length does not fit.
            assert!(Types::parse(&whole[..length]).is_none(), "{length}");
        }
    }
}
