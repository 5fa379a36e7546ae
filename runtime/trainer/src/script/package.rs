//! Zips that come from elsewhere, unpacked with suspicion, and zips of what a script hands over. A package is judged as a
//! whole before a byte of it is written, and what it says of itself is not believed while it is written.

use nsfl_types::{Code, Refusal};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Entries of a package at most.
const MAX_ENTRIES: usize = 10_000;
/// Bytes of a name at most, and folders in each other.
const MAX_NAME: usize = 1024;
const MAX_DEPTH: usize = 32;
/// How many times its size a package may grow to, once it unpacks to more than `SMALL`.
const MAX_RATIO: u64 = 200;
const SMALL: u64 = 1 << 20;

/// Unpacks `zip` into `folder`, which must exist. On an error what is in `folder` is of no use.
///
/// # Errors
/// `bad-package`: no zip, a name that leaves the folder or is there twice, a link or a device, encrypted, or more than
/// `max_bytes` in all. The disk's own errors.
pub fn unpack(zip: impl AsRef<[u8]>, folder: &Path, max_bytes: u64) -> Result<(), Refusal> {
    let zip = zip.as_ref();
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|e| bad(format!("it is no zip: {e}")))?;
    let names = judge(&mut archive, zip.len() as u64, max_bytes)?;
    let mut left = max_bytes;
    for (index, name) in names {
        let place = folder.join(&name);
        let Entry { is_folder, mode } = Entry::of(&mut archive, index)?;
        if is_folder {
            make_folder(&place)?;
            continue;
        }
        make_folder(place.parent().unwrap_or(folder))?;
        let mut entry = archive.by_index(index).map_err(|e| bad(format!("'{}': {e}", name.display())))?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&place).map_err(|e| disk(&place, &e))?;
        left -= copy(&mut entry, &mut file, left, &name)?;
    }
    Ok(())
}

/// Every entry's index and safe relative path, or why none of them is taken.
fn judge(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    packed: u64,
    max_bytes: u64,
) -> Result<Vec<(usize, PathBuf)>, Refusal> {
    if archive.len() > MAX_ENTRIES {
        return Err(bad(format!("it has {} entries, at most {MAX_ENTRIES} are allowed", archive.len())));
    }
    if archive.has_duplicate_names() {
        return Err(bad("a name is in it twice"));
    }
    let (mut names, mut seen, mut files) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut total: u64 = 0;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|e| bad(format!("entry {index}: {e}")))?;
        let raw = String::from_utf8(entry.name_raw().to_vec())
            .map_err(|_| bad(format!("the name of entry {index} is no UTF-8")))?;
        let name = safe(&raw).map_err(|problem| bad(format!("'{}' {problem}", shown(&raw))))?;
        if entry.encrypted() {
            return Err(bad(format!("'{}' is encrypted", shown(&raw))));
        }
        let kind = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
        if !matches!(kind, 0 | 0o100_000 | 0o040_000) || entry.is_symlink() {
            return Err(bad(format!("'{}' is neither a file nor a folder", shown(&raw))));
        }
        total = total.saturating_add(entry.size());
        let is_folder = entry.is_dir();
        drop(entry);
        if !is_folder {
            files.insert(name.clone());
        }
        if !seen.insert(name.clone()) {
            return Err(bad(format!("'{}' is in it twice", shown(&raw))));
        }
        names.push((index, name));
    }
    if let Some(name) = seen.iter().find(|name| name.ancestors().skip(1).any(|above| files.contains(above))) {
        return Err(bad(format!("'{}' lies in something that is a file", shown(&name.to_string_lossy()))));
    }
    if total > max_bytes {
        return Err(bad(format!("it unpacks to {total} bytes, at most {max_bytes} are allowed")));
    }
    if total > SMALL && total / packed.max(1) > MAX_RATIO {
        return Err(bad(format!("it unpacks to {total} bytes, more than {MAX_RATIO} times its size")));
    }
    Ok(names)
}

/// A name as a relative path that stays where it is put.
fn safe(name: &str) -> Result<PathBuf, &'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("is no file name of usual length");
    }
    if name.contains(['\\', '\0']) {
        return Err("holds a character that is no part of a file name");
    }
    if name.starts_with('/') {
        return Err("is an absolute path");
    }
    let path = PathBuf::from(name);
    if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err("leaves the package's folder");
    }
    let path: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    match path.components().count() {
        0 => Err("names nothing"),
        1..=MAX_DEPTH => Ok(path),
        _ => Err("lies too deep"),
    }
}

/// The path of a file named from outside, relative to a folder of ours and staying in it.
///
/// # Errors
/// `bad-package`, when it would leave the folder.
pub fn inside(name: &str) -> Result<PathBuf, Refusal> {
    safe(name).map_err(|problem| bad(format!("'{}' {problem}", shown(name))))
}

struct Entry {
    is_folder: bool,
    mode: u32,
}

impl Entry {
    fn of(archive: &mut ZipArchive<Cursor<&[u8]>>, index: usize) -> Result<Self, Refusal> {
        let entry = archive.by_index_raw(index).map_err(|e| bad(e.to_string()))?;
        // scripts are read, a program among them is run; nothing of a package is to be written
        let mode = if entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0) { 0o555 } else { 0o444 };
        Ok(Self { is_folder: entry.is_dir(), mode })
    }
}

/// Copies what an entry really holds; its length was only announced.
fn copy(entry: &mut impl Read, file: &mut File, left: u64, name: &Path) -> Result<u64, Refusal> {
    let mut limited = entry.take(left + 1);
    let mut block = vec![0; 64 * 1024];
    let mut copied = 0;
    loop {
        let n = match limited.read(&mut block) {
            Ok(0) => return Ok(copied),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(bad(format!("'{}': {e}", name.display()))),
        };
        copied += n as u64;
        if copied > left {
            return Err(bad(format!("'{}' unpacks to more than it says", name.display())));
        }
        file.write_all(&block[..n]).map_err(|e| disk(name, &e))?;
    }
}

/// Packs files, each with its name in the zip, into a zip that is the same for the same content.
///
/// # Errors
/// Of a read or write.
pub fn pack(items: impl IntoIterator<Item = (String, File)>, to: impl Write + Seek) -> io::Result<()> {
    let mut writer = ZipWriter::new(to);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    for (name, mut file) in items {
        let large = file.metadata()?.len() >= u64::from(u32::MAX);
        writer.start_file(name, options.large_file(large))?;
        io::copy(&mut file, &mut writer)?;
    }
    writer.finish()?;
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), Refusal> {
    std::fs::create_dir_all(folder).map_err(|e| disk(folder, &e))
}

fn bad(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::BadPackage, format!("the package was not unpacked: {problem}"))
}

fn disk(path: &Path, error: &io::Error) -> Refusal {
    let code = if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { Code::Internal };
    Refusal::new(code, format!("the package was not unpacked: {}: {error}", path.display()))
}

fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
