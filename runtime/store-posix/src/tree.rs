//! The folder's layout and every change to its names: objects, references, partial files. Blocking.

use crate::fail::{failed, if_there, unsure};
use crate::{lock, part};
use nsfl_store::{Certainty, Owner, StoreError, SweepReport};
use nsfl_types::{BlobRef, Digest};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The folder.
pub(crate) struct Tree {
    root: PathBuf,
    fsync: bool,
    /// Held while links are made, taken or counted: an object without an owner cannot gain one while it is swept.
    links: Mutex<()>,
    /// When this value was made, in ns: a restarted container has the same process id as the one that crashed.
    opened: u128,
    made: AtomicU64,
    /// Objects whose bytes this process has hashed, when they came or when they were first read.
    trusted: Mutex<HashSet<Digest>>,
}

impl Tree {
    /// Makes the folders and tries a hard link.
    pub(crate) fn open(root: PathBuf, fsync: bool) -> Result<Self, StoreError> {
        let opened = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let tree =
            Self { root, fsync, links: Mutex::default(), opened, made: AtomicU64::new(0), trusted: Mutex::default() };
        for folder in ["objects", "refs", "partial/.new"] {
            let folder = tree.root.join(folder);
            fs::create_dir_all(&folder).map_err(failed("making folder", &folder))?;
        }
        tree.sync(&tree.root)?;
        tree.sync(&tree.root.join("partial"))?;
        let (probe, link) = (tree.new_partial(), tree.new_partial());
        File::create_new(&probe).map_err(failed("trying to write", &probe))?;
        let linked =
            fs::hard_link(&probe, &link).map_err(failed("trying a hard link (the file system needs them)", &link));
        part::remove(&probe)?;
        part::remove(&link)?;
        linked.map(|()| tree)
    }

    /// Whether changes are to be synced.
    pub(crate) fn is_durable(&self) -> bool {
        self.fsync
    }

    /// The partial file of a named writer; its folder is made.
    pub(crate) fn partial(&self, writer: &str, digest: Digest) -> Result<PathBuf, StoreError> {
        let one_name = !writer.contains('/');
        let name = Owner::new(writer).ok().filter(|_| one_name).ok_or_else(|| StoreError::Backend {
            what: format!("looking for partial blobs of '{writer}'"),
            certainty: Certainty::NotDone,
            source: "this name cannot write blobs: use a-z A-Z 0-9 . _ - +, not starting with '.'".into(),
        })?;
        let folder = self.root.join("partial").join(name.as_str());
        fs::create_dir_all(&folder).map_err(failed("making folder", &folder))?;
        Ok(folder.join(digest.to_hex()))
    }

    /// A name for a partial file that is nobody else's.
    pub(crate) fn new_partial(&self) -> PathBuf {
        self.root.join("partial/.new").join(self.unique())
    }

    /// Length of a whole blob. `Damaged` for a file without the content its name promises.
    pub(crate) fn len(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        let object = self.object(digest);
        match len_of(&object)? {
            Some(0) if digest != Digest::of(b"") => Err(damaged(&object, "it is empty")),
            len => Ok(len),
        }
    }

    /// Whether this blob is whole. With another length than announced, its content is hashed to find out who is wrong.
    pub(crate) fn is_whole(&self, announced: BlobRef) -> Result<bool, StoreError> {
        let Some(len) = self.len(announced.digest)? else { return Ok(false) };
        if len == announced.len {
            return Ok(true);
        }
        let object = self.object(announced.digest);
        let found = Digest::of(&fs::read(&object).map_err(failed("reading", &object))?);
        if found == announced.digest {
            return Err(StoreError::WrongDigest { expected: announced.digest, found });
        }
        Err(damaged(&object, &format!("it has {len} bytes, announced was a blob of {}", announced.len)))
    }

    /// The file of a whole blob.
    pub(crate) fn existing(&self, digest: Digest) -> Result<PathBuf, StoreError> {
        self.len(digest)?.ok_or_else(|| not_found(digest))?;
        Ok(self.object(digest))
    }

    /// Turns a complete, synced partial file into an object with an owner.
    pub(crate) fn add(&self, partial: &Path, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        let object = self.object(digest);
        let shard = object.parent().unwrap_or(&self.root);
        if if_there(fs::metadata(shard)).map_err(failed("reading", shard))?.is_none() {
            fs::create_dir_all(shard).map_err(failed("making folder", shard))?;
            self.sync(&self.root.join("objects"))?;
        }
        let changed = {
            let _links = lock(&self.links);
            // An object is never replaced: owners' links lead to its inode.
            match len_of(&object)? {
                Some(_) => part::remove(partial)?,
                None => {
                    fs::rename(partial, &object).map_err(failed("making object", &object))?;
                    lock(&self.trusted).insert(digest);
                }
            }
            self.link(digest, owner)?
        };
        self.sync(shard)?;
        changed.iter().try_for_each(|folder| self.sync(folder))
    }

    /// Hashes an object that this process has not hashed yet. One that is damaged is set aside with its owners' links, so
    /// that the blob can be written again.
    pub(crate) fn check(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if lock(&self.trusted).contains(&digest) {
            return Ok(());
        }
        let found = Digest::of(bytes);
        if found == digest {
            lock(&self.trusted).insert(digest);
            return Ok(());
        }
        let aside = self.root.join("damaged");
        fs::create_dir_all(&aside).map_err(failed("making folder", &aside))?;
        let (object, kept) = (self.object(digest), aside.join(digest.to_hex()));
        let _links = lock(&self.links);
        fs::rename(&object, &kept).map_err(failed("setting aside", &object))?;
        remove_links(&self.root.join("refs"), digest)?;
        tracing::error!(%digest, %found, kept = %kept.display(), "stored blob is damaged and was set aside");
        Err(StoreError::WrongDigest { expected: digest, found })
    }

    /// Adds an owner.
    pub(crate) fn retain(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        let changed = {
            let _links = lock(&self.links);
            self.existing(digest)?;
            self.link(digest, owner)?
        };
        changed.iter().try_for_each(|folder| self.sync(folder))
    }

    /// Takes an owner away.
    pub(crate) fn release(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        let reference = self.reference(digest, owner);
        let links = lock(&self.links);
        if if_there(fs::remove_file(&reference)).map_err(failed("releasing", &reference))?.is_none() {
            return Ok(());
        }
        let left = self.prune(&reference);
        drop(links);
        self.sync(&left)
    }

    /// Takes away an owner and those under it.
    pub(crate) fn release_all(&self, owner: &Owner) -> Result<(), StoreError> {
        let folder = self.root.join("refs").join(owner.as_str());
        let links = lock(&self.links);
        if if_there(fs::remove_dir_all(&folder)).map_err(unsure("releasing", &folder))?.is_none() {
            return Ok(());
        }
        let left = self.prune(&folder);
        drop(links);
        self.sync(&left)
    }

    /// Removes objects that have no link but their own, and tells of each.
    pub(crate) fn sweep_objects(&self, report: &mut SweepReport, removed: impl Fn(Digest)) -> Result<(), StoreError> {
        for shard in list(&self.root.join("objects"))? {
            for object in list(&shard)? {
                let name = object.file_name().and_then(OsStr::to_str).unwrap_or_default();
                let Ok(digest) = name.parse::<Digest>() else { continue };
                let _links = lock(&self.links);
                let Some(file) = if_there(fs::metadata(&object)).map_err(failed("reading", &object))? else { continue };
                if file.nlink() == 1 {
                    part::remove(&object)?;
                    lock(&self.trusted).remove(&digest);
                    removed(digest);
                    report.blobs += 1;
                    report.bytes += file.len();
                }
            }
        }
        Ok(())
    }

    /// Offers partial files untouched for `idle` to `guard`, which removes those that nobody writes.
    pub(crate) fn sweep_partials(
        &self,
        idle: Duration,
        report: &mut SweepReport,
        guard: impl Fn(&Path, &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for writer in list(&self.root.join("partial"))? {
            for path in list(&writer)? {
                guard(&path, &mut || {
                    let Some(file) = if_there(fs::metadata(&path)).map_err(failed("reading", &path))? else {
                        return Ok(());
                    };
                    // A clock that was set back makes a file look younger, never older.
                    let age = file.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
                    if age >= idle {
                        part::remove(&path)?;
                        report.partials += 1;
                        report.bytes += file.len();
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Copies a blob to a file of its own.
    pub(crate) fn export(&self, digest: Digest, to: &Path) -> Result<(), StoreError> {
        let object = self.existing(digest)?;
        let mut source = File::open(&object).map_err(failed("opening", &object))?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed("making folder", folder))?;
        let beside = folder.join(format!(".{}", self.unique()));
        let copied = File::create_new(&beside)
            .and_then(|mut file| {
                io::copy(&mut source, &mut file)?;
                if self.fsync { file.sync_all() } else { Ok(()) }
            })
            .and_then(|()| fs::rename(&beside, to));
        if copied.is_err() {
            part::remove(&beside)?;
        }
        copied.map_err(failed("exporting to", to))?;
        self.sync(folder)
    }

    /// Makes a blob readable at a path: a hard link, or a copy on another file system.
    pub(crate) fn lend(&self, digest: Digest, path: &Path) -> Result<(), StoreError> {
        let object = self.existing(digest)?;
        let lent = fs::hard_link(&object, path).or_else(|e| match e.kind() {
            ErrorKind::CrossesDevices => fs::copy(&object, path).map(drop),
            _ => Err(e),
        });
        lent.map_err(failed("lending to", path))
    }

    fn unique(&self) -> String {
        format!("{}-{}-{}", std::process::id(), self.opened, self.made.fetch_add(1, Ordering::Relaxed))
    }

    fn object(&self, digest: Digest) -> PathBuf {
        let hex = digest.to_hex();
        self.root.join("objects").join(&hex[..2]).join(hex)
    }

    /// `@` is in no owner's name, so that references and owners cannot be mixed up.
    fn reference(&self, digest: Digest, owner: &Owner) -> PathBuf {
        self.root.join("refs").join(owner.as_str()).join(format!("@{digest}"))
    }

    /// Makes the reference, under the lock. Returns the folders that have changed.
    fn link(&self, digest: Digest, owner: &Owner) -> Result<Vec<PathBuf>, StoreError> {
        let (object, reference) = (self.object(digest), self.reference(digest, owner));
        let folder = reference.parent().unwrap_or(&self.root);
        let mut changed = vec![folder.to_owned()];
        if if_there(fs::metadata(folder)).map_err(failed("reading", folder))?.is_none() {
            fs::create_dir_all(folder).map_err(failed("making folder", folder))?;
            let refs = self.root.join("refs");
            changed.extend(folder.ancestors().skip(1).take_while(|up| up.starts_with(&refs)).map(Path::to_owned));
        }
        match fs::hard_link(&object, &reference) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // A link to an object that was taken away by hand does not count for its successor.
                let inode = |path: &Path| fs::metadata(path).map(|file| file.ino()).map_err(failed("reading", path));
                if inode(&object)? != inode(&reference)? {
                    part::remove(&reference)?;
                    fs::hard_link(&object, &reference).map_err(failed("linking", &reference))?;
                }
            }
            linked => linked.map_err(failed("linking", &reference))?,
        }
        Ok(changed)
    }

    /// Removes the folders above `gone` that are empty now. Returns the first that is left.
    fn prune(&self, gone: &Path) -> PathBuf {
        let refs = self.root.join("refs");
        let above = gone.ancestors().skip(1);
        above.take_while(|up| **up != refs).find(|up| fs::remove_dir(up).is_err()).unwrap_or(&refs).to_owned()
    }

    /// Makes a folder's names durable; nothing when it was removed meanwhile.
    fn sync(&self, folder: &Path) -> Result<(), StoreError> {
        if !self.fsync {
            return Ok(());
        }
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        if_there(synced).map(drop).map_err(unsure("syncing", folder))
    }
}

/// A file's length, if it is there.
pub(crate) fn len_of(path: &Path) -> Result<Option<u64>, StoreError> {
    let file = if_there(fs::metadata(path)).map_err(failed("reading", path))?;
    Ok(file.map(|file| file.len()))
}

/// What is in a folder; nothing when it is absent.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = if_there(fs::read_dir(folder)).map_err(failed("listing", folder))?;
    let paths = entries.into_iter().flatten().map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(failed("listing", folder))
}

/// Takes every owner of a blob away.
fn remove_links(folder: &Path, digest: Digest) -> Result<(), StoreError> {
    for entry in list(folder)? {
        if entry.is_dir() {
            remove_links(&entry, digest)?;
        } else if entry.file_name().and_then(OsStr::to_str).is_some_and(|name| name.parse() == Ok(digest)) {
            part::remove(&entry)?;
        }
    }
    Ok(())
}

fn not_found(digest: Digest) -> StoreError {
    StoreError::NotFound(format!("blob {digest}"))
}

fn damaged(object: &Path, how: &str) -> StoreError {
    let what =
        format!("{}: {how}; remove the file, and the blob is written again when it is next sent", object.display());
    StoreError::Damaged(what)
}
