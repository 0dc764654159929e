//! One virtual machine: its initial file system, the server of its root, and the emulator.
//!
//! Takes a [`Kernel`] and the [`Work`]. Gives [`Told`] for each job. Owns a directory for the files of one boot, and two
//! processes, which end with it. Emulation is QEMU's own (TCG), so that no right to virtualise is needed;
//! `AWF_VM_ACCEL` names another accelerator.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;

use super::guest::{MARK, MODULES, NAME, ROOT_TAG, WORK, Work};
use super::kernel::{Kernel, run};

/// What a guest has of the machine's memory.
const MEMORY: &str = "4G";
/// A guest that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(30);
/// How often the report is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Where distributions put the server of shared directories.
const SERVERS: [&str; 2] = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// What a job came to.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) code: i32,
    pub(super) seconds: u64,
    pub(super) lines: Vec<String>,
}

/// Boots the kernel, lets it do the work, and gives what each job told.
pub(super) fn boot(
    kernel: &Kernel,
    work: &Work,
    place: &Path,
    progress: &ProgressBar,
) -> Result<Vec<Told>> {
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::create_dir_all(place)?;
    let initial =
        initial_file_system(kernel, work, place).context("make the initial file system")?;
    let socket = place.join("root.socket");
    let _server = Process(serve_root(&socket, place)?);
    let report = place.join("report");
    let console = place.join("console");
    let mut emulator = Process(emulate(kernel, &initial, &socket, [&console, &report])?);
    let began = Instant::now();
    while emulator.0.try_wait()?.is_none() {
        ensure!(began.elapsed() < PATIENCE, "the guest hangs, see {}", place.display());
        if let Some(job) = current(&report) {
            progress.set_message(job);
        }
        std::thread::sleep(POLL);
    }
    let told = fs::read_to_string(&report).unwrap_or_default();
    parse(&told).with_context(|| format!("kernel {}, see {}", kernel.release, place.display()))
}

/// A command whose process the kernel kills when ours ends, even where no owner can: by SIGKILL.
fn ends_with_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// This program as `/init`, the work, and the modules without which there is no root.
fn initial_file_system(kernel: &Kernel, work: &Work, place: &Path) -> Result<PathBuf> {
    ensure!(
        cfg!(target_feature = "crt-static"),
        "xtask is process 1 of the guest and must be static: unset RUSTFLAGS, which hides .cargo/config.toml"
    );
    let tree = place.join("initial");
    let modules = tree.join(MODULES.trim_start_matches('/'));
    fs::create_dir_all(&modules)?;
    fs::copy(env::current_exe()?, tree.join(NAME.trim_start_matches('/')))?;
    fs::write(tree.join(WORK.trim_start_matches('/')), serde_json::to_vec(work)?)?;
    for (number, file) in early_modules(kernel)?.iter().enumerate() {
        let plain = modules.join(format!("{number:02}"));
        if file.extension().is_some_and(|extension| extension == "xz") {
            let plain = File::create(plain)?;
            let status = Command::new("xz").arg("-dc").arg(file).stdout(plain).status()?;
            ensure!(status.success(), "{} cannot be unpacked", file.display());
        } else {
            fs::copy(file, plain)?;
        }
    }
    let archive = place.join("initial.cpio");
    let files = place.join("initial.files");
    fs::write(&files, run(Command::new("find").arg(".").current_dir(&tree))?)?;
    let status = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc"])
        .current_dir(&tree)
        .stdin(File::open(files)?)
        .stdout(File::create(&archive)?)
        .status()
        .context("run cpio")?;
    ensure!(status.success(), "cpio failed");
    Ok(archive)
}

/// The modules without which there is no root, each after those it needs.
fn early_modules(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let mut modules = Vec::new();
    for wanted in ["virtio_pci", "virtiofs", "overlay"] {
        let mut modprobe = Command::new("modprobe");
        modprobe.arg("-d").arg(kernel.base()?);
        let order = run(modprobe.args(["-S", &kernel.release, "--show-depends", wanted]))?;
        // A built-in one begins with "builtin".
        for file in order.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let file = PathBuf::from(file.trim());
            if !modules.contains(&file) {
                modules.push(file);
            }
        }
    }
    Ok(modules)
}

/// Makes every mount read-only in a mount namespace of the server's own, but for the directory of its socket and the one of its
/// lock. The guest mounts the root read-only too, but is root in there. What the kernel's own file systems refuse, it keeps.
const READ_ONLY: &str = r#"
mkdir -p /run/virtiofsd && mount -t tmpfs tmpfs /run/virtiofsd && mount --bind "$1" "$1" || exit
place=$1
shift
while read -r _ _ _ _ where _; do
    case $where in
    "$place" | /run/virtiofsd | /proc | /proc/* | /sys | /sys/* | /dev/pts) ;;
    *) mount -o remount,bind,ro "$(printf %b "$where")" || exit ;;
    esac
done </proc/self/mountinfo
exec "$@""#;

/// Serves the machine's root.
fn serve_root(socket: &Path, place: &Path) -> Result<Child> {
    let server = SERVERS.iter().find(|server| Path::new(server).is_file());
    let server = server.context("virtiofsd is missing: `cargo xtask setup` brings it")?;
    let said = File::create(place.join("virtiofsd"))?;
    let child = ends_with_us("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"])
        .arg(place)
        .arg(server)
        .arg(format!("--socket-path={}", socket.display()))
        .args(["-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always"])
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
        .context("start virtiofsd")?;
    let began = Instant::now();
    while !socket.exists() {
        ensure!(
            began.elapsed() < Duration::from_secs(10),
            "virtiofsd opens no socket, see {}",
            place.display()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}

fn emulate(kernel: &Kernel, initial: &Path, socket: &Path, serial: [&Path; 2]) -> Result<Child> {
    let (program, machine) = match env::consts::ARCH {
        "aarch64" => ("qemu-system-aarch64", "virt"),
        _ => ("qemu-system-x86_64", "q35"),
    };
    let accelerator = env::var("AWF_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".to_owned());
    let mut command = ends_with_us(program);
    command.args([
        "-machine",
        machine,
        "-accel",
        &accelerator,
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        MEMORY,
    ]);
    // virtiofs shares memory with its server.
    command.args(["-object", &format!("memory-backend-memfd,id=memory,size={MEMORY},share=on")]);
    command.args(["-numa", "node,memdev=memory"]);
    command.args(["-chardev", &format!("socket,id=root,path={}", socket.display())]);
    command.args(["-device", &format!("vhost-user-fs-pci,chardev=root,tag={ROOT_TAG}")]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initial);
    command.args(["-append", "console=ttyS0 panic=-1"]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    for port in serial {
        command.args(["-serial", &format!("file:{}", port.display())]);
    }
    command.stdin(Stdio::null()).spawn().with_context(|| format!("start {program}"))
}

/// The job that is running.
fn current(report: &Path) -> Option<String> {
    let told = fs::read_to_string(report).ok()?;
    told.lines()
        .rev()
        .find_map(|line| line.strip_prefix(&format!("{MARK} begin ")))
        .map(str::to_owned)
}

/// Divides the report into jobs. Whatever is missing is an error: a guest that died proves nothing.
fn parse(report: &str) -> Result<Vec<Told>> {
    let mut jobs = Vec::new();
    let mut lines = Vec::new();
    let mut complete = false;
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [MARK, "begin", _] => lines.clear(),
            [MARK, "end", name, code, seconds] => jobs.push(Told {
                name: (*name).to_owned(),
                code: code.parse()?,
                seconds: seconds.parse()?,
                lines: std::mem::take(&mut lines),
            }),
            [MARK, "complete"] => complete = true,
            [MARK, "failed", why @ ..] => anyhow::bail!("the guest failed: {}", why.join(" ")),
            _ => lines.push(line.to_owned()),
        }
    }
    ensure!(complete, "the guest ended before its work:\n{}", lines.join("\n"));
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_divided_into_jobs() {
        let report = "noise\n@@ begin kernel\ntest a ... ok\n@@ end kernel 0 12\n@@ complete\n";
        let jobs = parse(report).unwrap();
        let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
        assert_eq!((job.name.as_str(), job.code, job.seconds), ("kernel", 0, 12));
        assert_eq!(job.lines, ["test a ... ok"]);
    }

    #[test]
    fn a_guest_that_died_is_an_error() {
        parse("@@ begin kernel\ntest a ... ok\n").unwrap_err();
        parse("@@ failed mount the shared root: No such device\n").unwrap_err();
    }
}
