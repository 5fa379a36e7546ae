//! Each rule is broken once by a made-up graph.

use super::*;

/// `(folder or "", name, linked, dev)`; a name not listed is a dependency without arrows.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

fn graph(rows: &[Row<'_>]) -> Graph {
    let mut names: Vec<&str> = rows.iter().map(|r| r.1).collect();
    for row in rows {
        for name in row.2.iter().chain(row.3) {
            if !names.contains(name) {
                names.push(name);
            }
        }
    }
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let package = |name: &&str| match rows.iter().find(|r| r.1 == *name) {
        None => Package { name: (*name).to_owned(), ..Package::default() },
        Some((folder, name, normal, dev)) => Package {
            name: (*name).to_owned(),
            folder: (!folder.is_empty()).then(|| (*folder).to_owned()),
            normal: normal.iter().map(|n| at(n)).collect(),
            dev: dev.iter().map(|n| at(n)).collect(),
        },
    };
    Graph { packages: names.iter().map(package).collect() }
}

fn paths(rows: &[Row<'_>]) -> Vec<(String, &'static str)> {
    violations(&graph(rows)).into_iter().map(|v| (v.path.join(" → "), v.reason)).collect()
}

fn assert_one(rows: &[Row<'_>], path: &str, says: &str) {
    let found = paths(rows);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, path);
    assert!(found[0].1.contains(says), "{found:?}");
}

const TYPES: Row<'_> = ("lib/types", "nsfl-types", &["serde"], &["proptest"]);

#[test]
fn the_design_itself_breaks_no_rule() {
    let design: &[Row<'_>] = &[
        TYPES,
        ("lib/tensor", "nsfl-tensor", &["nsfl-types"], &[]),
        ("lib/workflow", "nsfl-workflow", &["nsfl-types"], &[]),
        ("runtime/store", "nsfl-store", &["nsfl-types", "tokio"], &[]),
        ("runtime/store-sqlite", "nsfl-store-sqlite", &["nsfl-store", "rusqlite"], &[]),
        ("runtime/rest-model", "nsfl-rest-model", &["nsfl-types"], &[]),
        ("actors/messages", "nsfl-messages", &["nsfl-types", "nsfl-workflow"], &[]),
        ("actors/coordinator", "nsfl-coordinator", &["nsfl-messages", "nsfl-tensor"], &["nsfl-store-sqlite"]),
        ("bin/nsfl-node", "nsfl-node", &["nsfl-coordinator", "nsfl-store-sqlite"], &[]),
        ("bin/nsfl-ctl", "nsfl-ctl", &["nsfl-rest-model", "ureq"], &[]),
        ("examples/custom-rule", "nsfl-custom-rule", &["nsfl-node"], &[]),
        ("integration", "nsfl-integration", &["nsfl-rest-model"], &[]),
        ("xtask", "xtask", &[], &[]),
        ("", "proptest", &["getrandom"], &[]),
    ];
    assert_eq!(paths(design), []);
}

#[test]
fn an_arrow_up_is_refused_from_tests_too() {
    let store: Row<'_> = ("runtime/store", "nsfl-store", &[], &[]);
    let says = "arrows point down";
    assert_one(&[("lib/types", "nsfl-types", &["nsfl-store"], &[]), store], "nsfl-types → nsfl-store", says);
    assert_one(&[("lib/types", "nsfl-types", &[], &["nsfl-store"]), store], "nsfl-types → nsfl-store", says);
    let rows: &[Row<'_>] =
        &[("runtime/trainer", "nsfl-trainer", &["nsfl-messages"], &[]), ("actors/messages", "nsfl-messages", &[], &[])];
    assert_one(rows, "nsfl-trainer → nsfl-messages", says);
}

#[test]
fn nothing_depends_on_a_program() {
    let rows: &[Row<'_>] =
        &[("integration", "nsfl-integration", &["nsfl-node"], &[]), ("bin/nsfl-node", "nsfl-node", &[], &[])];
    assert_one(rows, "nsfl-integration → nsfl-node", "start it as a process");
}

#[test]
fn a_role_may_depend_on_messages_and_on_no_other_role() {
    let rows: &[Row<'_>] = &[
        ("actors/scheduler", "nsfl-scheduler", &["nsfl-messages", "nsfl-coordinator"], &[]),
        ("actors/coordinator", "nsfl-coordinator", &["nsfl-messages"], &[]),
        ("actors/messages", "nsfl-messages", &[], &[]),
    ];
    assert_one(rows, "nsfl-scheduler → nsfl-coordinator", "roles do not know roles");
}

#[test]
fn messages_and_workflow_reach_no_tensor_however_long_the_way() {
    let rows: &[Row<'_>] = &[
        ("actors/messages", "nsfl-messages", &["nsfl-actor"], &[]),
        ("runtime/actor", "nsfl-actor", &["elsewhere"], &[]),
        ("", "elsewhere", &["nsfl-tensor"], &[]),
        ("lib/tensor", "nsfl-tensor", &[], &[]),
    ];
    assert_one(rows, "nsfl-messages → nsfl-actor → elsewhere → nsfl-tensor", "mailbox");
    let rows: &[Row<'_>] =
        &[("lib/workflow", "nsfl-workflow", &["nsfl-tensor"], &[]), ("lib/tensor", "nsfl-tensor", &[], &[])];
    assert_one(rows, "nsfl-workflow → nsfl-tensor", "mailbox");
}

#[test]
fn only_the_node_links_a_backend_and_tests_may_use_one() {
    let sled: Row<'_> = ("runtime/store-sled", "nsfl-store-sled", &["sled"], &[]);
    let rows: &[Row<'_>] = &[sled, ("actors/task-manager", "nsfl-task-manager", &["nsfl-store-sled"], &[])];
    assert_one(rows, "nsfl-task-manager → nsfl-store-sled", "only nsfl-node");
    let rows: &[Row<'_>] = &[sled, ("actors/task-manager", "nsfl-task-manager", &[], &["nsfl-store-sled"])];
    assert_eq!(paths(rows), []);
}

#[test]
fn only_the_torch_trainer_reaches_libtorch_however_long_the_way() {
    let torch: Row<'_> = ("runtime/trainer-torch", "nsfl-trainer-torch", &["tch", "torch-sys", "nsfl-trainer"], &[]);
    let trainer: Row<'_> = ("runtime/trainer", "nsfl-trainer", &[], &[]);
    let tch: Row<'_> = ("", "tch", &["torch-sys"], &[]);
    assert_eq!(paths(&[torch, trainer, tch]), []);
    let rows: &[Row<'_>] =
        &[("runtime/trainer", "nsfl-trainer", &["middle"], &[]), ("", "middle", &["torch-sys"], &[])];
    assert_one(rows, "nsfl-trainer → middle → torch-sys", "only nsfl-trainer-torch links libtorch");
    let node: Row<'_> = ("bin/nsfl-node", "nsfl-node", &["nsfl-trainer-torch"], &[]);
    let found = paths(&[node, ("runtime/trainer-torch", "nsfl-trainer-torch", &["tch"], &[])]);
    assert_eq!(found[0].0, "nsfl-node → nsfl-trainer-torch → tch");
}

#[test]
fn the_command_line_reaches_types_and_rest_bodies_only() {
    let rows: &[Row<'_>] = &[
        ("bin/nsfl-ctl", "nsfl-ctl", &["nsfl-rest-model"], &[]),
        ("runtime/rest-model", "nsfl-rest-model", &["nsfl-config"], &[]),
        ("runtime/config", "nsfl-config", &["nsfl-types"], &[]),
        TYPES,
    ];
    assert_one(rows, "nsfl-ctl → nsfl-rest-model → nsfl-config", "speaks REST");
}

#[test]
fn lib_reaches_no_runtime_and_no_store_however_long_the_way() {
    for impure in IMPURE {
        let rows: &[Row<'_>] = &[("lib/types", "nsfl-types", &["middle"], &[]), ("", "middle", &[impure], &[])];
        assert_one(rows, &format!("nsfl-types → middle → {impure}"), "lib/ is pure");
    }
}

#[test]
fn lib_asks_for_no_randomness_of_the_system_itself() {
    for impure in IMPURE_DIRECTLY {
        assert_one(
            &[("lib/select", "nsfl-select", &[impure], &[])],
            &format!("nsfl-select → {impure}"),
            "lib/ is pure",
        );
        assert_eq!(paths(&[("lib/select", "nsfl-select", &["x"], &[impure]), ("", "x", &[impure], &[])]), []);
    }
}

#[test]
fn a_crate_outside_the_layers_is_refused() {
    assert_one(&[("tools/x", "nsfl-x", &[], &[])], "nsfl-x", "no layer");
}

#[test]
fn what_is_printed_names_both_ends_the_path_and_the_reason() {
    let violation = Violation { path: vec!["a".into(), "b".into(), "c".into()], reason: "because" };
    assert_eq!(violation.to_string(), "a → c: because\n    path: a → b → c");
}
