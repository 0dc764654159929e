//! Kernels of the distribution, fetched and unpacked for the machines of the vm tier.
//!
//! Owns a directory in which apt works with lists of its own, and one directory for each kernel. Takes the series wanted.
//! Gives [`Kernel`]. Must never install anything, nor touch the machine's own package lists: packages are downloaded,
//! checked by apt against the archive's keys, and unpacked aside.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// A line of kernels.
#[derive(Debug)]
pub(crate) struct Series {
    /// What its versions begin with; `newest` is the last of the suite.
    pub(crate) name: &'static str,
    /// Where the distribution keeps it up to date.
    suite: &'static str,
}

/// Every kernel the vm tier tests, oldest first.
pub(crate) const SERIES: [Series; 5] = [
    Series { name: "5.10", suite: "bullseye-security" },
    Series { name: "6.1", suite: "bookworm-security" },
    Series { name: "6.12", suite: "bookworm-security" },
    Series { name: "6.18", suite: "trixie-backports" },
    Series { name: "newest", suite: "trixie-backports" },
];

/// The archive's keys, of the package debian-archive-keyring.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel with its modules.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What `uname -r` says.
    pub(crate) release: String,
    /// The boot image.
    pub(crate) image: PathBuf,
    /// The directory named by the release that holds the modules.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// The kernel of a series; fetched into `cache` unless it is there already.
    pub(crate) fn of(series: &Series, cache: &Path) -> Result<Self> {
        let home = cache.join(series.name);
        let complete = home.join("complete");
        if !complete.is_file() {
            let apt = Apt::for_suite(series.suite, cache)?;
            let package = apt.newest_image(series)?;
            let files = home.join("files");
            // An interrupted fetch may have left another release there.
            if files.exists() {
                fs::remove_dir_all(&files)?;
            }
            fs::create_dir_all(&files)?;
            for part in apt.parts(&package)? {
                apt.unpack(&part, &files).with_context(|| format!("fetch {part}"))?;
            }
            let kernel = Self::unpacked(&home)?;
            run(Command::new("depmod").arg("-b").arg(kernel.base()?).arg(&kernel.release))?;
            fs::write(complete, package)?;
        }
        Self::unpacked(&home)
    }

    fn unpacked(home: &Path) -> Result<Self> {
        let files = home.join("files");
        let trees = [files.join("lib/modules"), files.join("usr/lib/modules")];
        let tree = trees.iter().find(|tree| tree.is_dir()).context("the kernel has no modules")?;
        let release = fs::read_dir(tree)?.next().context("the kernel has no modules")??;
        let (modules, release) = (release.path(), release.file_name());
        let release = release.to_string_lossy().into_owned();
        // Since 7.0 the image lies beside the modules.
        let images = [files.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        let image = images.into_iter().find(|image| image.is_file());
        Ok(Self { image: image.context("the kernel has no image")?, modules, release })
    }

    /// What depmod and modprobe take as root: the directory above `lib/modules`.
    pub(crate) fn base(&self) -> Result<&Path> {
        self.modules.ancestors().nth(3).context("the modules lie in no tree")
    }
}

/// apt with lists of its own.
struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Reads the lists of one suite from the archive that this machine uses already.
    fn for_suite(suite: &str, cache: &Path) -> Result<Self> {
        let state = cache.join("apt").join(suite);
        fs::create_dir_all(state.join("lists/partial"))?;
        let archive = archive_of(suite)?;
        let sources = state.join("sources.list");
        fs::write(&sources, format!("deb [signed-by={KEYS}] {archive} {suite} main\n"))?;
        let config = state.join("apt.conf");
        let state = state.display();
        let text = format!(
            "Dir::State \"{state}\";\nDir::Cache \"{state}\";\nDir::State::status \"/dev/null\";\n\
             Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n",
            sources.display()
        );
        fs::write(&config, text)?;
        let apt = Self { config };
        // By default apt is content with the lists of an earlier time.
        run(apt.command("apt-get").args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config);
        command
    }

    /// The newest image for virtual machines of a series.
    fn newest_image(&self, series: &Series) -> Result<String> {
        let flavour = match ARCH {
            "x86_64" => "cloud-amd64",
            "aarch64" => "cloud-arm64",
            other => bail!("the archive has no kernels for virtual machines on {other}"),
        };
        let names =
            run(self.command("apt-cache").args(["search", "--names-only", "^linux-image-[0-9]"]))?;
        let names = names.lines().filter_map(|line| line.split_whitespace().next());
        let of_series = |name: &&str| {
            let version = name.trim_start_matches("linux-image-");
            let follows =
                version.strip_prefix(series.name).is_some_and(|rest| rest.starts_with('.'));
            name.ends_with(flavour)
                && version.contains('.')
                && numbers(version).len() > 3
                && (series.name == "newest" || follows)
        };
        let newest = names.filter(of_series).max_by_key(|name| numbers(name));
        newest.map(str::to_owned).with_context(|| {
            format!(
                "{} has no kernel {} any more: change SERIES in xtask/src/vm/kernel.rs",
                series.suite, series.name
            )
        })
    }

    /// The packages that hold an image's files: itself, and since 7.0 those it is divided into.
    fn parts(&self, package: &str) -> Result<Vec<String>> {
        let release = package.trim_start_matches("linux-image-");
        let depends = run(self.command("apt-cache").args(["depends", package]))?;
        let parts = ["linux-base-", "linux-binary-", "linux-modules-"]
            .map(|part| format!("{part}{release}"));
        let mut found = vec![package.to_owned()];
        found.extend(parts.into_iter().filter(|part| depends.contains(part.as_str())));
        Ok(found)
    }

    fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let place = into.with_file_name("packages");
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        run(self.command("apt-get").args(["download", "-q", package]).current_dir(&place))?;
        for file in fs::read_dir(&place)? {
            run(Command::new("dpkg-deb").arg("-x").arg(file?.path()).arg(into))?;
        }
        Ok(fs::remove_dir_all(&place)?)
    }
}

/// The address this machine's apt has for the distribution's archive, or for its security archive.
fn archive_of(suite: &str) -> Result<String> {
    let security = suite.ends_with("-security");
    let targets = run(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME) $(LABEL)",
        "Created-By: Packages",
    ]))?;
    let archive = targets.lines().find_map(|line| {
        let (address, rest) = line.split_once(' ')?;
        let (codename, label) = rest.split_once(' ')?;
        let matches = label.starts_with("Debian") && codename.ends_with("-security") == security;
        matches.then(|| address.to_owned())
    });
    archive.with_context(|| {
        let which = if security { "Debian's security archive" } else { "Debian's archive" };
        format!(
            "the vm tier takes the kernels of {suite} from {which}, and this machine's apt has no source of it: \
             add one, or run the tier on a Debian machine"
        )
    })
}

/// The numbers in a name, for comparing versions.
fn numbers(name: &str) -> Vec<u64> {
    let parts = name.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// Runs a tool and gives its standard output; what it said becomes the error.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let order =
            ["linux-image-6.1.0-9-cloud", "linux-image-6.1.0-56-cloud", "linux-image-6.12.9-cloud"];
        assert!(order.is_sorted_by_key(|name| numbers(name)));
    }
}
