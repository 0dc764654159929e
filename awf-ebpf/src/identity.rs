//! Who the calling process is: its executable, and the processes above it. Told at the attempt, because a moment later the
//! process may be gone, or be another.
//!
//! Kernel: `struct task_struct` in `include/linux/sched.h`, `struct dentry` in `include/linux/dcache.h`, `struct mount` in
//! `fs/mount.h`. Where they keep what, user space reads from the kernel's own type information; if it cannot, or the kernel is
//! locked down (`LOCKDOWN_BPF_READ_KERNEL`), nothing is read here and procfs is asked. Must never: change a verdict.
#![expect(unsafe_code, reason = "kernel objects are read through checked copies")]
#![expect(clippy::cast_sign_loss, reason = "a length that is above zero")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "halves of words, and sizes of some hundred bytes"
)]
#![expect(clippy::needless_borrows_for_generic_args, reason = "the stack has no room for a copy")]

use awf_common::config::TaskLayout;
use awf_common::event::{Above, Identity, Process};
use awf_common::limits::{COMM_LEN, PART_BYTES, PATH_BYTES, PATH_PARTS};
use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_probe_read_kernel as copy, bpf_probe_read_kernel_str as copy_text,
};

use crate::maps::IDENTITY_OF;
use crate::settings;

/// The stack has no room for it.
static UNKNOWN: Identity = Identity::UNKNOWN;

/// Address of a kernel object; 0 is none.
type Address = u64;

/// When the calling process began, and how many programs it has executed; zeros if the kernel does not tell.
#[inline(always)]
pub(crate) fn key() -> (u64, u32) {
    let tasks = settings::tasks();
    if settings::read(&tasks.known) == 0 {
        return (0, 0);
    }
    // SAFETY: takes no argument.
    let task = unsafe { bpf_get_current_task() };
    let birth = word(word(task, &tasks.leader), &tasks.birth);
    // The lower half: nobody executes four milliards of programs.
    (birth, word(task, &tasks.executions) as u32)
}

/// Remembers who the calling process is, unless that is known already. Some 6,500 instructions for the verifier, so it is called
/// where every attempt begins: at the creation of the socket. A process that uses a socket of another is described by procfs.
#[inline(always)]
pub(crate) fn remember(process: &Process) {
    let key = process.key();
    // SAFETY: only looked whether it is there.
    if key.birth_ns == 0 || unsafe { IDENTITY_OF.get(key) }.is_some() {
        return;
    }
    // Written in its place: a draft of this CPU could be another task's a moment later, where programs can be preempted.
    let _forgotten = IDENTITY_OF.insert(key, &UNKNOWN, 0).is_err();
    // Without an entry, procfs is asked.
    let Some(entry) = IDENTITY_OF.get_ptr_mut(key) else { return };
    // SAFETY: the entry is this process's own: other threads of it write the same.
    let identity = unsafe { &mut *entry };
    // SAFETY: takes no argument.
    let task = unsafe { bpf_get_current_task() };
    let tasks = settings::tasks();
    ancestors(identity, task, tasks);
    path(identity, word(word(task, &tasks.mm), &tasks.exe_file), tasks);
}

#[inline(always)]
fn ancestors(identity: &mut Identity, task: Address, tasks: &TaskLayout) {
    let mut task = word(task, &tasks.leader);
    for above in &mut identity.above {
        // The parent is the thread that called fork(2); its process has the first thread's name.
        let parent = word(word(task, &tasks.parent), &tasks.leader);
        *above = Above { pid: 0, comm: [0; COMM_LEN] };
        // Process 0 is its own parent.
        if parent == 0 || parent == task {
            continue;
        }
        above.pid = word(parent, &tasks.tgid) as u32;
        let to = above.comm.as_mut_ptr().cast();
        let from = (parent + u64::from(settings::read(&tasks.comm))) as *const _;
        // SAFETY: the destination is as long as said; the helper checks the source.
        let _stays_empty = unsafe { copy(to, COMM_LEN as u32, from) } != 0;
        task = parent;
    }
}

/// Parts of the path from its end, across mounts, to the root of the process's mounts.
///
/// What changes from part to part is kept in the entry and read volatile: the verifier does not follow memory of maps, so that
/// to it every turn is like the one before, whatever way it came. In registers, this took it 36 s instead of 2 ms (measured).
#[inline(always)]
fn path(identity: &mut Identity, file: Address, tasks: &TaskLayout) {
    identity.used = 0;
    let used = &raw mut identity.used;
    let mut cut = 1;
    let mut dentry = word(file, &tasks.file_dentry);
    let mut mount =
        word(file, &tasks.file_mount).wrapping_sub(u64::from(settings::read(&tasks.mount_inner)));
    for _part in 0..PATH_PARTS {
        if dentry == word(mount, &tasks.mount_root) {
            let above = word(mount, &tasks.mount_parent);
            if above == mount {
                cut = 0;
                break;
            }
            dentry = word(mount, &tasks.mount_point);
            mount = above;
            continue;
        }
        // SAFETY: it is this entry's own.
        let at = unsafe { used.read_volatile() };
        if at >= PATH_BYTES as u32 {
            break;
        }
        let name = word(dentry, &tasks.dentry_name);
        // SAFETY: `at` is below `PATH_BYTES`, behind which there is room for one part more.
        let to = unsafe { identity.path.as_mut_ptr().add(at as usize) };
        // SAFETY: as above; the helper checks the source.
        let length = unsafe { copy_text(to.cast(), PART_BYTES as u32, name as *const _) };
        if length <= 0 {
            break;
        }
        // SAFETY: it is this entry's own.
        unsafe { used.write_volatile(at + length as u32) };
        let parent = word(dentry, &tasks.dentry_parent);
        if parent == dentry {
            // A file that lies in no directory, such as one of memfd_create(2).
            cut = 0;
            break;
        }
        dentry = parent;
    }
    // Last: from now on it can be read.
    identity.cut = cut;
}

/// A word of a kernel object; 0 if it cannot be read: then the helper fills the place with zeros.
#[inline(always)]
fn word(object: Address, offset: &u32) -> u64 {
    let mut word = 0_u64;
    let from = object.wrapping_add(u64::from(settings::read(offset))) as *const _;
    // SAFETY: the destination is as long as said; the helper checks the source.
    let _is_zero = unsafe { copy((&raw mut word).cast(), size_of::<u64>() as u32, from) } != 0;
    word
}
