//! Fashion-MNIST, all 70,000 images, from Debian's package `dataset-fashion-mnist`: fetched once into
//! `target/data/fashion-mnist`, each file checked against its SHA-256.

use super::{digest, set_up, target};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "dataset-fashion-mnist";
/// Where the package puts its files.
const INSIDE: &str = "usr/share/datasets/fashion-mnist";
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte.gz", "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
    ("train-labels-idx1-ubyte.gz", "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
    ("t10k-images-idx3-ubyte.gz", "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
    ("t10k-labels-idx1-ubyte.gz", "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
];

/// The folder with the four IDX files.
pub(crate) fn fashion_mnist() -> Result<PathBuf> {
    let folder = target("data/fashion-mnist")?;
    if check(&folder).is_ok() {
        eprintln!("data: Fashion-MNIST as pinned");
        return Ok(folder);
    }
    let installed = Path::new("/").join(INSIDE);
    let fetched = target("data/fetched")?;
    let from = if check(&installed).is_ok() { installed } else { fetch(&fetched)? };
    fs::create_dir_all(&folder)?;
    for (name, _) in FILES {
        fs::copy(from.join(name), folder.join(name)).with_context(|| from.join(name).display().to_string())?;
    }
    let _ = fs::remove_dir_all(&fetched); // left behind it only takes room
    check(&folder)?;
    Ok(folder)
}

fn check(folder: &Path) -> Result<()> {
    for (name, wanted) in FILES {
        let path = folder.join(name);
        let found = digest(&path)?;
        ensure!(found == wanted, "{}: SHA-256 {found}, {wanted} expected: remove it", path.display());
    }
    Ok(())
}

/// The package's content, unpacked below `folder`.
fn fetch(folder: &Path) -> Result<PathBuf> {
    let _ = fs::remove_dir_all(folder); // torn by an earlier try, or not there
    fs::create_dir_all(folder)?;
    let download = || set_up(Command::new("apt-get").args(["download", "--quiet", PACKAGE]).current_dir(folder));
    if download().is_err() {
        // the machine's list of packages is missing or old
        set_up(Command::new("apt-get").args(["update", "--quiet"]))?;
        download().with_context(|| {
            format!("{PACKAGE} cannot be fetched: put its four files into target/data/fashion-mnist by hand")
        })?;
    }
    let mut found = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let package = found.find(|path| path.extension().is_some_and(|e| e == "deb"));
    let package = package.with_context(|| format!("apt-get left no package in {}", folder.display()))?;
    set_up(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder))?;
    Ok(folder.join(INSIDE))
}
