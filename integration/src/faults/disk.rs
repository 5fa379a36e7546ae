//! Rows that fail a disk: full, read-only, torn at the end of a log, flipped bits. Those of the database file are `database`'s.

use super::story::Story;
use super::table::SKIPPED;
use super::{Ground, Outcome, Row};
use crate::{Fate, Federation, Options, Place, SmallDisk, digits_job};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, place) in [("the server's", Place::Server), ("a client's", Place::Client(1))] {
        rows.push(Row::new(
            "disk",
            format!("{name} disk is full from the third round on, then has room"),
            move |ground| full(ground, place),
        ));
    }
    let server = (Place::Server, "coordinator/UpdateStored/after-commit=kill");
    let client = (Place::Client(1), "executor/Offering/after-record=kill");
    let mut damage = |name: &str, (place, fault): (Place, &'static str), how: How| {
        rows.push(Row::new("disk", name.to_owned(), move |ground| damaged(ground, place, fault, how)));
    };
    damage("the server's disk can only be read when it starts again, then be written", server, read_only);
    damage("the last bytes of the database's log are lost", server, |story, _, _| {
        tear(&data(story, Place::Server).join("nsfl.sqlite-wal"), 100)?;
        story.restart(Place::Server, &[]).map(drop)
    });
    damage("the last bytes of a client's task records are lost", client, |story, _, _| {
        tear(&data(story, Place::Client(1)).join("tasks/db"), 16)?;
        story.restart(Place::Client(1), &[]).map(drop)
    });
    damage("a bit of a stored update flips: its client is asked again", server, |story, _, _| {
        flip(&held(&data(story, Place::Server).join("blobs"), "updates")?)?;
        story.restart(Place::Server, &[]).map(drop)
    });
    damage("a bit of the database's log flips: what was committed after it is done again", server, |story, _, _| {
        flip(&data(story, Place::Server).join("nsfl.sqlite-wal"))?;
        story.restart(Place::Server, &[]).map(drop)
    });
    rows
}

type How = fn(&mut Story, Place, Option<&SmallDisk>) -> anyhow::Result<()>;

fn job() -> Value {
    digits_job("damaged", 2, 6)
}

/// Runs the job; from the third round on the disk of `place` is full until its log says so.
///
/// # Errors
/// The job did not finish, or nothing was said. Without the right to mount, an error that begins with `skipped: `.
pub fn full(ground: &Ground, place: Place) -> anyhow::Result<Outcome> {
    let expected = ground.expected.of(&job())?;
    let disk = SmallDisk::mount(24).map_err(|error| anyhow::anyhow!("{SKIPPED}{error:#}"))?;
    let program = Some(ground.program.clone());
    let options = Options { program, data: vec![(place, disk.path().join("data"))], ..Options::default() };
    let mut story = Story::begin(Federation::start(&options)?, &job());
    let (mut full, mut said) = (false, false);
    let sha256 = story.to_its_end(|story| {
        let round = story.last.as_ref().map_or(0, |(_, event)| event.fields["round"].as_u64().unwrap_or(0));
        if !full && !said && round >= 3 {
            full = true;
            disk.fill()?;
        }
        if full && story.federation.node(place).has_said("disk full")? {
            (full, said) = (false, true);
            ensure!(story.federation.rest.get("/health")?.status == 200, "the server does not answer");
            story.struck();
            disk.free()?;
        }
        Ok(())
    })?;
    ensure!(said, "the disk was full and nobody said so");
    Ok(Outcome { recovery: story.recovery, sha256, expected, note: String::new() })
}

/// Kills `place` at a fault point, does the damage while it is down, and has it started again.
fn damaged(ground: &Ground, place: Place, fault: &str, how: How) -> anyhow::Result<Outcome> {
    let expected = ground.expected.of(&job())?;
    let disk = SmallDisk::mount(48).ok();
    let data = disk.iter().map(|disk| (place, disk.path().join("data"))).collect();
    let env = Some((place, vec![("FAULT_POINT", fault.to_owned())]));
    let options = Options { program: Some(ground.program.clone()), env, data, ..Options::default() };
    let mut story = Story::begin(Federation::start(&options)?, &job());
    let mut done = false;
    let sha256 = story.to_its_end(|story| {
        if !done && story.federation.node(place).fate()? == Fate::Ended {
            done = true;
            story.struck();
            how(story, place, disk.as_ref())?;
        }
        Ok(())
    })?;
    ensure!(done, "the point was not reached");
    Ok(Outcome { recovery: story.recovery, sha256, expected, note: String::new() })
}

fn read_only(story: &mut Story, place: Place, disk: Option<&SmallDisk>) -> anyhow::Result<()> {
    let disk = disk.with_context(|| format!("{SKIPPED}not allowed to mount"))?;
    disk.read_only(true)?;
    let started = story.federation.restart_server();
    disk.read_only(false)?;
    ensure!(started.is_err(), "it started on a disk that cannot be written");
    story.restart(place, &[]).map(drop)
}

fn data(story: &Story, place: Place) -> PathBuf {
    story.federation.data(place)
}

/// Takes so many bytes off the end.
fn tear(file: &Path, bytes: u64) -> anyhow::Result<()> {
    let opened = File::options().write(true).open(file).with_context(|| file.display().to_string())?;
    let len = opened.metadata()?.len();
    Ok(opened.set_len(len.saturating_sub(bytes))?)
}

/// Flips the lowest bit of a byte in the middle.
pub(super) fn flip(file: &Path) -> anyhow::Result<()> {
    let len = std::fs::metadata(file)?.len();
    flip_at(file, len / 2)
}

/// Flips the lowest bit of this byte.
pub(super) fn flip_at(file: &Path, at: u64) -> anyhow::Result<()> {
    let mut permissions = std::fs::metadata(file)?.permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "a file of the test's own")]
    permissions.set_readonly(false);
    std::fs::set_permissions(file, permissions)?;
    let opened = File::options().read(true).write(true).open(file)?;
    let mut byte = [0];
    opened.read_exact_at(&mut byte, at)?;
    Ok(opened.write_all_at(&[byte[0] ^ 1], at)?)
}

/// A blob that the coordinator holds: one of its `models` or `updates`.
pub(super) fn held(blobs: &Path, what: &str) -> anyhow::Result<PathBuf> {
    let mut folders = vec![blobs.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if folder.components().any(|part| part.as_os_str() == what) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("the server holds none of its {what}")
}
