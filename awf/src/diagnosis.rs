//! From an error to the exit code that a script can act on.

use std::io;

use crate::cli::UsageError;
use crate::enforce::EnforceError;
use crate::exit::Exit;
use crate::host::DaemonError;
use crate::host::privilege::PrivilegeError;
use crate::plan::PlanError;
use crate::proxy::ports::NoPort;

/// The exit code of an error.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        })
    }) {
        return Exit::DiskFull;
    }
    for cause in error.chain() {
        if cause.is::<UsageError>() {
            return Exit::Usage;
        }
        if cause.is::<PrivilegeError>() {
            return Exit::NoPrivilege;
        }
        if cause.is::<NoPort>() {
            return Exit::PortTaken;
        }
        if cause.is::<DaemonError>() {
            return Exit::DockerUnusable;
        }
        if let Some(error) = cause.downcast_ref::<PlanError>() {
            return match error {
                PlanError::Domains(_)
                | PlanError::Usage(_)
                | PlanError::Services(_)
                | PlanError::Ports(_)
                | PlanError::Proxy(_) => Exit::Usage,
                PlanError::Daemon(_) => Exit::DockerUnusable,
                PlanError::NoCgroup2 => Exit::NoCgroup2,
                PlanError::NoBash => Exit::SetUp,
                PlanError::SquidMissing => Exit::SquidMissing,
            };
        }
        if let Some(error) = cause.downcast_ref::<EnforceError>() {
            return match error {
                EnforceError::Program { .. }
                | EnforceError::Load(_)
                | EnforceError::Types(_)
                | EnforceError::NotFull(_)
                | EnforceError::Map { .. }
                | EnforceError::Attach { .. } => Exit::ProgramsRefused,
                EnforceError::Cgroup { .. } => Exit::NoCgroup2,
                EnforceError::WrongCgroup { .. }
                | EnforceError::Replaced { .. }
                | EnforceError::Moved { .. }
                | EnforceError::Unproved(_) => Exit::Unproved,
            };
        }
    }
    Exit::SetUp
}
