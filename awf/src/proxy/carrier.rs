//! What carries Squid: a process of this machine, or whatever else a runtime offers.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::child;

/// A way to start Squid.
pub trait Carrier: Send + Sync + 'static {
    /// A started Squid.
    type Life: Life;

    /// Whether a start costs so much that it waits until somebody needs Squid: a command that ends at once needs none.
    const ON_DEMAND: bool;

    /// Does what can be done before anybody needs Squid. Cancel safe, as [`Self::start`].
    fn prepare(&self) -> impl Future<Output = Result<()>> + Send;

    /// Starts one more. Cancel safe: one that nobody waits for any more ends with the run.
    fn start(&self) -> impl Future<Output = Result<Self::Life>> + Send;
}

/// A started Squid.
pub trait Life: Send + 'static {
    /// Its first process as seen from here; `None` if it has ended.
    fn pid(&self) -> Option<u32>;

    /// Waits for its end and says how it ended. Cancel safe.
    fn ended(&mut self) -> impl Future<Output = Result<String>> + Send;

    /// Ends it at once. Of one that has ended already, does nothing.
    fn kill(&mut self) -> impl Future<Output = ()> + Send;
}

/// Whether anybody needs Squid yet. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Demand(CancellationToken);

impl Demand {
    /// Somebody does.
    pub fn raise(&self) {
        self.0.cancel();
    }

    /// Waits until somebody does.
    pub async fn raised(&self) {
        self.0.cancelled().await;
    }
}

/// A process of this machine, which confines itself; see [`child`].
#[derive(Clone, Debug)]
pub struct Process {
    /// For the process.
    pub child: child::Spec,
    /// File for Squid's own messages.
    pub messages: PathBuf,
}

impl Carrier for Process {
    type Life = Child;
    const ON_DEMAND: bool = false;

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn start(&self) -> Result<Child> {
        let messages = File::options()
            .create(true)
            .append(true)
            .open(&self.messages)
            .with_context(|| format!("open {}", self.messages.display()))?;
        Command::new("/proc/self/exe")
            .arg0(crate::PROXY_CHILD)
            .arg(serde_json::to_string(&(std::process::id(), &self.child))?)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(messages.try_clone().context("share Squid's message file")?)
            .stderr(messages)
            .kill_on_drop(true)
            .spawn()
            .context("start Squid")
    }
}

impl Life for Child {
    fn pid(&self) -> Option<u32> {
        self.id()
    }

    async fn ended(&mut self) -> Result<String> {
        Ok(self.wait().await?.to_string())
    }

    async fn kill(&mut self) {
        let _dead = Self::kill(self).await.is_err();
    }
}
