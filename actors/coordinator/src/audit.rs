//! Rounds that can be made again by an auditor: what a round was made from, written down, and its blobs held for a while.
//! How many rounds of a run are held is the operator's: none by default.

use crate::aggregator::{Facts, coding, stored};
use crate::sum::{Order, Summed, Tools, sum};
use crate::{Surroundings, output};
use nsfl_actor::{Failure, blocking};
use nsfl_aggregate::Rules;
use nsfl_messages::JobRun;
use nsfl_store::{BlobStore, Owner, OwnerError};
use nsfl_types::{BlobRef, Code, JobKey, JobSpec, Refusal};
use nsfl_workflow::Member;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version written. Version 1, which is read too, knows no updates to older models.
const VERSION: u32 = 2;
const OLDEST: u32 = 1;

/// What a round was made from and what it gave: `round_<n>.json` in a run's output folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptRound {
    version: u32,
    /// The round.
    pub round: u32,
    /// The model it began with.
    pub base: BlobRef,
    /// What the rule had kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<BlobRef>,
    /// The members with weights and numbers, by client; of those whose task began earlier also when, its model and the
    /// staleness.
    pub members: Vec<Member>,
    /// N, all clients of the job.
    pub clients: usize,
    /// Of what the rule draws.
    pub seed: u64,
    /// The rule's next model.
    pub model: BlobRef,
    /// What the rule keeps for the next round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_state: Option<BlobRef>,
}

impl KeptRound {
    pub(crate) fn new(order: &Order, summed: &Summed) -> Self {
        let Order { round, base, state, ref members, clients, seed, .. } = *order;
        let members = members.clone();
        let Summed { model, state: next_state } = *summed;
        Self { version: VERSION, round, base, state, members, clients, seed, model, next_state }
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// Bytes of another version, or that are no such record.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let unreadable = |e: serde_json::Error| Refusal::new(Code::Store, format!("the round's record: {e}"));
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        match value["version"].as_u64() {
            Some(version) if (u64::from(OLDEST)..=u64::from(VERSION)).contains(&version) => {
                serde_json::from_value(value).map_err(unreadable)
            }
            version => {
                let version = version.map_or("none".to_owned(), |version| version.to_string());
                let reason =
                    format!("the round's record has version {version}; this program reads {OLDEST} to {VERSION}");
                Err(Refusal::new(Code::NewerData, reason))
            }
        }
    }

    fn blobs(&self) -> impl Iterator<Item = BlobRef> {
        let updates = self.members.iter().filter_map(|member| member.update.blob);
        [self.base].into_iter().chain(self.state).chain(updates)
    }

    /// Makes the round again from the stored blobs. The results' digests.
    ///
    /// # Errors
    /// A blob that is there no longer, or whatever fails a round.
    pub async fn again(
        &self,
        spec: &JobSpec,
        rules: &Rules,
        blobs: Arc<dyn BlobStore>,
        memory: usize,
        scratch: PathBuf,
    ) -> Result<(BlobRef, Option<BlobRef>), Refusal> {
        let aggregation = Arc::new(rules.of_job(spec).map_err(|e| Refusal::new(e.code, e.to_string()))?);
        let owner = Owner::new("replay").map_err(|e| Refusal::new(Code::Internal, e.to_string()))?;
        let order = Order {
            round: self.round,
            base: self.base,
            state: self.state,
            members: self.members.clone(),
            clients: self.clients,
            seed: self.seed,
            models: owner.clone(),
            states: owner.clone(),
        };
        let tools = Tools { blobs: blobs.clone(), facts: Facts::default(), coding: coding(spec), memory, scratch };
        let made = sum(tools, &aggregation, order).await;
        blobs.release_all(&owner).await.map_err(|e| stored(&e))?;
        made.map(|Summed { model, state }| (model, state))
    }
}

/// Where a round's record is, in the namespace's storage.
#[must_use]
pub fn kept_round(spec: &JobSpec, run: u32, round: u32) -> PathBuf {
    Path::new(&output::folder(spec, run)).join(format!("round_{round}.json"))
}

/// Outside of what ends with the run, within what ends with the job.
fn owner(key: &JobKey, run: u32, round: Option<u32>) -> Result<Owner, OwnerError> {
    let round = round.map_or(String::new(), |round| format!("/round-{round}"));
    Owner::new(format!("{}/{}/kept/run-{run}{round}", key.namespace, key.id))
}

/// Holds the round and lets go of those before the last few. What cannot be held is no reason to fail a round.
pub(crate) async fn keep(surroundings: &Surroundings, run: &JobRun, kept: &KeptRound) {
    if let Err(Refusal { code, reason }) = held(surroundings, run, kept).await {
        tracing::warn!(job = %run.key, round = kept.round, %code, reason, "round not kept for replay");
    }
}

async fn held(surroundings: &Surroundings, run: &JobRun, kept: &KeptRound) -> Result<(), Refusal> {
    let rounds = surroundings.aggregation.keep_rounds;
    if rounds == 0 {
        return Ok(());
    }
    let named = |round| owner(&run.key, run.run, round).map_err(|e| Refusal::new(Code::Internal, e.to_string()));
    let of_round = named(Some(kept.round))?;
    for blob in kept.blobs() {
        surroundings.blobs.retain(blob.digest, &of_round).await.map_err(|e| stored(&e))?;
    }
    let storage = surroundings.storage.join(run.key.namespace.as_str());
    let file = storage.join(kept_round(&run.spec, run.run, kept.round));
    let bytes = serde_json::to_vec_pretty(kept).expect("names and numbers can be written");
    let written = blocking(move || {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        output::write_atomically(&file, &bytes)
    });
    let wrong = |e: std::io::Error| Refusal::new(Code::Store, format!("the round's record: {e}"));
    let broken = |failure: Failure| Refusal::new(Code::Internal, failure.to_string());
    written.await.map_err(broken)?.map_err(wrong)?;
    if let Some(old) = kept.round.checked_sub(rounds).filter(|old| *old > 0) {
        surroundings.blobs.release_all(&named(Some(old))?).await.map_err(|e| stored(&e))?;
        let file = storage.join(kept_round(&run.spec, run.run, old));
        // what is not there need not go
        let _ = blocking(move || std::fs::remove_file(file)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_round_reads_as_the_golden_one_and_another_version_is_refused_by_its_number() {
        let golden = include_str!("../golden/round.2.json").trim_end();
        let kept = KeptRound::parse(golden.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string_pretty(&kept).unwrap(), golden);
        assert_eq!(kept.members.iter().map(|member| member.staleness).collect::<Vec<_>>(), [0, 3]);
        let first = include_str!("../golden/round.1.json").trim_end();
        assert_eq!(serde_json::to_string_pretty(&KeptRound::parse(first.as_bytes()).unwrap()).unwrap(), first);
        let refusal = KeptRound::parse(golden.replace("\"version\": 2", "\"version\": 7").as_bytes()).unwrap_err();
        assert_eq!(refusal.code, Code::NewerData);
        assert!(refusal.reason.contains("version 7"), "{}", refusal.reason);
    }
}
