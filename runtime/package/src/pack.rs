//! A folder, files, or bytes in memory as a zip that depends on nothing but names and contents.

use crate::{Limits, PackageError, check_name};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

/// Made by Python beside the scripts and different each time.
const LEFT_OUT: &str = "__pycache__";

/// Packs every file under `folder`. Hidden files and Python's caches are left out; links are refused.
///
/// # Errors
/// A folder that is not there or not readable, a link, a name that does not fit, more than `limits` allow.
pub fn pack_folder(folder: &Path, limits: &Limits) -> Result<Vec<u8>, PackageError> {
    let mut names = Vec::new();
    list(folder, "", &mut names)?;
    names.sort();
    if names.is_empty() {
        return Err(PackageError::NotPackable { path: folder.to_owned(), problem: "holds no files" });
    }
    limits.check_entries(names.len() as u64)?;
    let mut entries = Vec::with_capacity(names.len());
    let mut total = 0_u64;
    for name in names {
        let path = folder.join(&name);
        let unreadable = |source| PackageError::Unreadable { path: path.clone(), source };
        total = total.saturating_add(path.metadata().map_err(unreadable)?.len());
        limits.check_bytes(total)?;
        entries.push((name, std::fs::read(&path).map_err(unreadable)?));
    }
    let zip = pack_entries(entries.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))?;
    limits.check_packed(zip.len() as u64)?;
    Ok(zip)
}

/// Packs these entries, in the order given.
///
/// # Errors
/// A name that does not fit, or one that is there twice.
pub fn pack_entries<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>, PackageError> {
    let mut zip = Cursor::new(Vec::new());
    pack(entries.into_iter().map(|(name, bytes)| (name, bytes, bytes.len() as u64)), &mut zip)?;
    Ok(zip.into_inner())
}

/// Packs files, each with its name in the zip, in the order given.
///
/// # Errors
/// The same, and those of reading and writing.
pub fn pack_files(files: &[(String, File)], to: impl Write + Seek) -> Result<(), PackageError> {
    let with_length = |(name, file): &(String, File)| {
        let unreadable = |source| PackageError::Unreadable { path: name.into(), source };
        Ok((name.clone(), file.try_clone().map_err(unreadable)?, file.metadata().map_err(unreadable)?.len()))
    };
    let files = files.iter().map(with_length).collect::<Result<Vec<_>, PackageError>>()?;
    pack(files.iter().map(|(name, file, length)| (name.as_str(), file, *length)), to)
}

fn pack<'a>(
    entries: impl IntoIterator<Item = (&'a str, impl Read, u64)>,
    to: impl Write + Seek,
) -> Result<(), PackageError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(to);
    for (name, mut content, length) in entries {
        check_name(name).map_err(|problem| PackageError::NotPackable { path: name.into(), problem })?;
        zip.start_file(name, options.large_file(length >= u64::from(u32::MAX)))?;
        io::copy(&mut content, &mut zip).map_err(|source| PackageError::Disk { path: name.into(), source })?;
    }
    zip.finish()?;
    Ok(())
}

fn list(root: &Path, below: &str, names: &mut Vec<String>) -> Result<(), PackageError> {
    let folder = root.join(below);
    let unreadable = |source| PackageError::Unreadable { path: folder.clone(), source };
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let unfit = |problem| PackageError::NotPackable { path: path.clone(), problem };
        let Ok(name) = entry.file_name().into_string() else {
            return Err(unfit("has a name that is no UTF-8"));
        };
        if name.starts_with('.') || name == LEFT_OUT {
            continue;
        }
        let below = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(unreadable)?;
        match () {
            () if kind.is_dir() => list(root, &below, names)?,
            () if kind.is_file() => names.push(below),
            () if kind.is_symlink() => return Err(unfit("is a link: links are not sent, copy the file")),
            () => return Err(unfit("is no file")),
        }
    }
    Ok(())
}
