//! The kernel object: the programs, what they attach to, and their maps.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use awf_common::config::{Layout, TaskLayout};
use awf_common::event::{AskerEnd, ClientEnd, Identity, IdentityKey, Origin};
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{
    CgroupSkb, CgroupSock, CgroupSockAddr, CgroupSockopt, Program, ProgramError, SockOps,
};
use aya::{Btf, Ebpf, EbpfLoader, include_bytes_aligned};
use nix::sched::{CloneFlags, unshare};

use super::profile::{Looking, Profile};
use super::types::Types;
use super::{Contents, EnforceError, Standing, sys};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/awf-ebpf.o"));

/// Whose cgroup a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The agent's.
    Agent,
    /// The proxy's.
    Proxy,
}

/// A program and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name of the program, and of its pin.
    pub program: &'static str,
    /// `enum bpf_attach_type` in `include/uapi/linux/bpf.h`.
    pub attach_type: u32,
    /// Whose cgroup.
    pub side: Side,
    /// Name of the security module's hook, for a program of that layer.
    pub lsm: Option<&'static str>,
}

const fn agent(program: &'static str, attach_type: u32) -> Hook {
    Hook { program, attach_type, side: Side::Agent, lsm: None }
}

const fn proxy(program: &'static str, attach_type: u32) -> Hook {
    Hook { program, attach_type, side: Side::Proxy, lsm: None }
}

const fn lsm(program: &'static str, hook: &'static str) -> Hook {
    // BPF_LSM_CGROUP
    Hook { program, attach_type: 43, side: Side::Agent, lsm: Some(hook) }
}

/// The programs of every profile. All are required: what cannot be attached ends the run before the agent starts.
pub const HOOKS: [Hook; 21] = [
    agent("awf_ingress", 0),
    agent("awf_egress", 1),
    agent("awf_create", 2),
    agent("awf_origin", 3),
    agent("awf_bind4", 8),
    agent("awf_bind6", 9),
    agent("awf_connect4", 10),
    agent("awf_connect6", 11),
    agent("awf_sendmsg4", 14),
    agent("awf_sendmsg6", 15),
    agent("awf_recvmsg4", 19),
    agent("awf_recvmsg6", 20),
    agent("awf_setsockopt", 22),
    agent("awf_getpeername4", 29),
    agent("awf_getpeername6", 30),
    agent("awf_release", 34),
    proxy("awf_guard_create", 2),
    proxy("awf_guard_connect4", 10),
    proxy("awf_guard_connect6", 11),
    proxy("awf_guard_sendmsg4", 14),
    proxy("awf_guard_sendmsg6", 15),
];

/// What the profile `full` adds: all or nothing. The kernel has room for ten such hooks on the whole machine
/// (`CGROUP_LSM_NUM`), which all runs share.
pub const LSM_HOOKS: [Hook; 8] = [
    lsm("awf_lsm_bpf", "bpf"),
    lsm("awf_lsm_create", "socket_create"),
    lsm("awf_lsm_connect", "socket_connect"),
    lsm("awf_lsm_sendmsg", "socket_sendmsg"),
    lsm("awf_lsm_receive", "file_receive"),
    lsm("awf_lsm_unix_connect", "unix_stream_connect"),
    lsm("awf_lsm_unix_send", "unix_may_send"),
    lsm("awf_lsm_userns", "userns_create"),
];

/// The loaded object.
#[derive(Debug)]
pub struct Object {
    ebpf: Ebpf,
    hooks: Vec<Hook>,
    standing: Standing,
    knows_processes: bool,
}

impl Object {
    /// Starts to load on a thread of its own, for which an empty directory is the whole file system: aya's loader parses the
    /// kernel's type information from /sys before it can be told not to, which costs 15 ms and 10 MiB (measured). The
    /// little that is needed of it is `looked` at beforehand.
    pub fn load_apart(
        contents: Contents,
        looked: Looking,
        empty: PathBuf,
    ) -> io::Result<JoinHandle<Result<Self, EnforceError>>> {
        thread::Builder::new().name("awf-load".into()).spawn(move || {
            let (standing, types) = looked.done()?;
            // Where this fails, loading takes longer.
            let _slower =
                unshare(CloneFlags::CLONE_FS).and_then(|()| nix::unistd::chroot(&empty)).is_err();
            Self::load_as(&contents, standing, types.as_ref())
        })
    }

    /// Loads the programs of every profile and fills and freezes the maps. Nothing is attached yet.
    pub fn load(contents: &Contents) -> Result<Self, EnforceError> {
        Self::load_as(contents, Standing::hardened("asked for"), None)
    }

    /// The same, and the LSM programs if the kernel's types are given and it lets awf load them. Where its verifier does not take
    /// the walk that tells who a process is, the programs do without.
    pub fn load_as(
        contents: &Contents,
        standing: Standing,
        types: Option<&Types>,
    ) -> Result<Self, EnforceError> {
        let tasks = types.and_then(Types::tasks).unwrap_or(TaskLayout::UNKNOWN);
        match Self::load_with(contents, standing.clone(), (types, tasks)) {
            Err(EnforceError::Program { program: "awf_create", reason }) if tasks.known == 1 => {
                tracing::warn!(
                    "this kernel cannot tell who a process is, so procfs is asked, which knows living ones only: {reason}"
                );
                Self::load_with(contents, standing, (types, TaskLayout::UNKNOWN))
            }
            loaded => loaded,
        }
    }

    fn load_with(
        contents: &Contents,
        mut standing: Standing,
        (types, tasks): (Option<&Types>, TaskLayout),
    ) -> Result<Self, EnforceError> {
        let is_full = standing.profile == Profile::Full;
        let layout = types.filter(|_types| is_full).map_or(Ok(Layout::UNKNOWN), Types::layout)?;
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("AGENT", &contents.agent, true)
            .override_global("SERVICES", contents.openings.as_slice(), true)
            .override_global("PROXY", &contents.proxy, true)
            .override_global("LAYOUT", &layout, true)
            .override_global("TASKS", &tasks, true)
            .load(OBJECT)?;
        let mut hooks = HOOKS.to_vec();
        let types = types.filter(|_types| is_full).map(Types::hooks_only);
        if let Some(types) = &types {
            if may_load_lsm(&mut ebpf, types)? {
                hooks.extend(LSM_HOOKS);
            } else {
                standing =
                    Standing::hardened("the kernel does not let LSM programs be loaded (EPERM)");
            }
        }
        load_programs(&mut ebpf, &hooks, types.as_ref())?;
        let mut object = Self { ebpf, hooks, standing, knows_processes: tasks.known == 1 };
        object.fill("GUARD_LISTED4", contents.listed4.iter().map(|(key, bits)| (*key, *bits)))?;
        object.fill("GUARD_LISTED6", contents.listed6.iter().map(|(key, bits)| (*key, *bits)))?;
        Ok(object)
    }

    /// The profile that the programs make.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What is loaded, to be attached.
    pub(super) fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// Descriptor of a loaded program.
    pub(super) fn program(&self, hook: Hook) -> Result<BorrowedFd<'_>, EnforceError> {
        let missing =
            || EnforceError::Program { program: hook.program, reason: "it is not loaded".into() };
        let program = self.ebpf.program(hook.program).ok_or_else(missing)?;
        match program.fd() {
            Ok(descriptor) => Ok(descriptor.as_fd()),
            Err(error) => {
                Err(EnforceError::Program { program: hook.program, reason: error.to_string() })
            }
        }
    }

    /// The map under which the relay finds what a connection asked for.
    pub fn take_origins(&mut self) -> Result<HashMap<MapData, ClientEnd, Origin>, EnforceError> {
        let map =
            self.ebpf.take_map("ORIGIN_OF_CLIENT").ok_or_else(|| missing("ORIGIN_OF_CLIENT"))?;
        HashMap::try_from(map).map_err(|error| map_error("ORIGIN_OF_CLIENT", error))
    }

    /// The map under which the name door finds who asked it.
    pub fn take_askers(&mut self) -> Result<HashMap<MapData, AskerEnd, Origin>, EnforceError> {
        let map = self.ebpf.take_map("ASKED_BY").ok_or_else(|| missing("ASKED_BY"))?;
        HashMap::try_from(map).map_err(|error| map_error("ASKED_BY", error))
    }

    /// The ring buffer of refusals.
    pub fn take_refusals(&mut self) -> Result<RingBuf<MapData>, EnforceError> {
        let map = self.ebpf.take_map("REFUSALS").ok_or_else(|| missing("REFUSALS"))?;
        RingBuf::try_from(map).map_err(|error| map_error("REFUSALS", error))
    }

    /// Who the processes are that made attempts; `None` if this kernel does not tell.
    pub fn take_identities(
        &mut self,
    ) -> Result<Option<HashMap<MapData, IdentityKey, Identity>>, EnforceError> {
        if !self.knows_processes {
            return Ok(None);
        }
        let map = self.ebpf.take_map("IDENTITY_OF").ok_or_else(|| missing("IDENTITY_OF"))?;
        HashMap::try_from(map).map(Some).map_err(|error| map_error("IDENTITY_OF", error))
    }

    /// The kernel's digest of each program (`bpf_prog_info.tag`), hexadecimal.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let digest = |hook: &Hook| {
            let info = self.ebpf.program(hook.program)?.info().ok()?;
            Some((hook.program.to_owned(), format!("{:016x}", info.tag().to_be())))
        };
        self.hooks.iter().filter_map(digest).collect()
    }

    /// The counters.
    pub fn take_counts(&mut self) -> Result<PerCpuArray<MapData, u64>, EnforceError> {
        let map = self.ebpf.take_map("COUNTS").ok_or_else(|| missing("COUNTS"))?;
        PerCpuArray::try_from(map).map_err(|error| map_error("COUNTS", error))
    }

    fn fill<K: aya::Pod>(
        &mut self,
        name: &'static str,
        entries: impl Iterator<Item = (K, u8)>,
    ) -> Result<(), EnforceError> {
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing(name))?;
        let mut map: HashMap<&mut MapData, K, u8> =
            HashMap::try_from(map).map_err(|error| map_error(name, error))?;
        for (key, bits) in entries {
            map.insert(key, bits, 0).map_err(|error| map_error(name, error))?;
        }
        let Some(Map::HashMap(map)) = self.ebpf.map(name) else {
            return Err(missing(name));
        };
        sys::freeze(map.fd().as_fd()).map_err(|source| EnforceError::Map { map: name, source })
    }
}

/// Loads the first of the LSM programs, to learn whether any can be: lockdown, for one, forbids it before the verifier has
/// looked. Every other refusal is an error of ours.
fn may_load_lsm(ebpf: &mut Ebpf, types: &Btf) -> Result<bool, EnforceError> {
    let [first, ..] = LSM_HOOKS;
    let program = ebpf.program_mut(first.program).ok_or_else(|| missing_program(first))?;
    match load_one(program, first, Some(types)) {
        Ok(()) => Ok(true),
        Err(ProgramError::LoadError { io_error, verifier_log })
            if io_error.kind() == io::ErrorKind::PermissionDenied
                && verifier_log.to_string().is_empty() =>
        {
            Ok(false)
        }
        Err(error) => Err(refused(first, &error)),
    }
}

/// Loads all programs, in two threads: the verifier takes most of awf's start-up time, and for a privileged caller it holds
/// no common lock (`kernel/bpf/verifier.c`, `bpf_check`).
fn load_programs(ebpf: &mut Ebpf, hooks: &[Hook], types: Option<&Btf>) -> Result<(), EnforceError> {
    let mut programs: BTreeMap<String, &mut Program> =
        ebpf.programs_mut().map(|(name, program)| (name.to_owned(), program)).collect();
    let mut shares: [Vec<(Hook, &mut Program)>; 2] = Default::default();
    for (number, hook) in hooks.iter().enumerate() {
        let program = programs.remove(hook.program).ok_or_else(|| missing_program(*hook))?;
        if program.fd().is_ok() {
            continue;
        }
        // Neighbours in the table are alike in size, so taking turns is fair.
        let [first, second] = &mut shares;
        if number % 2 == 0 { first.push((*hook, program)) } else { second.push((*hook, program)) }
    }
    thread::scope(|scope| {
        let load = |share: Vec<(Hook, &mut Program)>| {
            share.into_iter().try_for_each(|(hook, program)| {
                load_one(program, hook, types).map_err(|error| refused(hook, &error))
            })
        };
        let [first, second] = shares;
        let other = scope.spawn(move || load(second));
        load(first)?;
        other.join().unwrap_or_else(|_panic| {
            let reason = "the loading thread died".into();
            Err(EnforceError::Program { program: "(all)", reason })
        })
    })
}

fn missing_program(hook: Hook) -> EnforceError {
    EnforceError::Program { program: hook.program, reason: "the object lacks it".into() }
}

fn load_one(program: &mut Program, hook: Hook, types: Option<&Btf>) -> Result<(), ProgramError> {
    match (program, hook.lsm.zip(types)) {
        (Program::CgroupSkb(program), None) => CgroupSkb::load(program),
        (Program::CgroupSock(program), None) => CgroupSock::load(program),
        (Program::CgroupSockAddr(program), None) => CgroupSockAddr::load(program),
        (Program::CgroupSockopt(program), None) => CgroupSockopt::load(program),
        (Program::SockOps(program), None) => SockOps::load(program),
        (Program::LsmCgroup(program), Some((hook, types))) => program.load(hook, types),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn refused(hook: Hook, error: &ProgramError) -> EnforceError {
    EnforceError::Program { program: hook.program, reason: verifier_says(error) }
}

/// The error and the last lines of the verifier's log, where the reason stands.
fn verifier_says(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    let tail: Vec<&str> = log.lines().rev().take(6).collect();
    format!("{io_error} ({})", tail.into_iter().rev().collect::<Vec<_>>().join(" | "))
}

fn missing(map: &'static str) -> EnforceError {
    map_error(map, "the object lacks it")
}

fn map_error(
    map: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> EnforceError {
    EnforceError::Map { map, source: io::Error::other(error) }
}
