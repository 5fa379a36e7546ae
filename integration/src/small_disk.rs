//! A disk small enough to be filled: a tmpfs of its own, when this process may mount one.

use anyhow::{Context, ensure};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A mounted tmpfs. Dropped, it is unmounted.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of so many 10^6 bytes.
    ///
    /// # Errors
    /// This process may not mount: it is not root.
    pub fn mount(megabytes: u32) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("nsfl-disk-").tempdir()?;
        mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}000000"), "tmpfs"], folder.path())?;
        Ok(Self { folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// It cannot be written for another reason.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        for piece in [vec![0_u8; 1 << 16], vec![0_u8; 512], vec![0_u8; 1]] {
            while file.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    /// Takes away what `fill` wrote.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.ballast()).context("the ballast is not there")
    }

    /// From now on it can only be read, or written again.
    ///
    /// # Errors
    /// Somebody is writing a file on it.
    pub fn read_only(&self, read_only: bool) -> anyhow::Result<()> {
        mount(&["-o", if read_only { "remount,ro" } else { "remount,rw" }], self.path())
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

fn mount(args: &[&str], at: &Path) -> anyhow::Result<()> {
    let output = Command::new("mount").args(args).arg(at).output().context("there is no mount command")?;
    ensure!(output.status.success(), "cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
