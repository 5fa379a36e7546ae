//! Looks at a zip's directory before anything of it is read: names that stay inside, plain files and folders, no more than
//! is taken.

use crate::{Limits, PackageError, check_name};
use std::collections::BTreeSet;
use std::io::Cursor;
use zip::ZipArchive;

/// A zip in memory.
pub(crate) type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// An entry that is safe to unpack.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) index: usize,
    /// Without the `/` of a folder.
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    /// It is a program.
    pub(crate) is_executable: bool,
}

/// The archive and every entry of it, or why none of them is taken.
pub(crate) fn judged<'a>(zip: &'a [u8], limits: &Limits) -> Result<(Archive<'a>, Vec<Entry>), PackageError> {
    limits.check_packed(zip.len() as u64)?;
    let mut archive = ZipArchive::new(Cursor::new(zip))?;
    limits.check_entries(archive.len() as u64)?;
    if archive.has_duplicate_names() {
        return Err(PackageError::Twice);
    }
    let (mut entries, mut total) = (Vec::new(), 0_u64);
    for index in 0..archive.len() {
        let (entry, size) = judge(&mut archive, index)?;
        total = total.saturating_add(size);
        entries.push(entry);
    }
    no_two_in_one_place(&entries)?;
    limits.check_bytes(total)?;
    limits.check_ratio(zip.len() as u64, total)?;
    Ok((archive, entries))
}

/// An entry, and the size it says it has.
fn judge(archive: &mut Archive<'_>, index: usize) -> Result<(Entry, u64), PackageError> {
    let entry = archive.by_index_raw(index)?;
    let raw = String::from_utf8_lossy(entry.name_raw()).into_owned();
    let refused = |problem| Err(bad(&raw, problem));
    if raw.as_bytes() != entry.name_raw() {
        return refused("has a name that is no UTF-8");
    }
    let is_folder = entry.is_dir();
    let name = raw.strip_suffix('/').unwrap_or(&raw).to_owned();
    if let Err(problem) = check_name(&name) {
        return refused(problem);
    }
    if entry.encrypted() {
        return refused("is encrypted");
    }
    let mode = entry.unix_mode().unwrap_or(0);
    if entry.is_symlink() || !matches!(mode & 0o170_000, 0 | 0o100_000 | 0o040_000) {
        return refused("is neither a file nor a folder");
    }
    Ok((Entry { index, name, is_folder, is_executable: mode & 0o111 != 0 }, entry.size()))
}

fn no_two_in_one_place(entries: &[Entry]) -> Result<(), PackageError> {
    let mut seen = BTreeSet::new();
    if !entries.iter().all(|entry| seen.insert(&entry.name)) {
        return Err(PackageError::Twice);
    }
    let files: BTreeSet<&str> = entries.iter().filter(|e| !e.is_folder).map(|e| e.name.as_str()).collect();
    let lies_in_a_file =
        |entry: &&Entry| entry.name.match_indices('/').any(|(at, _)| files.contains(&entry.name[..at]));
    match entries.iter().find(lies_in_a_file) {
        Some(entry) => Err(bad(&entry.name, "lies in something that is a file")),
        None => Ok(()),
    }
}

/// The name comes from elsewhere: shortened, and nothing in it moves a cursor.
pub(crate) fn bad(name: &str, problem: &'static str) -> PackageError {
    PackageError::BadEntry { entry: name.chars().take(200).flat_map(char::escape_debug).collect(), problem }
}
