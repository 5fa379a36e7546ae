//! What is learned: a trainer without a process, whose update says whose it is, and the model that a round's members make.
//! Client number n adds 1 in its own place and 2ⁿ in a place of all, so that the sum names every client counted.

use crate::dice::{Dice, NodeLife};
use crate::oracle::Oracle;
use async_trait::async_trait;
use nsfl_aggregate::{Member, MemberFacts, Round, Rules, Sink, Sources, aggregate_round};
use nsfl_store::{BlobStore, put_bytes};
use nsfl_task_manager::{Assignment, Trainer};
use nsfl_tensor::{DType, Layout, WeightsView, check_update, write_delta};
use nsfl_types::{ClientId, Code, Digest, JobSpec, Metrics, TaskKey, TaskKind};
use nsfl_workflow::{Outcome, UpdateRef};
use std::sync::Arc;

/// Clients there can be.
pub const CLIENTS: usize = 4;
/// The place in which every member adds its power of two, and the one that makes every update different.
const ALL: usize = CLIENTS;
const OWN: usize = CLIENTS + 1;
const LEN: usize = CLIENTS + 2;

pub fn model(values: &[f32]) -> Vec<u8> {
    let mut file = Layout::new([("w".to_owned(), DType::F32, vec![values.len()])]).unwrap().header_bytes();
    values.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
    file
}

pub fn initial() -> Vec<u8> {
    model(&[0.0; LEN])
}

pub fn values(model: &[u8]) -> Vec<f32> {
    let view = WeightsView::parse(model).unwrap();
    view.tensor(0).chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// 0 for `c0`.
pub fn number(client: &ClientId) -> usize {
    client.as_str()[1..].parse().unwrap()
}

/// What the task's client makes of the model.
pub fn update(base: &[u8], key: &TaskKey) -> Vec<u8> {
    let mut local = values(base);
    let n = number(&key.client);
    local[n] += 1.0;
    local[ALL] += (1_u32 << n) as f32;
    let unique = Digest::of(key.to_string().as_bytes());
    local[OWN] += f32::from(u16::from_le_bytes([unique.as_bytes()[0], unique.as_bytes()[1]])) / 256.0;
    let local = model(&local);
    let (base, local) = (WeightsView::parse(base).unwrap(), WeightsView::parse(&local).unwrap());
    let mut delta = Vec::new();
    write_delta(&base, &local, |block| {
        delta.extend_from_slice(block);
        Ok::<(), std::convert::Infallible>(())
    })
    .unwrap();
    delta
}

/// One whose update is counted: its task, the model it began with, how many were made since.
pub struct Counted {
    pub task: TaskKey,
    pub base: Vec<u8>,
    pub staleness: u32,
}

/// The model that these members make of the base by the job's rule, undisturbed.
pub fn expected(spec: &JobSpec, base: &[u8], members: &[Counted]) -> Vec<u8> {
    let updates: Vec<Vec<u8>> = members.iter().map(|member| update(&member.base, &member.task)).collect();
    let base = WeightsView::parse(base).unwrap();
    let views: Vec<WeightsView<'_>> = updates.iter().map(|update| WeightsView::parse(update).unwrap()).collect();
    let known = members.iter().zip(&views).map(|(member, view)| Member {
        id: member.task.to_string(),
        facts: MemberFacts { weight: 1.0, facts: check_update(base.layout(), view).unwrap() },
        numbers: Metrics([("staleness".to_owned(), f64::from(member.staleness))].into()),
    });
    let known: Vec<Member> = known.collect();
    let round = Round { model: base.layout(), members: &known, clients: CLIENTS, seed: 0 };
    let updates: Vec<_> = views.into_iter().map(Into::into).collect();
    let sources = Sources { base: &base, state: None, updates: &updates };
    let mut next = Next(Vec::new());
    aggregate_round(&Rules::default().of_job(spec).unwrap(), &round, sources, usize::MAX, &mut next).unwrap();
    next.0
}

struct Next(Vec<u8>);

impl Sink for Next {
    type Error = std::convert::Infallible;

    fn model(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Who was counted between two models, read from the numbers alone; `None` when they cannot be.
pub fn counted(base: &[u8], next: &[u8], members: usize) -> Option<Vec<usize>> {
    let (base, next) = (values(base), values(next));
    let sum = |i: usize| f64::from(next[i] - base[i]) * members as f64;
    let whole = |sum: f64| ((sum - sum.round()).abs() < 1e-3).then(|| sum.round() as i64);
    let mask = whole(sum(ALL))?;
    let who: Vec<usize> = (0..CLIENTS).filter(|n| mask >> n & 1 == 1).collect();
    let each = (0..CLIENTS).all(|n| whole(sum(n)) == Some(i64::from(who.contains(&n))));
    (each && who.len() == members && mask < 1 << CLIENTS).then_some(who)
}

/// The trainer of one life of a client.
pub struct SimTrainer {
    pub life: NodeLife,
    pub blobs: Arc<dyn BlobStore>,
    pub dice: Dice,
    pub oracle: Oracle,
    /// Tasks that fail, out of a thousand.
    pub failing: u64,
}

/// A task is being trained for as long as this is there.
struct AtWork {
    oracle: Oracle,
    client: String,
    key: TaskKey,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.oracle.training_ended(&self.client, &self.key);
    }
}

#[async_trait]
impl Trainer for SimTrainer {
    async fn run(&self, task: &Assignment) -> Outcome {
        self.life.lasting().await;
        let client = self.life.node().to_owned();
        self.oracle.training_begins(&client, &task.key);
        let _at_work = AtWork { oracle: self.oracle.clone(), client, key: task.key.clone() };
        let longest = if self.dice.per_mille(100) { 8000 } else { 800 };
        tokio::time::sleep(self.dice.millis(20, longest)).await;
        self.life.lasting().await;
        if self.dice.per_mille(self.failing) {
            return failed(Code::TrainerFailed, "the trainer fails by chance".to_owned());
        }
        let base = match self.blobs.open(task.base.digest).await {
            Ok(base) => base,
            Err(error) => return failed(error.code(), error.to_string()),
        };
        let metrics = Metrics([("sample_num".to_owned(), 1.0), ("accuracy".to_owned(), 0.5)].into());
        let blob = match task.key.kind {
            TaskKind::Evaluate => None,
            TaskKind::Train => {
                let delta = update(&base, &task.key);
                match put_bytes(self.blobs.as_ref(), delta.into(), &task.owner()).await {
                    Ok(blob) => Some(blob),
                    Err(error) => return failed(error.code(), error.to_string()),
                }
            }
        };
        let weight = metrics.weight();
        Outcome::Done { update: UpdateRef { blob, extra: None, metrics, weight } }
    }
}

fn failed(code: Code, reason: String) -> Outcome {
    Outcome::Failed { code, reason, cause: None }
}
