//! What goes on when its train round has closed: tasks whose answers still count, and updates that count in the next round.
//! Empty unless the job's policy has them.

use super::{MemberState, RoundId};
use crate::run::Member;
use nsfl_types::{BlobRef, ClientId, TaskKey, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a task began with: its key's round and attempt, and its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The round that was open when it was sent.
    pub round: u32,
    /// Its attempt.
    pub attempt: u32,
    /// The model it starts from.
    pub base: BlobRef,
}

impl Begun {
    pub(crate) fn key(&self, of: &RoundId, client: &ClientId) -> TaskKey {
        RoundId { round: self.round, attempt: self.attempt, ..of.clone() }.task(client)
    }
}

/// A task that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    #[serde(flatten)]
    pub(crate) begun: Begun,
    /// From here on its answer is not waited for.
    pub(crate) until: Timestamp,
    /// Invited or started.
    pub(crate) state: MemberState,
}

/// What goes on when its train round has closed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Carried {
    /// At most one a client.
    pub(crate) tasks: BTreeMap<ClientId, Sent>,
    /// Accepted, in the order they came.
    pub(crate) updates: Vec<Member>,
}

impl Carried {
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.updates.is_empty()
    }

    /// The update with this key's task.
    pub(crate) fn update_of(updates: &[Member], key: &TaskKey) -> Option<Member> {
        updates.iter().find(|member| member.is_of(key)).cloned()
    }
}
