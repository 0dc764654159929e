//! Step 1: what the user asked.
//!
//! Owns the command line. [`parse`] takes it and gives a [`Request`] with [`Args`], strings as
//! typed; [`Settings::resolve`] takes those and the caller's environment and gives typed values.
//! Reads the files that options name, and must never create, change or start anything.

pub mod args;
pub mod settings;
pub mod usage;
mod api_targets;
mod command;
mod directories;
mod domains;
pub mod images;
mod limits;
mod mounts;
mod services;
mod variables;

pub use self::api_targets::{ApiTargets, Endpoint};
pub use self::args::{Args, Request, parse};
pub use self::domains::{DomainEntry, Origin};
pub use self::images::{DaemonAddress, Images, Supply};
pub use self::limits::{CpuLimit, MAX_PIDS};
pub use self::mounts::{Access, Mount};
pub use self::services::HostAccess;
pub use self::settings::{LogLevel, ProfileChoice, RuntimeChoice, Settings};
pub use self::usage::UsageError;
pub use self::variables::is_reserved;
