//! Counting, and recording refusals. Never changes a verdict: a full ring is counted, not waited for.
#![expect(unsafe_code, reason = "kernel helpers")]

use awf_common::decide::Reason;
use awf_common::event::{Counter, Hook, Process, Refusal};
use awf_common::limits::COMM_LEN;
use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_set_retval};
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_ns,
};

use crate::maps::{COUNTS, REFUSALS};
use crate::{identity, settings};

/// What was refused.
pub(crate) struct Attempt {
    /// Hook that refuses.
    pub(crate) hook: Hook,
    /// Whether the socket is the proxy's.
    pub(crate) from_proxy: bool,
    /// Address family.
    pub(crate) family: u32,
    /// Socket type.
    pub(crate) kind: u32,
    /// IP protocol.
    pub(crate) protocol: u32,
    /// Destination, host-order words.
    pub(crate) address: [u32; 4],
    /// Whether the destination is IPv6.
    pub(crate) is_v6: bool,
    /// Destination port.
    pub(crate) port: u16,
    /// The socket's cookie; 0 where the hook cannot tell.
    pub(crate) cookie: u64,
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(slot) = COUNTS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is to this CPU's own slot, which only programs on it write. The compiler has no atomic addition for
        // this target: the backstop, interrupting another program at this very instruction, may cost one.
        unsafe { *slot += 1 };
    }
}

/// The calling task; [`identity::remember`] tells more of it.
#[inline(always)]
pub(crate) fn caller() -> Process {
    let (birth_ns, executions) = identity::key();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the helpers pack two 32-bit numbers in one word"
    )]
    Process {
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: bpf_get_current_uid_gid() as u32,
        comm: name(),
        birth_ns,
        executions,
        padding: 0,
    }
}

/// The calling task's name, filled up with zeros: Linux 6.1 writes nothing after the one that ends it. Not by aya's function,
/// which sets its bytes to zero by a call: before 6.13 or so the verifier allows a program that calls any function 32 bytes of
/// stack less. Two words need no call.
#[inline(always)]
fn name() -> [u8; COMM_LEN] {
    let mut words = [0_u64; COMM_LEN / size_of::<u64>()];
    #[expect(clippy::cast_possible_truncation, reason = "it is 16")]
    // SAFETY: there is room for so many bytes.
    let _zeroed = unsafe { bpf_get_current_comm(words.as_mut_ptr().cast(), COMM_LEN as u32) } != 0;
    // SAFETY: as many bytes, all of them written above, and any byte is one of a name.
    unsafe { core::mem::transmute::<[u64; 2], [u8; COMM_LEN]>(words) }
}

/// The calling task as far as the setsockopt hook may ask: before 6.1 the kernel does not tell it.
#[inline(always)]
pub(crate) fn option_caller() -> Process {
    if settings::agent().options_have_caller != 0 { caller() } else { Process::NOBODY }
}

/// Records a refusal; for packets there is no caller, so `process` is theirs to give.
#[inline(always)]
pub(crate) fn refuse(attempt: &Attempt, reason: Reason, process: &Process, cgroup: u64) {
    count(match (attempt.from_proxy, attempt.hook) {
        (true, _) => Counter::GuardRefuse,
        (false, Hook::Egress | Hook::Ingress) => Counter::DropPacket,
        (false, _) => Counter::Refuse,
    });
    let Some(mut slot) = REFUSALS.reserve::<Refusal>(0) else {
        count(Counter::RecordLost);
        return;
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "families, types and protocols are below 65,536"
    )]
    slot.write(Refusal {
        // SAFETY: takes no argument.
        ktime_ns: unsafe { bpf_ktime_get_ns() },
        cgroup,
        cookie: attempt.cookie,
        process: *process,
        family: attempt.family as u16,
        port: attempt.port,
        kind: attempt.kind as u16,
        protocol: attempt.protocol as u16,
        address: attempt.address,
        hook: attempt.hook as u8,
        reason: reason as u8,
        is_v6: u8::from(attempt.is_v6),
        from_proxy: u8::from(attempt.from_proxy),
        padding: 0,
    });
    slot.submit(0);
}

/// Records a refusal of the calling task and chooses its errno. Returns the hook's "no".
#[inline(always)]
pub(crate) fn refuse_caller(
    attempt: &Attempt,
    reason: Reason,
    caller: &Process,
    chooses_errno: bool,
) -> i32 {
    // SAFETY: takes no argument.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    refuse(attempt, reason, caller, cgroup);
    if chooses_errno {
        // SAFETY: takes a number. User space sets the flag only where the kernel has the helper; elsewhere the verifier
        // prunes this branch, because the configuration is frozen.
        unsafe { bpf_set_retval(-i32::from(reason.errno())) };
    }
    REFUSE
}

/// Verdict "yes" of every cgroup hook.
pub(crate) const ALLOW: i32 = 1;
/// Verdict "no" of every cgroup hook; EPERM unless an errno was chosen.
pub(crate) const REFUSE: i32 = 0;
