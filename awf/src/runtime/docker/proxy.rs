//! Squid in a container.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use super::Engine;
use crate::plan::containers::Container;
use crate::proxy::{Carrier, Life};
use crate::runtime::native::Process;

/// A planned container of Squid's.
#[derive(Debug)]
pub struct Carried {
    engine: Engine,
    container: Container,
    /// How many were started; each has a name of its own, because the last may still be under removal.
    started: AtomicU32,
}

impl Carried {
    /// Starts nothing yet.
    pub fn new(engine: Engine, container: Container) -> Self {
        Self { engine, container, started: AtomicU32::new(0) }
    }
}

impl Carrier for Carried {
    type Life = Process;
    const ON_DEMAND: bool = true;

    async fn prepare(&self) -> Result<()> {
        self.engine.create(&self.container.name, &self.container.body).await
    }

    async fn start(&self) -> Result<Process> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let mut name = self.container.name.clone();
        if number > 0 {
            name = format!("{name}-{number}");
            self.engine.create(&name, &self.container.body).await?;
        }
        self.engine.start(&name).await?;
        let pid = self.engine.first_process(&name).await?;
        let pid = pid.with_context(|| format!("the container {name} ended at once"))?;
        Process::find(pid).context("watch Squid's container")
    }
}

impl Life for Process {
    fn pid(&self) -> Option<u32> {
        Some(self.id())
    }

    async fn ended(&mut self) -> Result<String> {
        Self::ended(self).await?;
        Ok("its container".to_owned())
    }

    async fn kill(&mut self) {
        let _gone = Self::kill(self).is_err();
    }
}
