//! A Docker daemon by its address, spoken to through Docker's command line client.
//!
//! Owns nothing: the daemon of a lab belongs to `lab`, the one of the machine to the machine. Must never start or end one.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::lab;

/// Where Docker's clients read the daemon's address.
pub const HOST_VARIABLE: &str = "DOCKER_HOST";

/// A daemon that may or may not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    /// As in `DOCKER_HOST`; none leaves it to the client, which means the machine's daemon.
    host: Option<String>,
}

impl Docker {
    /// The daemon at this address, for example `unix:///run/docker.sock`.
    pub fn at(host: &str) -> Self {
        Self { host: Some(host.to_owned()) }
    }

    /// The daemon that Docker's own client would speak to.
    pub fn of_the_machine() -> Self {
        Self { host: env::var(HOST_VARIABLE).ok().filter(|host| !host.is_empty()) }
    }

    /// Its address, if one was named.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The client. The classic builder: `BuildKit` is a plugin that Debian packages apart.
    pub fn client(&self) -> Result<Command> {
        let mut client = lab::tool("docker")?;
        client.env("DOCKER_BUILDKIT", "0").env_remove("DOCKER_CONTEXT");
        match &self.host {
            Some(host) => client.env(HOST_VARIABLE, host),
            None => client.env_remove(HOST_VARIABLE),
        };
        Ok(client)
    }

    /// What the client prints; an error if it fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.client()?.args(arguments).stdin(Stdio::null()).output();
        let output = output.context("run docker")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The daemon's version; an error if none answers.
    pub fn version(&self) -> Result<String> {
        self.ask(&["version", "--format", "{{.Server.Version}}"])
    }

    /// Id of an image, if the daemon has it.
    pub fn image(&self, reference: &str) -> Option<String> {
        self.ask(&["image", "inspect", "--format", "{{.Id}}", reference]).ok()
    }

    /// Value of an image's label, if both exist.
    pub fn label(&self, reference: &str, name: &str) -> Option<String> {
        let format = format!("{{{{index .Config.Labels \"{name}\"}}}}");
        self.ask(&["image", "inspect", "--format", &format, reference]).ok()
    }

    /// Names of all containers, running or not, that begin with `prefix`.
    pub fn containers(&self, prefix: &str) -> Result<Vec<String>> {
        let filter = format!("name=^/{prefix}");
        let names = self.ask(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Names of all containers, running or not, whose cgroup was asked for below a directory of this name.
    pub fn containers_below(&self, cgroup: &str) -> Result<Vec<String>> {
        let ids = self.ask(&["ps", "--all", "--quiet"])?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let format = "{{.HostConfig.CgroupParent}} {{.Name}}";
        let mut client = self.client()?;
        let asked = client.args(["inspect", "--format", format]).args(ids.lines());
        // It fails when one of them is gone by now, and tells of the others all the same.
        let said = asked.stdin(Stdio::null()).output().context("run docker")?.stdout;
        let below = format!("/{cgroup}/");
        let said = String::from_utf8_lossy(&said);
        let ours = said.lines().filter_map(|line| line.split_once(" /"));
        let ours = ours.filter(|(parent, _name)| format!("{parent}/").contains(&below));
        Ok(ours.map(|(_parent, name)| name.to_owned()).collect())
    }
}
