//! What is packed and unpacked, and what is refused before it can do harm.

use super::*;
use nsfl_types::Code;
use std::fs::{self, File};
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const FILE: u32 = 0o100_644;
const LIMITS: Limits = Limits { packed: 1 << 20, entries: 10, bytes: 1000, ratio: Some(200) };

/// A zip with one stored entry for each (name, mode, content), written by hand: no library makes most of these.
fn raw(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, content) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut common = Vec::new();
        for field in [20_u16, 0, 0, 0, 33] {
            common.extend(field.to_le_bytes());
        }
        common.extend(crc.sum().to_le_bytes());
        for field in [content.len() as u32, content.len() as u32] {
            common.extend(field.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        let offset = file.len() as u32;
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    for field in [entries.len() as u16, entries.len() as u16] {
        file.extend(field.to_le_bytes());
    }
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend(0_u16.to_le_bytes());
    file
}

/// Looking into it and unpacking it refuse it for the same reason, and nothing is written.
fn refused(zip: &[u8], limits: &Limits) -> String {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("scripts");
    fs::create_dir(&folder).unwrap();
    let error = unpack(zip, &folder, limits).unwrap_err();
    let large = matches!(error, PackageError::TooLarge { .. } | PackageError::Bomb { .. });
    let code = if large { Code::PackageTooLarge } else { Code::BadPackage };
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{error}: nothing was written");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let refusal = error.refusal("it");
    assert_eq!(check(zip, limits).unwrap_err().refusal("it"), refusal);
    refusal.reason
}

#[test]
fn a_package_is_unpacked_with_its_folders_and_may_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let zip = raw(&[("train.py", FILE, b"print()"), ("lib/", 0o040_755, b""), ("lib/a/run", 0o100_755, b"#!")]);
    unpack(&zip, dir.path(), &LIMITS).unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((read("train.py"), read("lib/a/run")), ("print()".into(), "#!".into()));
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("train.py"), mode("lib/a/run")), (0o444, 0o555));
    let listing = check(&zip, &LIMITS).unwrap();
    assert_eq!(listing.names, ["lib/a/run", "train.py"]);
    assert!(listing.has("train.py") && !listing.has("lib"));
}

#[test]
fn names_that_leave_the_folder_links_and_devices_are_refused_before_anything_is_written() {
    let good: (&str, u32, &[u8]) = ("good.py", FILE, b"x");
    let cases: [(&str, u32, &str); 14] = [
        ("../evil", FILE, "leaves the folder"),
        ("a/../../evil", FILE, "leaves the folder"),
        ("a/../evil", FILE, "leaves the folder"),
        ("/etc/evil", FILE, "absolute"),
        ("a\\..\\evil", FILE, "character"),
        ("c:evil", FILE, "character"),
        ("a\0b", FILE, "character"),
        ("", FILE, "no name"),
        ("./", 0o040_755, "shorter"),
        ("./good.py", FILE, "shorter"),
        ("link", 0o120_777, "neither a file nor a folder"),
        ("device", 0o020_666, "neither a file nor a folder"),
        ("good.py", FILE, "twice"),
        ("good.py/below", FILE, "is a file"),
    ];
    for (name, mode, expected) in cases {
        let reason = refused(&raw(&[good, (name, mode, b"y")]), &LIMITS);
        assert!(reason.contains(expected), "{name:?}: {reason}");
    }
    let deep = "a/".repeat(40) + "x";
    assert!(refused(&raw(&[(&deep, FILE, b"y")]), &LIMITS).contains("deep"));
    assert!(refused(b"no zip at all", &LIMITS).contains("no readable zip"));
    let zip = raw(&[good]);
    assert!(refused(&zip[..zip.len() - 30], &LIMITS).contains("no readable zip"));
}

#[test]
fn bombs_are_refused_by_what_they_say_and_by_what_they_do() {
    let zeros = |len: usize| pack_entries([("zeros", &vec![0; len][..])]).unwrap();
    let bomb = zeros(4_000_000);
    let up_to = |bytes| Limits { bytes, ..LIMITS };
    assert!(refused(&bomb, &up_to(3_999_999)).contains("4000000 bytes unpacked is more than the 3999999"));
    assert!(refused(&bomb, &up_to(5_000_000)).contains("times its size"));
    assert!(check(&bomb, &Limits::of_data(5_000_000)).is_ok(), "data may be zeros");
    assert!(refused(&bomb, &Limits { packed: 100, ..LIMITS }).contains("more than the 100 that are taken"));
    // says 10 bytes and holds 500000
    let mut liar = zeros(500_000);
    let size = 500_000_u32.to_le_bytes();
    while let Some(at) = liar.windows(4).position(|window| window == size) {
        liar[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(unpack(&liar, dir.path(), &LIMITS).unwrap_err().code(), Code::BadPackage);
    assert_eq!(check(&liar, &LIMITS).unwrap_err().code(), Code::BadPackage);
    let written = fs::metadata(dir.path().join("zeros")).map_or(0, |meta| meta.len());
    assert!(written <= 1000, "{written}");
    let many: Vec<String> = (0..=LIMITS.entries).map(|i| i.to_string()).collect();
    let many: Vec<(&str, u32, &[u8])> = many.iter().map(|name| (name.as_str(), FILE, &b""[..])).collect();
    assert!(refused(&raw(&many), &LIMITS).contains("11 entries"));
}

#[test]
fn files_are_packed_the_same_for_the_same_content_and_unpack() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p"), "{\"a\": 1}").unwrap();
    let packed = || {
        let file = |name: &str| (name.to_owned(), File::open(dir.path().join("p")).unwrap());
        let mut zip = Cursor::new(Vec::new());
        pack_files(&[file("parameters.json"), file("files/ä b")], &mut zip).unwrap();
        zip.into_inner()
    };
    let zip = packed();
    assert_eq!(zip, packed());
    unpack(&zip, dir.path(), &LIMITS).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("files/ä b")).unwrap(), "{\"a\": 1}");
}

#[test]
fn the_same_folder_gives_the_same_bytes_wherever_and_whenever_it_is_packed() {
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
    assert_eq!(check(&packed, &LIMITS).unwrap().names, ["lib/a.py", "lib/b.py", "train.py"]);
}

#[test]
fn what_cannot_be_packed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let failed = |folder: &Path| pack_folder(folder, &LIMITS).unwrap_err();
    assert!(failed(folder.path()).to_string().ends_with("holds no files"));
    let absent = failed(&folder.path().join("absent"));
    assert!(absent.to_string().contains("absent") && absent.code() == Code::ScriptMissing, "{absent}");
    let large = folder.path().join("large");
    fs::write(&large, [0; 1001]).unwrap();
    assert!(failed(folder.path()).to_string().contains("1001 bytes"));
    fs::remove_file(&large).unwrap();
    File::create(&large).unwrap().write_all(b"small").unwrap();
    let narrow = Limits { packed: 20, ..LIMITS };
    assert!(pack_folder(folder.path(), &narrow).unwrap_err().to_string().contains("more than the 20"));
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    assert!(failed(folder.path()).to_string().contains("is a link"));
    assert!(pack_entries([("../x", &b""[..])]).is_err());
}

#[test]
fn a_disk_that_does_not_take_it_is_no_fault_of_the_package() {
    let zip = raw(&[("a", FILE, b"x")]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "there already").unwrap();
    let refusal = unpack(&zip, dir.path(), &LIMITS).unwrap_err().refusal("the package");
    assert_eq!(refusal.code, Code::Internal);
    assert!(refusal.reason.starts_with("the package: '") && refusal.reason.contains("exists"), "{}", refusal.reason);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_write_elsewhere(mut at in 0_usize..200, byte: u8, cut in 0_usize..200) {
        let mut zip = raw(&[("a/b.py", FILE, b"print()"), ("c", FILE, b"d")]);
        at %= zip.len();
        zip[at] = byte;
        zip.truncate(zip.len().saturating_sub(cut.saturating_sub(100)));
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("scripts");
        fs::create_dir(&folder).unwrap();
        let _ = unpack(&zip, &folder, &LIMITS);
        proptest::prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
