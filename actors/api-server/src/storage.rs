//! A folder a namespace, under one root: where a path of the interface leads, and that it stays inside.
//! Blocking calls, for the blocking pool; no HTTP here.

use nsfl_actor::Failure;
use nsfl_types::{Code, Namespace, Refusal};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Uploads on their way. No namespace can have this name.
const UPLOADS: &str = ".uploads";

/// The storage of every namespace.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    root: PathBuf,
    namespaces: Vec<Namespace>,
}

/// Where a file of a namespace is or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The namespace's folder.
    base: PathBuf,
    /// The file below it, parts joined by `/`.
    pub(crate) relative: String,
}

impl Storage {
    /// Makes the folders and removes uploads that a former life left behind.
    pub(crate) fn open(root: &Path, namespaces: &[Namespace]) -> Result<Self, Failure> {
        let uploads = root.join(UPLOADS);
        let folders = namespaces.iter().map(|namespace| root.join(namespace.as_str()));
        let made = match fs::remove_dir_all(&uploads) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => folders.chain([uploads]).try_for_each(fs::create_dir_all),
        };
        let unusable = |e| Failure::from(e).context(format!("the storage {} cannot be written", root.display()));
        made.map_err(unusable)?;
        Ok(Self { root: root.to_owned(), namespaces: namespaces.to_owned() })
    }

    /// Where a path leads. Each part is a plain name: no `..`, nothing hidden, nothing empty.
    pub(crate) fn locate(&self, namespace: &Namespace, path: &str) -> Result<Place, Refusal> {
        if !self.namespaces.contains(namespace) {
            return Err(Refusal::new(Code::NoNamespace, format!("there is no namespace '{namespace}'")));
        }
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
        if !path.split('/').all(plain) || path.len() > 1024 {
            let reason = format!("'{path}' is no path in the storage: names joined by '/', none starting with '.'");
            return Err(Refusal::new(Code::BadDocument, reason));
        }
        Ok(Place { base: self.root.join(namespace.as_str()), relative: path.to_owned() })
    }

    /// A new file for an upload, beside the namespaces so that it can be renamed into them. Dropped: removed.
    pub(crate) fn upload(&self) -> io::Result<(File, TempPath)> {
        Ok(tempfile::Builder::new().tempfile_in(self.root.join(UPLOADS))?.into_parts())
    }
}

impl Place {
    /// The file and its length in bytes, if it is there.
    pub(crate) fn read(&self) -> Result<(File, u64), Refusal> {
        let missing = || Refusal::new(Code::NotFound, format!("there is no file '{}'", self.relative));
        let failed = |e: io::Error| match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => missing(),
            _ => self.failed(&e),
        };
        let path = self.base.join(&self.relative).canonicalize().map_err(failed)?;
        self.check_inside(&path)?;
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_file() { Ok((file, about.len())) } else { Err(missing()) }
    }

    /// Puts a whole, synced upload in its place, atomically and durably.
    pub(crate) fn write(&self, upload: TempPath) -> Result<(), Refusal> {
        let target = self.base.join(&self.relative);
        let folder = target.parent().unwrap_or(&self.base);
        fs::create_dir_all(folder).map_err(|e| self.failed(&e))?;
        self.check_inside(&folder.canonicalize().map_err(|e| self.failed(&e))?)?;
        upload.persist(&target).map_err(|e| self.failed(&e.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| self.failed(&e))
    }

    /// A link inside the storage may not lead out of it.
    fn check_inside(&self, path: &Path) -> Result<(), Refusal> {
        let base = self.base.canonicalize().map_err(|e| self.failed(&e))?;
        if path.starts_with(base) {
            return Ok(());
        }
        Err(Refusal::new(Code::BadDocument, format!("'{}' leads out of the namespace's storage", self.relative)))
    }

    /// What an error of the file system means to the asker.
    pub(crate) fn failed(&self, error: &io::Error) -> Refusal {
        let code = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::DiskFull,
            ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Code::BadDocument,
            _ => Code::Internal,
        };
        Refusal::new(code, format!("'{}' in the server's storage: {error}", self.relative))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (tempfile::TempDir, Storage) {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path(), &["default".parse().unwrap()]).unwrap();
        (folder, storage)
    }

    #[test]
    fn a_path_that_could_leave_its_namespace_is_refused() {
        let (_folder, storage) = storage();
        let namespace = "default".parse().unwrap();
        for bad in ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", ".hidden", "a/./b", "a\\b", "a\0", ".uploads/x"] {
            assert!(storage.locate(&namespace, bad).is_err(), "{bad:?}");
        }
        assert!(storage.locate(&namespace, "models/j/m.safetensors").is_ok());
        assert_eq!(storage.locate(&"other".parse().unwrap(), "a").unwrap_err().code, Code::NoNamespace);
    }

    #[test]
    fn a_link_that_leads_out_is_neither_read_nor_written_through() {
        let (folder, storage) = storage();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("default/link")).unwrap();
        let place = storage.locate(&"default".parse().unwrap(), "link/secret").unwrap();
        assert_eq!(place.read().unwrap_err().code, Code::BadDocument);
        let (_, upload) = storage.upload().unwrap();
        assert_eq!(place.write(upload).unwrap_err().code, Code::BadDocument);
        assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"s");
    }

    #[test]
    fn opening_removes_abandoned_uploads_and_keeps_files() {
        let (folder, storage) = storage();
        storage.upload().unwrap().1.keep().unwrap();
        fs::write(folder.path().join("default/kept"), "k").unwrap();
        Storage::open(folder.path(), &["default".parse().unwrap()]).unwrap();
        assert_eq!(fs::read_dir(folder.path().join(UPLOADS)).unwrap().count(), 0);
        assert!(folder.path().join("default/kept").exists());
    }
}
