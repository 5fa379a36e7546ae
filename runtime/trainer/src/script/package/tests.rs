//! What is unpacked, and what is refused before it can do harm.

use super::*;

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

fn refused(zip: &[u8], max: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("scripts");
    std::fs::create_dir(&folder).unwrap();
    let refusal = unpack(zip, &folder, max).unwrap_err();
    assert_eq!(refusal.code, Code::BadPackage, "{refusal}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{refusal}: nothing was written");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    refusal.reason
}

#[test]
fn a_package_is_unpacked_with_its_folders_and_may_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let zip = raw(&[("train.py", 0o100_644, b"print()"), ("lib/", 0o040_755, b""), ("lib/a/run", 0o100_755, b"#!")]);
    unpack(&zip, dir.path(), 100).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((read("train.py"), read("lib/a/run")), ("print()".into(), "#!".into()));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("train.py"), mode("lib/a/run")), (0o444, 0o555));
}

#[test]
fn names_that_leave_the_folder_links_and_devices_are_refused_before_anything_is_written() {
    let file = 0o100_644;
    let good: (&str, u32, &[u8]) = ("good.py", file, b"x");
    let cases: [(&str, u32, &str); 12] = [
        ("../evil", file, "leaves"),
        ("a/../../evil", file, "leaves"),
        ("a/../evil", file, "leaves"),
        ("/etc/evil", file, "absolute"),
        ("a\\..\\evil", file, "character"),
        ("a\0b", file, "character"),
        ("", file, "no file name"),
        ("./", 0o040_755, "names nothing"),
        ("link", 0o120_777, "neither a file nor a folder"),
        ("device", 0o020_666, "neither a file nor a folder"),
        ("good.py", file, "twice"),
        ("good.py/below", file, "is a file"),
    ];
    for (name, mode, expected) in cases {
        let reason = refused(&raw(&[good, (name, mode, b"y")]), 1000);
        assert!(reason.contains(expected), "{name:?}: {reason}");
    }
    let twice = refused(&raw(&[good, ("./good.py", file, b"y")]), 1000);
    assert!(twice.contains("twice"), "{twice}");
    let deep = "a/".repeat(40) + "x";
    assert!(refused(&raw(&[(&deep, file, b"y")]), 1000).contains("deep"));
    assert!(refused(b"no zip at all", 1000).contains("no zip"));
    let zip = raw(&[good]);
    assert!(refused(&zip[..zip.len() - 30], 1000).contains("no zip"));
}

#[test]
fn bombs_are_refused_by_what_they_say_and_by_what_they_do() {
    let zeros = |len: usize| {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(len as u64).unwrap();
        let mut zip = Cursor::new(Vec::new());
        pack([("zeros".to_owned(), file.try_clone().unwrap())], &mut zip).unwrap();
        file.flush().unwrap();
        zip.into_inner()
    };
    let bomb = zeros(4_000_000);
    assert!(refused(&bomb, 3_999_999).contains("at most 3999999"));
    assert!(refused(&bomb, 5_000_000).contains("times its size"));
    // says 10 bytes and holds 500000
    let mut liar = zeros(500_000);
    let size = 500_000_u32.to_le_bytes();
    while let Some(at) = liar.windows(4).position(|window| window == size) {
        liar[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(unpack(&liar, dir.path(), 1000).unwrap_err().code, Code::BadPackage);
    let written = std::fs::metadata(dir.path().join("zeros")).map_or(0, |meta| meta.len());
    assert!(written <= 1000, "{written}");
    let many: Vec<String> = (0..=MAX_ENTRIES).map(|i| i.to_string()).collect();
    let many: Vec<(&str, u32, &[u8])> = many.iter().map(|name| (name.as_str(), 0o100_644, &b""[..])).collect();
    assert!(refused(&raw(&many), 1000).contains("entries"));
}

#[test]
fn what_is_packed_is_the_same_for_the_same_content_and_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p"), "{\"a\": 1}").unwrap();
    let packed = || {
        let file = || File::open(dir.path().join("p")).unwrap();
        let mut zip = Cursor::new(Vec::new());
        pack([("parameters.json".to_owned(), file()), ("files/ä b".to_owned(), file())], &mut zip).unwrap();
        zip.into_inner()
    };
    let zip = packed();
    assert_eq!(zip, packed());
    unpack(&zip, dir.path(), 1000).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("files/ä b")).unwrap(), "{\"a\": 1}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_write_elsewhere(mut at in 0_usize..200, byte: u8, cut in 0_usize..200) {
        let mut zip = raw(&[("a/b.py", 0o100_644, b"print()"), ("c", 0o100_644, b"d")]);
        at %= zip.len();
        zip[at] = byte;
        zip.truncate(zip.len().saturating_sub(cut.saturating_sub(100)));
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("scripts");
        std::fs::create_dir(&folder).unwrap();
        let _ = unpack(&zip, &folder, 1000);
        proptest::prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
