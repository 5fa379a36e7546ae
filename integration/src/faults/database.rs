//! Rows that damage the database file and the global model: what cannot be made good is found before anything is done with it,
//! and a backup brings the job to the model it would have had.

use super::disk::{flip, flip_at, held};
use super::story::Story;
use super::{Ground, Outcome, Row};
use crate::{Federation, Options, Place, Signal, digits_job};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

pub(super) fn rows() -> Vec<Row> {
    let row = |name: &str, found: Found, damage: Damage| {
        let by = if found == Found::AtTheStart { "at the start and by fsck" } else { "by fsck" };
        let name = format!("{name}: found {by}, the backup goes on");
        Row::new("disk", name, move |ground| restored(ground, found, damage))
    };
    vec![
        row("a bit flips in the structure of the database file", Found::AtTheStart, |data| {
            flip_at(&data.join("nsfl.sqlite"), PAGE)
        }),
        row("a bit flips in the state of each job and run in the database file", Found::AtTheStart, |data| {
            // what a job goes on from ends with a checksum; an older copy in free space may lie beside it
            let file = data.join("nsfl.sqlite");
            let bytes = std::fs::read(&file)?;
            let seals: Vec<usize> =
                bytes.windows(SEAL.len()).enumerate().filter(|(_, w)| *w == SEAL).map(|(at, _)| at).collect();
            ensure!(!seals.is_empty(), "there is no state of a job");
            seals.iter().try_for_each(|at| flip_at(&file, *at as u64 - 3))
        }),
        row("a bit flips in the global model", Found::ByFsck, |data| flip(&held(&data.join("blobs"), "models")?)),
    ]
}

/// Who finds it before anything is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    AtTheStart,
    ByFsck,
}

type Damage = fn(&Path) -> anyhow::Result<()>;

/// The second page is the first table's.
const PAGE: u64 = 4096;
const SEAL: &[u8] = b"\n#crc32 ";

/// Of more rounds than pass while a backup is taken.
fn job() -> Value {
    digits_job("long", 2, 20)
}

/// Takes a backup in the third round, ends the server a round later, does the damage, and restores when it was found.
fn restored(ground: &Ground, found: Found, damage: Damage) -> anyhow::Result<Outcome> {
    let expected = ground.expected.of(&job())?;
    let options = Options { program: Some(ground.program.clone()), ..Options::default() };
    let mut story = Story::begin(Federation::start(&options)?, &job());
    let archive = story.federation.folder().join("backup.tar");
    let mut done = false;
    let sha256 = story.to_its_end(|story| {
        let round = story.last.as_ref().map_or(0, |(_, event)| event.fields["round"].as_u64().unwrap_or(0));
        if round >= 3 && !archive.exists() {
            return story.federation.rest.download("/backup", &archive);
        }
        if round >= 4 && !done {
            done = true;
            return damage_and_restore(ground, story, found, damage, &archive);
        }
        Ok(())
    })?;
    ensure!(done, "the job was over before anything was damaged");
    Ok(Outcome { recovery: story.recovery, sha256, expected, note: "exit code 4; then restored".to_owned() })
}

fn damage_and_restore(
    ground: &Ground,
    story: &mut Story,
    found: Found,
    damage: Damage,
    archive: &Path,
) -> anyhow::Result<()> {
    let data = story.federation.data(Place::Server);
    // the job must not end before the server does
    story.federation.clients[0].signal(Signal::Stop)?;
    story.federation.server.signal(Signal::Terminate)?;
    story.federation.server.wait()?;
    story.federation.clients[0].signal(Signal::Continue)?;
    damage(&data)?;
    let config = story.federation.folder().join("server.toml");
    let fsck = Command::new(&ground.program).args(["fsck", "--config"]).arg(config).output()?;
    ensure!(fsck.status.code() == Some(4), "fsck found nothing: {}", String::from_utf8_lossy(&fsck.stdout));
    if found == Found::AtTheStart {
        let error = story.federation.restart_server().err().context("the server started on a damaged database")?;
        ensure!(format!("{error:#}").contains("exit status: 4"), "{error:#}");
    }
    std::fs::rename(&data, data.with_extension("damaged"))?;
    nsfl_backup::restore(std::fs::File::open(archive)?, &data)?;
    story.struck();
    story.restart(Place::Server, &[])
}
