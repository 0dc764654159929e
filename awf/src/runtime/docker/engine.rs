//! Docker's daemon: what awf asks of it during a run.
//!
//! Takes the planned containers, gives started ones. Everything it makes carries the run's label, by which it is found and
//! removed, also by a later awf. Must never touch what does not carry it.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum as State};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, RemoveContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::cli::DaemonAddress;
use crate::host::daemon::{self, Daemon, short};
use crate::plan::containers::RUN_LABEL;

/// How long the removal of a run's containers may take. A daemon that is busy takes a second.
const REMOVAL: Duration = Duration::from_secs(20);
/// Pause between two looks at a removal that is under way.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a run waits at its end for what it has asked for; a container is made and started in a second at most. A daemon
/// that takes longer is stopped or hung, and what it may still do is left to the next run.
const SETTLING: Duration = Duration::from_secs(5);
/// How long the daemon may take with a removal that it has begun by itself. Docker 20.10 hangs in it for good if somebody
/// restarts a container that is to be removed when it ends (measured); what is listed then is a name without processes.
const BEGUN_REMOVAL: Duration = Duration::from_secs(3);
/// How long a daemon may take to notice that a container's processes have ended, before its state is told as it is.
const NOTICE: Duration = Duration::from_secs(3);
/// How long the daemon of a killed run may take to answer, and to remove: meanwhile no other run can start.
const ORPHANS_ANSWER: Duration = Duration::from_secs(2);
const ORPHANS_REMOVAL: Duration = Duration::from_secs(5);
/// How long a container that a killed run asked for may take to appear: 30 ms on an idle machine.
const ORPHANS_SETTLING: Duration = Duration::from_millis(500);

/// A daemon that answered before the run.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) docker: Docker,
    /// What has been asked for, whether or not somebody waits for it.
    asked: TaskTracker,
}

/// What is left of a run in a daemon, for whoever takes it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The daemon.
    address: DaemonAddress,
    /// The version of the interface that it speaks.
    api_minor: usize,
    /// The run.
    run: String,
}

impl Engine {
    /// A handle; nothing is asked yet.
    pub fn of(daemon: &Daemon) -> Result<Self> {
        Self::at(&daemon.address, daemon.api_minor)
    }

    fn at(address: &DaemonAddress, api_minor: usize) -> Result<Self> {
        let docker = daemon::connect(address, api_minor).map_err(|error| anyhow!(short(error)));
        let docker = docker.with_context(|| format!("reach the daemon at {address}"))?;
        Ok(Self { docker, asked: TaskTracker::new() })
    }

    /// Creates a container. Once begun it goes on, whether or not somebody waits for it.
    pub async fn create(&self, name: &str, body: &ContainerCreateBody) -> Result<()> {
        let (docker, body) = (self.docker.clone(), body.clone());
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        let created = self.asked.spawn(async move {
            docker.create_container(Some(options), body).await.map_err(short)
        });
        created
            .await?
            .map(drop)
            .map_err(explained)
            .with_context(|| format!("create the container {name}"))
    }

    /// Starts it. Once begun it goes on, as [`Self::create`].
    pub async fn start(&self, name: &str) -> Result<()> {
        let (docker, asked) = (self.docker.clone(), name.to_owned());
        let started = self
            .asked
            .spawn(async move { docker.start_container(&asked, None).await.map_err(short) });
        started.await?.map_err(explained).with_context(|| format!("start the container {name}"))
    }

    /// Waits until all that was asked for has been done: a daemon does it even if nobody waits any more, and what appears
    /// after the removal of a run's containers would stay.
    pub async fn settle(&self) {
        self.asked.close();
        if timeout(SETTLING, self.asked.wait()).await.is_err() {
            tracing::warn!("the Docker daemon does not do what it was asked for; is it stopped?");
        }
    }

    /// The first process of a container, as seen by the daemon; `None` if it does not run.
    pub async fn first_process(&self, name: &str) -> Result<Option<u32>> {
        let found = self.docker.inspect_container(name, None).await;
        let found = found.map_err(|error| anyhow!(short(error))).context("look at a container")?;
        let pid = found.state.and_then(|state| state.pid);
        Ok(pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0))
    }

    /// State and mounts of a container whose processes have ended, for a reader. The daemon may take its time to see that.
    pub async fn describe(&self, name: &str) -> Result<serde_json::Value> {
        let began = Instant::now();
        loop {
            let found = timeout(NOTICE, self.docker.inspect_container(name, None)).await;
            let found = found.context("the daemon does not answer")?;
            let found = found.map_err(|error| anyhow!(short(error)));
            let found = found.context("look at a container")?;
            let runs = found.state.as_ref().and_then(|state| state.running) == Some(true);
            if !runs || began.elapsed() > NOTICE {
                return Ok(serde_json::json!({"state": found.state, "mounts": found.mounts}));
            }
            sleep(PAUSE).await;
        }
    }

    /// Removes every container of a run, and waits until they are gone.
    async fn remove(&self, run: &str, patience: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            let listed = self.of_run(run).await?;
            let names: Vec<&str> = listed.iter().filter_map(|one| one.id.as_deref()).collect();
            if names.is_empty() {
                return Ok(());
            }
            let is_begun = |one: &ContainerSummary| one.state == Some(State::REMOVING);
            if began.elapsed() > BEGUN_REMOVAL && listed.iter().all(is_begun) {
                tracing::warn!(
                    "the Docker daemon hangs in its removal of {}, whose processes have ended; it forgets it when it is started again",
                    names.join(", ")
                );
                return Ok(());
            }
            if began.elapsed() > patience {
                bail!("the daemon does not remove {}", names.join(", "));
            }
            let removals = join_all(names.iter().map(|name| self.remove_one(name)));
            let _again_if_it_takes_longer = timeout(BEGUN_REMOVAL, removals).await.is_err();
            sleep(PAUSE).await;
        }
    }

    async fn remove_one(&self, name: &str) {
        let options =
            RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        match self.docker.remove_container(name, Some(options)).await {
            // It has ended by itself, and is under removal already.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                let removed = WaitContainerOptions { condition: "removed".to_owned() };
                let mut waiting = self.docker.wait_container(name, Some(removed));
                while waiting.next().await.is_some_and(|answer| answer.is_ok()) {}
            }
            Err(error) => tracing::debug!("remove the container {name}: {}", short(error)),
            Ok(()) => {}
        }
    }

    async fn of_run(&self, run: &str) -> Result<Vec<ContainerSummary>> {
        let filter = HashMap::from([("label".to_owned(), vec![format!("{RUN_LABEL}={run}")])]);
        let options = ListContainersOptions {
            all: true,
            filters: Some(filter),
            ..ListContainersOptions::default()
        };
        let listed = self.docker.list_containers(Some(options)).await;
        listed.map_err(|error| anyhow!(short(error))).context("list the containers")
    }
}

impl Left {
    /// Of a run that has containers in this daemon.
    pub fn of(daemon: &Daemon, run: &str) -> Self {
        Self { address: daemon.address.clone(), api_minor: daemon.api_minor, run: run.to_owned() }
    }

    /// Removes it, after [`Engine::settle`]. Blocks, on a thread of its own: it may be called from within an asynchronous task.
    pub fn remove(&self) -> Result<()> {
        self.apart(|engine, run| async move { engine.remove(&run, REMOVAL).await })
    }

    /// The same for a run whose awf was killed: nobody knows what it has asked for.
    pub fn remove_of_orphan(&self) -> Result<()> {
        self.apart(|engine, run| async move {
            let answered = timeout(ORPHANS_ANSWER, engine.of_run(&run)).await;
            answered.context("the daemon does not answer")??;
            engine.remove(&run, ORPHANS_REMOVAL).await?;
            sleep(ORPHANS_SETTLING).await;
            engine.remove(&run, ORPHANS_REMOVAL).await
        })
    }

    fn apart<F: Future<Output = Result<()>>>(
        &self,
        remove: impl FnOnce(Engine, String) -> F + Send + 'static,
    ) -> Result<()> {
        let left = self.clone();
        let removing = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let engine = Engine::at(&left.address, left.api_minor)?;
                let removed = timeout(REMOVAL + PAUSE, remove(engine, left.run)).await;
                removed.context("the daemon does not answer")?
            })
        });
        removing.join().map_err(|_panic| anyhow!("the thread that removes containers died"))?
    }
}

/// What the daemon said, and what to do where that is known.
fn explained(message: String) -> anyhow::Error {
    let remedy = if message.contains("bind source path does not exist") {
        "the daemon does not see this machine's files; is it in a container or a virtual machine? --runtime native needs no daemon"
    } else if message.contains("No such image") {
        "build it with --build-local, or name a registry that has it with --image-registry"
    } else {
        return anyhow!(message);
    };
    anyhow!("{message}; {remedy}")
}
