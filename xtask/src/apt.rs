//! Debian's packages that some tests need: installed where this user may, and printed.

use std::process::{Command, Stdio};

/// Whether it is installed now. Only root can, on a system that has apt-get.
pub(crate) fn install(package: &str) -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n");
    if !is_root {
        println!("only root can install {package}");
        return false;
    }
    println!("apt-get install -y {package}");
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        apt.status().is_ok_and(|status| status.success())
    };
    let install = || apt(&["install", "-y", package]);
    install() || (apt(&["update"]) && install())
}
