//! Unpacking an archive into an empty folder: all of it or nothing that could be taken for it.

use crate::read::{ArchiveError, Contents, read, unreadable};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The folder within the restored one in which everything is until it is checked. A node does not start beside it.
pub const UNFINISHED: &str = ".restoring";

const PIECE: usize = 1 << 18;

/// Unpacks a whole archive into `folder`, which is empty or made. On an error the folder is empty again.
///
/// # Errors
/// The archive is not whole or newer; the folder is not empty, or cannot be written.
pub fn restore(from: impl Read, folder: &Path) -> Result<Contents, ArchiveError> {
    fs::create_dir_all(folder).map_err(wrote("making folder", folder))?;
    if fs::read_dir(folder).map_err(wrote("reading", folder))?.next().is_some() {
        return Err(ArchiveError::NotEmpty(folder.to_owned()));
    }
    let staged = folder.join(UNFINISHED);
    fs::create_dir(&staged).map_err(wrote("making folder", &staged))?;
    let done = unpack(from, &staged).and_then(|contents| in_place(&staged, folder).map(|()| contents));
    if done.is_err() {
        fs::remove_dir_all(&staged).map_err(wrote("removing", &staged))?;
    }
    done
}

fn unpack(from: impl Read, staged: &Path) -> Result<Contents, ArchiveError> {
    let whole = read(from, |path, mode, bytes| {
        let target = staged.join(path);
        let parent = target.parent().unwrap_or(staged);
        fs::create_dir_all(parent).map_err(wrote("making folder", parent))?;
        write(bytes, &target, mode)
    })?;
    for link in &whole.manifest.links {
        let (path, to) = (staged.join(&link.path), staged.join(&link.to));
        let parent = path.parent().unwrap_or(staged);
        fs::create_dir_all(parent).map_err(wrote("making folder", parent))?;
        fs::hard_link(&to, &path).map_err(wrote("linking", &path))?;
    }
    sync_folders(staged).map_err(wrote("syncing", staged))?;
    Ok(whole.contents)
}

fn write(from: &mut dyn Read, target: &Path, mode: u32) -> Result<(), ArchiveError> {
    let failed = || wrote("writing", target);
    let mut file = File::create_new(target).map_err(failed())?;
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).map_err(|e| unreadable(&e))? {
            0 => break,
            n => file.write_all(&piece[..n]).map_err(failed())?,
        }
    }
    file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(failed())?;
    file.sync_all().map_err(failed())
}

/// The database last: without it there is nothing to start from.
fn in_place(staged: &Path, folder: &Path) -> Result<(), ArchiveError> {
    let entries = fs::read_dir(staged).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(wrote("reading", staged))?;
    entries.sort_by_key(|entry| entry.path().is_file());
    for entry in entries {
        let target = folder.join(entry.file_name());
        fs::rename(entry.path(), &target).map_err(wrote("making", &target))?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(wrote("syncing", folder))?;
    fs::remove_dir(staged).map_err(wrote("removing", staged))
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

fn wrote(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let what = format!("{doing} {}", path.display());
    move |source| ArchiveError::Write { what: format!("{what}: {source}"), source }
}
