//! A worker's output on disk: the last of it, in two files of bounded size, and how to read their end.

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Copies to `path` until the end; beyond half of `max` bytes the file becomes `path.1`, in place of an older one.
pub(super) fn copy(mut from: impl Read, path: &Path, max: u64) -> io::Result<()> {
    let (mut file, mut len) = (create(path)?, 0);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if len + n as u64 > max / 2 && len > 0 {
            std::fs::rename(path, older(path))?;
            (file, len) = (create(path)?, 0);
        }
        // without room on the disk the script goes on, only its words are lost
        let _ = file.write_all(&buffer[..n]);
        len += n as u64;
    }
}

/// The last `bytes` of a log, by its path below `folder`. The script could have put anything in its place.
#[must_use]
pub fn log_tail(folder: &Path, log: &Path, bytes: usize) -> String {
    let last = |path: &Path, bytes: usize| -> io::Result<Vec<u8>> {
        let mut file = open_beneath(folder, path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(bytes as u64)))?;
        let mut text = Vec::new();
        file.take(bytes as u64).read_to_end(&mut text)?;
        Ok(text)
    };
    let newer = last(log, bytes).unwrap_or_default();
    let mut text = last(&older(log), bytes - newer.len().min(bytes)).unwrap_or_default();
    text.extend(newer);
    String::from_utf8_lossy(&text).into_owned()
}

/// Opens a regular file below `folder` for reading; symbolic links are not followed, and the path leads nowhere else. For
/// all that a script has left: it runs with less than the daemon's rights, and must not have the daemon read for it.
///
/// # Errors
/// No such file, a link on the way, not a regular file.
pub fn open_beneath(folder: &Path, path: &Path) -> io::Result<File> {
    let root = rustix::fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // a named pipe would be waited for
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(File::from(file))
}

fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP)?))
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_long_output_is_kept_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..20_000).map(|i| format!("line {i}\n")).collect();
        copy(text.as_bytes(), &dir.path().join("w.log"), 64 << 10).unwrap();
        let size: u64 = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(size <= 64 << 10, "{size}");
        let tail = log_tail(dir.path(), Path::new("w.log"), 30_000);
        assert_eq!(tail, text[text.len() - 30_000..]);
    }

    #[test]
    fn nothing_outside_the_folder_is_read_by_way_of_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "secret").unwrap();
        let folder = dir.path().join("task");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("plain"), "plain").unwrap();
        std::os::unix::fs::symlink(dir.path().join("key"), folder.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), folder.join("way")).unwrap();
        for path in ["link", "way/key", "../key"] {
            assert!(open_beneath(&folder, Path::new(path)).is_err(), "{path}");
        }
        assert!(open_beneath(dir.path(), Path::new("task")).is_err(), "a folder");
        assert_eq!(log_tail(&folder, Path::new("link"), 100), "");
        assert_eq!(log_tail(&folder, Path::new("plain"), 100), "plain");
    }
}
