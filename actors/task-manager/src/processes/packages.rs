//! Packages of scripts that came with jobs, unpacked once each: a folder named by the digest, there whole or not at all.

use super::{PACKAGE, blocking};
use nsfl_package::{Limits, unpack};
use nsfl_store::BlobStore;
use nsfl_trainer::script::Program;
use nsfl_types::{BlobRef, Code, Refusal};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A package that no held task names goes when unused for so long: the next round's task may well name it again.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// What an unpacking that was cut off has left begins so.
const PARTIAL: &str = ".part-";

#[derive(Debug)]
pub(super) struct Packages {
    pub(super) folder: PathBuf,
    /// What one may hold.
    pub(super) limits: Limits,
}

impl Packages {
    pub(super) fn is_unpacked(&self, package: BlobRef) -> bool {
        self.place(package).is_dir()
    }

    /// The folder of a package, unpacked now if it is not yet.
    pub(super) async fn unpacked(&self, package: BlobRef, blobs: &dyn BlobStore) -> Result<PathBuf, Refusal> {
        let place = self.place(package);
        if place.is_dir() {
            touch(&place);
            return Ok(place);
        }
        let opened = blobs.open(package.digest).await;
        let zip = opened.map_err(|e| Refusal::new(e.code(), format!("{PACKAGE}: {e}")))?;
        let (folder, limits, to) = (self.folder.clone(), self.limits, place.clone());
        blocking(move || unpack_once(&folder, &zip, &to, &limits)).await??;
        tracing::info!(package = %package.digest, "package of scripts unpacked");
        Ok(place)
    }

    /// What a package's configuration runs must lie in the package: it is the only code the site was asked to run.
    pub(super) fn holds(&self, package: BlobRef, program: &Program) -> Result<(), Refusal> {
        let place = self.place(package);
        let leaves = |field: &str| Refusal::new(Code::BadPackage, format!("{field}: leaves the package"));
        let resolved = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let root = resolved(&place);
        if !resolved(&program.folder).starts_with(&root) {
            return Err(leaves("script_path"));
        }
        if !resolved(&program.folder.join(&program.stage.entry)).starts_with(&root) {
            return Err(leaves("entry"));
        }
        Ok(())
    }

    /// Removes packages that were not used for long and are not in `held`.
    pub(super) async fn sweep(&self, held: &[BlobRef]) {
        let (folder, held) = (self.folder.clone(), held.iter().map(|blob| blob.digest.to_hex()).collect::<Vec<_>>());
        let _ = blocking(move || {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let used = entry.metadata().and_then(|meta| meta.modified());
                let is_idle = used.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|idle| idle > IDLE));
                if is_idle && !held.iter().any(|hex| entry.file_name() == hex.as_str()) {
                    tracing::info!(folder = %entry.path().display(), "unused package of scripts removed");
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
        })
        .await;
    }

    /// Where a package is or will be.
    pub(super) fn place(&self, package: BlobRef) -> PathBuf {
        self.folder.join(package.digest.to_hex())
    }
}

fn unpack_once(folder: &Path, zip: &[u8], place: &Path, limits: &Limits) -> Result<(), Refusal> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let partial = folder.join(format!("{PARTIAL}{}-{number}", std::process::id()));
    let disk = |e: io::Error| Refusal::new(Code::Internal, format!("the package was not unpacked: {e}"));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(disk)?;
    let unpacked = unpack(zip, &partial, limits).map_err(|e| e.refusal(PACKAGE)).and_then(|()| {
        // on the disk before it has its name
        File::open(&partial).and_then(|file| Ok(rustix::fs::syncfs(file)?)).map_err(disk)?;
        match fs::rename(&partial, place) {
            // another task has unpacked the same meanwhile
            Err(_) if place.is_dir() => Ok(()),
            renamed => renamed.map_err(disk),
        }
    });
    let _ = fs::remove_dir_all(&partial);
    unpacked
}

fn touch(folder: &Path) {
    let touched = File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(folder = %folder.display(), %error, "use of a package not noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_package::pack_entries;
    use nsfl_store::memory::MemoryBlobStore;
    use nsfl_store::{Owner, put_bytes};

    fn zip(text: &str) -> Vec<u8> {
        pack_entries([("train.py", text.as_bytes())]).unwrap()
    }

    fn packages(dir: &Path, bytes: u64) -> Packages {
        Packages { folder: dir.join("scripts"), limits: Limits { bytes, ..Limits::default() } }
    }

    #[tokio::test]
    async fn a_package_is_unpacked_once_and_goes_when_nobody_used_it_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let packages = packages(dir.path(), 1000);
        let blobs = MemoryBlobStore::default();
        let owner = Owner::new("o").unwrap();
        let package = put_bytes(&blobs, zip("print()").into(), &owner).await.unwrap();
        let folder = packages.unpacked(package, &blobs).await.unwrap();
        assert_eq!(fs::read_to_string(folder.join("train.py")).unwrap(), "print()");
        blobs.release(package.digest, &owner).await.unwrap();
        blobs.sweep(Duration::ZERO).await.unwrap();
        assert_eq!(packages.unpacked(package, &blobs).await.unwrap(), folder, "the zip is needed no more");
        let long_ago = SystemTime::now() - IDLE - Duration::from_secs(60);
        let age = || File::open(&folder).unwrap().set_modified(long_ago).unwrap();
        age();
        packages.sweep(&[package]).await;
        assert!(packages.is_unpacked(package), "a held task names it");
        packages.unpacked(package, &blobs).await.unwrap();
        packages.sweep(&[]).await;
        assert!(packages.is_unpacked(package), "it was just used");
        age();
        packages.sweep(&[]).await;
        assert!(!packages.is_unpacked(package));
    }

    #[tokio::test]
    async fn a_package_that_is_refused_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let packages = packages(dir.path(), 3);
        let blobs = MemoryBlobStore::default();
        let package = put_bytes(&blobs, zip("print()").into(), &Owner::new("o").unwrap()).await.unwrap();
        assert_eq!(packages.unpacked(package, &blobs).await.unwrap_err().code, Code::PackageTooLarge);
        assert_eq!(fs::read_dir(&packages.folder).unwrap().count(), 0);
    }
}
