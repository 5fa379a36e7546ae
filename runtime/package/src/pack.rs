//! A folder, or bytes in memory, as a zip that depends on nothing but names and contents.

use crate::{Limits, PackageError, is_plain};
use std::io::{Cursor, Write as _};
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
    pack_entries(entries.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
}

/// Packs these entries, in the order given.
///
/// # Errors
/// A name that does not fit, or one that is there twice.
pub fn pack_entries<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>, PackageError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        if !is_plain(name) {
            return Err(PackageError::NotPackable { path: name.into(), problem: "has a name that cannot be sent" });
        }
        zip.start_file(name, options)?;
        zip.write_all(bytes).map_err(zip::result::ZipError::Io)?;
    }
    Ok(zip.finish()?.into_inner())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LIMITS: Limits = Limits { entries: 10, bytes: 1000 };

    #[test]
    fn the_same_content_gives_the_same_bytes_wherever_and_whenever_it_is_packed() {
        let pack = |order: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for name in order {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("content of {name}")).unwrap();
            }
            pack_folder(folder.path(), &LIMITS).unwrap()
        };
        let packed = pack(&["train.py", "lib/a.py", "lib/b.py", ".git/config", "__pycache__/x.pyc"]);
        assert_eq!(packed, pack(&["lib/b.py", "train.py", "lib/a.py"]));
        let names: Vec<String> = crate::check(&packed, &LIMITS).unwrap().names;
        assert_eq!(names, ["lib/a.py", "lib/b.py", "train.py"]);
    }

    #[test]
    fn what_cannot_be_packed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let failed = |folder: &Path| pack_folder(folder, &LIMITS).unwrap_err();
        assert!(failed(folder.path()).to_string().ends_with("holds no files"));
        let absent = failed(&folder.path().join("absent"));
        assert!(absent.to_string().contains("absent") && absent.code() == nsfl_types::Code::ScriptMissing, "{absent}");
        fs::write(folder.path().join("large"), [0; 1001]).unwrap();
        assert!(failed(folder.path()).to_string().contains("1001 bytes"));
        fs::remove_file(folder.path().join("large")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert!(failed(folder.path()).to_string().contains("is a link"));
        assert!(pack_entries([("../x", &b""[..])]).is_err());
    }
}
