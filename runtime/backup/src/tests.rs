//! What was written comes back to the byte; what was changed, cut or made elsewhere does not come back at all.

use super::*;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

const OBJECT: &str = "blobs/objects/aa/aa11";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("nsfl.sqlite", &[7; 5000]);
    write(OBJECT, &(0..100_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    write(&format!("storage/default/{}/x", "long".repeat(40)), b"x");
    write("storage/default/empty", b"");
    fs::set_permissions(folder.path().join(OBJECT), fs::Permissions::from_mode(0o444)).unwrap();
    folder
}

fn paths() -> Vec<String> {
    let long = format!("storage/default/{}/x", "long".repeat(40));
    vec!["nsfl.sqlite".into(), OBJECT.into(), long, "storage/default/empty".into()]
}

fn archive() -> Vec<u8> {
    let folder = folder();
    let mut archive = Archive::begin(Vec::new(), "0.1.0", 5).unwrap();
    for path in paths() {
        archive.add(&path, &folder.path().join(&path)).unwrap();
    }
    archive.link("blobs/refs/default/j/run-1/models/@aa11".into(), OBJECT.into());
    archive.finish().unwrap()
}

fn damaged(bytes: &[u8]) -> String {
    match verify(bytes) {
        Err(error @ ArchiveError::Damaged(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn what_was_written_comes_back_with_its_links() {
    let (original, target) = (folder(), tempfile::tempdir().unwrap());
    let contents = restore(archive().as_slice(), target.path()).unwrap();
    assert_eq!((contents.header.created_ms, contents.files, contents.bytes), (5, 4, 405_001));
    for path in paths() {
        let read = |folder: &Path| fs::read(folder.join(&path)).unwrap();
        assert_eq!(read(target.path()), read(original.path()), "{path}");
    }
    let inode = |path: &str| fs::metadata(target.path().join(path)).unwrap().ino();
    assert_eq!(inode("blobs/refs/default/j/run-1/models/@aa11"), inode(OBJECT));
    assert_eq!(fs::metadata(target.path().join(OBJECT)).unwrap().mode() & 0o777, 0o444);
    assert!(!target.path().join(UNFINISHED).exists());
}

#[test]
fn a_flipped_bit_and_a_cut_anywhere_are_found_and_leave_the_folder_empty() {
    let whole = archive();
    // not in the padding, and not in what tar says of owners and times
    let entry = |path: &str| whole.windows(path.len()).position(|w| w == path.as_bytes()).unwrap();
    let manifest = whole.len() - 512 * 4;
    let places = [entry("backup.json"), 512 + 20, entry(OBJECT) + 512 + 77, entry("storage/default/empty"), manifest];
    let target = tempfile::tempdir().unwrap();
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        damaged(&bytes);
        assert!(restore(bytes.as_slice(), target.path()).is_err() && is_empty(target.path()), "at {at}");
    }
    for len in (0..whole.len() - 1024).step_by(1777) {
        damaged(&whole[..len]);
    }
    assert!(damaged(&[whole.as_slice(), b"more"].concat()).contains("something follows"));
    assert!(damaged(b"").contains("ends before its manifest"));
    assert!(damaged(&[0x55; 4096]).contains("damaged"));
}

#[test]
fn a_newer_form_is_refused_and_named_before_anything_is_unpacked() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let text = br#"{"format": 9, "version": "7.0.0", "something": "new"}"#;
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, HEADER, text.as_slice()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let error = restore(tar.into_inner().unwrap().as_slice(), target.path()).unwrap_err().to_string();
    assert!(error.contains("form 9") && error.contains("7.0.0"), "{error}");
    assert!(is_empty(target.path()));
}

#[test]
fn a_path_that_leads_out_is_neither_written_nor_unpacked() {
    let mut archive = Archive::begin(Vec::new(), "0.1.0", 5).unwrap();
    let file = folder().path().join("nsfl.sqlite");
    for path in ["../x", "/etc/x", "blobs/../../x", "other", "storage/./../../x"] {
        assert!(archive.add(path, &file).is_err(), "{path}");
        assert!(!is_inside(path), "{path}");
    }
    // as an evil hand would make it: the tar crate refuses to write such a name
    let mut bytes = super::tests::archive();
    let at = bytes.windows(11).position(|w| w == b"nsfl.sqlite").unwrap();
    bytes[at..at + 11].copy_from_slice(b"../..sqlite");
    let sum: u32 =
        bytes[at..at + 148].iter().chain(&[b' '; 8]).chain(&bytes[at + 156..at + 512]).map(|b| u32::from(*b)).sum();
    bytes[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(damaged(&bytes).contains("no place in a backup"), "{}", damaged(&bytes));
}

#[test]
fn a_folder_with_something_in_it_is_left_as_it_is() {
    let target = tempfile::tempdir().unwrap();
    fs::write(target.path().join("kept"), "k").unwrap();
    assert!(matches!(restore(archive().as_slice(), target.path()), Err(ArchiveError::NotEmpty(_))));
    assert_eq!(fs::read(target.path().join("kept")).unwrap(), b"k");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_read_ends_the_writing() {
    let folder = folder();
    let file: PathBuf = folder.path().join("storage/default/growing");
    fs::write(&file, [1; 10]).unwrap();
    let mut archive = Archive::begin(Vec::new(), "0.1.0", 5).unwrap();
    let said = archive.entry("storage/default/growing", fs::File::open(&file).unwrap().take(4), 10, 0o644).unwrap_err();
    assert!(said.to_string().contains("4 of 10 bytes"), "{said}");
}

/// Run by hand when the form changes: then the archive gets the next number, and the older ones stay.
#[test]
#[ignore = "makes the golden archive of this form"]
fn make_golden_archive() {
    let folder = folder();
    let mut archive = Archive::begin(Vec::new(), "0.1.0", 5).unwrap();
    for path in ["nsfl.sqlite", "storage/default/empty"] {
        archive.add(path, &folder.path().join(path)).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/backup.1.tar");
    fs::write(path, archive.finish().unwrap()).unwrap();
}

#[test]
fn an_archive_of_form_1_is_read() {
    let golden = include_bytes!("../golden/backup.1.tar");
    let contents = verify(golden.as_slice()).unwrap();
    assert_eq!((contents.header.version.as_str(), contents.files), ("0.1.0", 2));
}
