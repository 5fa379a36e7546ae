//! Each house rule is broken once.

use super::*;
use crate::metadata::Package;

fn graph(members: &[(&str, &str)]) -> Graph {
    let package = |(folder, name): &(&str, &str)| Package {
        name: (*name).to_owned(),
        folder: Some((*folder).to_owned()),
        ..Package::default()
    };
    Graph { packages: members.iter().map(package).collect() }
}

#[test]
fn a_file_opens_with_what_it_is_for() {
    assert_eq!(text_findings("a.rs", "//! For this.\nfn f() {}\n"), Vec::<String>::new());
    assert!(text_findings("a.rs", "fn f() {}\n")[0].starts_with("a.rs:1: does not open with //!"));
    assert_eq!(text_findings("a.md", "no such rule here"), Vec::<String>::new());
}

#[test]
fn a_mark_of_unfinished_work_is_found_with_its_line() {
    let text = format!("//! X.\nfn f() {{ {}() }}\n", concat!("to", "do!"));
    assert_eq!(text_findings("a.rs", &text), [format!("a.rs:2: {}: finish it", concat!("to", "do!"))]);
}

#[test]
fn a_path_of_one_machine_is_found_in_any_file_and_other_paths_are_not() {
    for folder in ["wo", "ro", "ho"] {
        let rest = ["rk", "ot", "me"][["wo", "ro", "ho"].iter().position(|f| *f == folder).unwrap()];
        let text = format!("fine\nsee /{folder}{rest}/x\n");
        assert_eq!(text_findings("a.md", &text), ["a.md:2: a path of one machine"]);
        assert_eq!(text_findings("a.md", &format!("./{folder}{rest}/x a/{folder}{rest}/y")), Vec::<String>::new());
    }
    assert_eq!(text_findings("a.service", "ExecStart=/usr/bin/nsfl-node /var/lib/nsfl"), Vec::<String>::new());
}

#[test]
fn comments_and_blank_lines_are_no_code_and_a_long_file_is_refused() {
    assert_eq!(code_lines("//! A.\n\n  // b\nlet a = 1; // c\n"), 1);
    let long = |n: usize| format!("//! X.\n{}", "f();\n".repeat(n));
    assert_eq!(text_findings("a.rs", &long(500)), Vec::<String>::new());
    assert!(text_findings("a.rs", &long(501))[0].contains("501 lines of code"));
}

#[test]
fn the_median_counts_rust_files_only() {
    let file = |name: &str, n: usize| (name.to_owned(), "f();\n".repeat(n));
    assert_eq!(length_findings(&[file("a.rs", 10), file("b.rs", 120), file("c.rs", 499)]), None);
    assert!(length_findings(&[file("a.rs", 10), file("b.rs", 121), file("c.rs", 499)]).is_some());
    assert_eq!(length_findings(&[file("a.rs", 10), file("b.md", 400), file("c.md", 499)]), None);
}

#[test]
fn a_folder_is_called_as_its_crate() {
    let good = graph(&[
        ("lib/types", "nsfl-types"),
        ("bin/nsfl-node", "nsfl-node"),
        ("integration", "nsfl-integration"),
        ("xtask", "xtask"),
    ]);
    assert_eq!(name_findings(&good), Vec::<String>::new());
    let bad = graph(&[("lib/types", "types")]);
    assert_eq!(name_findings(&bad), ["lib/types: holds crate types, should be nsfl-types"]);
}

#[test]
fn the_code_map_has_a_line_for_each_crate_and_the_page_is_short() {
    let both = graph(&[("runtime/store", "nsfl-store"), ("runtime/store-sled", "nsfl-store-sled")]);
    let text = "# A\n`runtime/store`\n## Code map\n- `runtime/store-sled`: x\n## After\n`runtime/store`\n";
    let findings = architecture_findings(Some(text), &both);
    assert_eq!(findings, ["ARCHITECTURE.md: its code map has no line for runtime/store (nsfl-store)"]);
    let text = "## The code map\n- nsfl-store: x\n- nsfl-store-sled: y\n";
    assert_eq!(architecture_findings(Some(text), &both), Vec::<String>::new());
    assert!(architecture_findings(Some(&format!("{text}{}", "x\n".repeat(248))), &both)[0].contains("251 lines"));
    assert_eq!(architecture_findings(None, &both), ["ARCHITECTURE.md: is missing"]);
}
