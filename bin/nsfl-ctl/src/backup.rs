//! `backup` and `restore` of a server's state. A backup comes from a running server over REST; it is restored into an empty
//! folder on the server's machine, without a server.

use crate::cli::{Backup, Restore};
use crate::fault::Fault;
use crate::print::{result, talk};
use crate::rest::Rest;
use nsfl_backup::{ArchiveError, Contents};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Streams a backup into a file, which appears whole, checked and synced, or not at all.
pub(crate) fn take(rest: &Rest, args: &Backup) -> Result<(), Fault> {
    let path = &args.file;
    if path.exists() {
        return Err(Fault::file(path, "exists: give another name, or remove it"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(|e| unwritable(path, &e))?;
    let mut copied = Copied { from: rest.download("/api/v1/backup")?, to: file.as_file_mut(), failed: None };
    let contents = nsfl_backup::verify(&mut copied);
    match copied.failed {
        Some(Failed::From(e)) => return Err(Fault::Refused(format!("the backup was cut: {e}; nothing was kept"))),
        Some(Failed::To(e)) => return Err(unwritable(path, &e)),
        None => {}
    }
    let contents = contents.map_err(|e| fault(path, e))?;
    file.as_file().sync_all().map_err(|e| unwritable(path, &e))?;
    file.persist_noclobber(path).map_err(|e| unwritable(path, &e.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| unwritable(path, &e))?;
    result(&format!("{}: {}\n", path.display(), described(&contents)))
}

/// Unpacks a backup into an empty folder.
pub(crate) fn restore(args: &Restore) -> Result<(), Fault> {
    let path = &args.file;
    let file = File::open(path).map_err(|e| Fault::file(path, e))?;
    let contents = nsfl_backup::restore(BufReader::with_capacity(1 << 18, file), &args.data_dir);
    let contents = contents.map_err(|e| fault(path, e))?;
    talk("check it with `nsfl-node fsck server`, then start the server: running jobs go on");
    result(&format!("{}: {}\n", args.data_dir.display(), described(&contents)))
}

fn described(contents: &Contents) -> String {
    let Contents { header, files, bytes } = contents;
    format!("{files} files, {bytes} bytes, of version {}", header.version)
}

fn fault(archive: &Path, error: ArchiveError) -> Fault {
    match error {
        ArchiveError::Damaged(_) | ArchiveError::Newer { .. } => {
            Fault::Unusable(format!("{}: {error}", archive.display()))
        }
        ArchiveError::NotEmpty(_) => Fault::Usage(error.to_string()),
        ArchiveError::Write { .. } => Fault::Refused(error.to_string()),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::Refused(format!("cannot write {}: {error}", path.display()))
}

/// Which side of a copy failed.
enum Failed {
    From(io::Error),
    To(io::Error),
}

/// Whoever reads this writes a copy of it.
struct Copied<'a, R> {
    from: R,
    to: &'a mut File,
    failed: Option<Failed>,
}

impl<R: Read> Read for Copied<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, failed) = match self.from.read(buffer) {
            Ok(read) => match self.to.write_all(&buffer[..read]) {
                Ok(()) => return Ok(read),
                Err(error) => (Err(io::Error::from(error.kind())), Failed::To(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => (Err(io::Error::from(error.kind())), Failed::From(error)),
        };
        self.failed.get_or_insert(failed);
        read
    }
}
