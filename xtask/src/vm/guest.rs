//! Process 1 of a virtual machine of the vm tier: makes the kernel's world, runs the jobs, turns the machine off.
//!
//! Owns everything in the guest. Takes [`Work`] from the initial file system. Gives what the jobs say on the second serial
//! port, with lines that begin and end each. The root is the machine's own, read-only, below a layer in memory: programs,
//! libraries and the workspace are where they are outside, and nothing that a job writes gets there.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, chroot};
use serde::{Deserialize, Serialize};

/// The name under which the guest's kernel starts this program.
pub(crate) const NAME: &str = "/init";
/// Where the initial file system holds [`Work`].
pub(super) const WORK: &str = "/work.json";
/// Where it holds the modules that are needed before the root is there, named in the order of loading.
pub(super) const MODULES: &str = "/modules";
/// The tag of the shared root.
pub(super) const ROOT_TAG: &str = "root";

/// Directories of the guest that are file systems in memory: overlayfs takes no upper layer that is an overlay itself.
const IN_MEMORY: [&str; 6] = ["run", "tmp", "var/tmp", "var/lib/awf", "var/log", "home"];

/// What a guest has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    /// The kernel's modules, a directory of the machine outside.
    pub(super) modules: PathBuf,
    /// Directories that must be seen even where memory covers them.
    pub(super) shared: Vec<PathBuf>,
    /// What to run, one after the other.
    pub(super) jobs: Vec<Job>,
}

/// One program to run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// Marks a line of the report as ours.
pub(super) const MARK: &str = "@@";

/// Does the work and turns the machine off; never returns to a kernel that would panic.
pub(crate) fn main() -> ! {
    let done = work();
    if let Err(error) = done {
        let text = format!("\n{MARK} failed {error:#}\n");
        // The console is the last that can be told.
        let told = OpenOptions::new().write(true).open("/dev/ttyS1");
        if told.and_then(|mut report| report.write_all(text.as_bytes())).is_err() {
            drop(fs::write("/dev/console", text));
        }
    }
    nix::unistd::sync();
    loop {
        let Err(errno) = reboot(RebootMode::RB_POWER_OFF);
        drop(fs::write("/dev/console", format!("power off: {errno}\n")));
    }
}

fn work() -> Result<()> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        attach(kind, Path::new(place), None)?;
    }
    let work: Work = serde_json::from_slice(&fs::read(WORK).context("read the work")?)?;
    load_modules()?;
    enter_root(&work)?;
    let mut report =
        OpenOptions::new().write(true).open("/dev/ttyS1").context("open the report")?;
    for job in &work.jobs {
        run(job, &mut report).with_context(|| format!("run {}", job.name))?;
    }
    Ok(writeln!(report, "{MARK} complete")?)
}

fn load_modules() -> Result<()> {
    let mut modules: Vec<PathBuf> =
        fs::read_dir(MODULES)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    modules.sort();
    for module in modules {
        let file = File::open(&module)?;
        finit_module(&file, c"", ModuleInitFlags::empty())
            .with_context(|| format!("load {}", module.display()))?;
    }
    Ok(())
}

/// Makes the shared root ours, as an initial file system hands over to the real one: the kernel's threads, which start
/// modprobe, follow process 1.
fn enter_root(work: &Work) -> Result<()> {
    let (outside, layer, root) = (Path::new("/outside"), Path::new("/layer"), Path::new("/root"));
    fs::create_dir_all(outside)?;
    mount(Some(ROOT_TAG), outside, Some("virtiofs"), MsFlags::MS_RDONLY, None::<&str>)
        .context("mount the shared root")?;
    attach("tmpfs", layer, None)?;
    fs::create_dir_all(layer.join("upper"))?;
    fs::create_dir_all(layer.join("work"))?;
    let layers = "lowerdir=/outside,upperdir=/layer/upper,workdir=/layer/work";
    attach("overlay", root, Some(layers))?;
    for place in ["proc", "sys", "dev"] {
        let from = Path::new("/").join(place);
        mount(Some(&from), &root.join(place), None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    }
    for place in IN_MEMORY {
        attach("tmpfs", &root.join(place), Some("mode=1777"))?;
    }
    for shared in &work.shared {
        expose(outside, shared, &root.join(shared.strip_prefix("/")?))?;
    }
    let name = work.modules.file_name().context("the modules have no release")?;
    expose(outside, &work.modules, &root.join("lib/modules").join(name))?;
    chdir(root)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("move the root")?;
    chroot(".")?;
    chdir("/")?;
    for (kind, place) in [
        ("cgroup2", "/sys/fs/cgroup"),
        ("bpf", "/sys/fs/bpf"),
        ("securityfs", "/sys/kernel/security"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
    ] {
        attach(kind, Path::new(place), None)?;
    }
    Ok(())
}

/// Shows a directory of the machine outside at a place where it would be covered.
fn expose(outside: &Path, directory: &Path, place: &Path) -> Result<()> {
    fs::create_dir_all(place)?;
    let from = outside.join(directory.strip_prefix("/")?);
    mount(Some(&from), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("show {}", directory.display()))
}

fn attach(kind: &str, place: &Path, options: Option<&str>) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("make {}", place.display()))?;
    mount(Some(kind), place, Some(kind), MsFlags::empty(), options)
        .with_context(|| format!("mount {}", place.display()))
}

/// Runs a job to its end, and meanwhile buries whatever orphan dies.
fn run(job: &Job, report: &mut File) -> Result<()> {
    writeln!(report, "{MARK} begin {}", job.name)?;
    let began = Instant::now();
    let child = Command::new(&job.program)
        .args(&job.arguments)
        .env_clear()
        .envs([
            // The last is where cargo installs tools for root.
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/root/.cargo/bin",
            ),
            ("HOME", "/root"),
        ])
        .envs(job.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(report.try_clone()?)
        .stderr(report.try_clone()?)
        .spawn()?;
    let child = Pid::from_raw(child.id().try_into()?);
    let code = loop {
        match waitpid(None, None)? {
            WaitStatus::Exited(pid, code) if pid == child => break code,
            WaitStatus::Signaled(pid, signal, _) if pid == child => break 128 + signal as i32,
            _ => {}
        }
    };
    Ok(writeln!(report, "\n{MARK} end {} {code} {}", job.name, began.elapsed().as_secs())?)
}
