//! The commands that install something, in the words of this machine's distribution.

use std::path::Path;

/// A distribution's command: where it is, and how it is called.
const MANAGERS: [(&str, &str); 6] = [
    ("/usr/bin/apt-get", "sudo apt-get install"),
    ("/usr/bin/dnf", "sudo dnf install"),
    ("/usr/bin/yum", "sudo yum install"),
    ("/usr/bin/zypper", "sudo zypper install"),
    ("/usr/bin/pacman", "sudo pacman -S"),
    ("/sbin/apk", "sudo apk add"),
];

/// Installs a package that is called the same everywhere.
pub(super) fn install(package: &str) -> String {
    let known = MANAGERS.iter().find(|(path, _command)| Path::new(path).exists());
    known.map_or_else(
        || format!("install the package {package}"),
        |(_path, command)| format!("{command} {package}"),
    )
}
