//! Step 1: what the user asked.
//!
//! Owns the command line and the configuration file. [`parse`] takes the one and gives a [`Request`]
//! with [`Args`], strings as typed; [`Settings::resolve`] takes those, the file they name and the
//! caller's environment, and gives typed values.
//! Reads the files that options name, and must never create, change or start anything.

pub mod args;
pub mod options;
pub mod legacy;
pub mod config;
pub mod origin;
pub mod effective;
pub mod settings;
pub mod usage;
mod api_targets;
pub mod budgets;
pub mod collector;
mod command;
mod directories;
mod doh;
mod domains;
pub mod files;
pub mod images;
mod inspection;
mod limits;
mod mounts;
mod one_shot;
pub mod reading;
pub mod record;
mod reference;
mod ruleset;
mod services;
mod upstream;
mod variables;

pub use self::api_targets::{ApiTargets, Endpoint};
pub use self::args::{Request, parse};
pub use self::budgets::{Amount, Budgets, Price, Rates};
pub use self::collector::Collector;
pub use self::doh::DohServer;
pub use self::domains::{DomainEntry, Origin, listed};
pub use self::effective::{Effective, Said};
pub use self::files::Files;
pub use self::images::{DaemonAddress, Images, Supply};
pub use self::inspection::Inspection;
pub use self::limits::{CpuLimit, MAX_PIDS};
pub use self::mounts::{Access, Mount};
pub use self::one_shot::names as one_shot_names;
pub use self::options::{ApiArgs, Args, BudgetArgs, ProxyArgs};
pub use self::origin::{Origins, Place};
pub use self::record::{RecordKey, RecordOptions};
pub use self::services::HostAccess;
pub use self::settings::{LogLevel, ProfileChoice, RuntimeChoice, Settings};
pub use self::upstream::{LOCAL_REMEDY, ParentProxy, is_elsewhere};
pub use self::usage::UsageError;
pub use self::variables::is_reserved;
