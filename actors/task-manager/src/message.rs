//! What the client's actors say to each other. What crosses the link is in `nsfl_messages::wire`.

use nsfl_actor::Failure;
use nsfl_messages::wire::{TaskCommand, TaskReport};
use nsfl_transport::LinkEvent;
use nsfl_types::{Refusal, TaskKey};
use nsfl_workflow::{Outcome, TaskInput};

/// To the uplink.
#[derive(Debug)]
pub(crate) enum UplinkMsg {
    /// Something happened on the link; `None` when it was closed for good.
    Event(Option<LinkEvent>),
    /// To a coordinator.
    Report(TaskReport),
    /// So many tasks are held now.
    Load(u32),
    /// Time for a sign of life.
    Beat,
}

/// To the task manager.
#[derive(Debug)]
pub(crate) enum TaskManagerMsg {
    /// From a coordinator.
    Command(TaskCommand),
    /// The link is (again) up: the coordinators want to know what is held here.
    LinkUp,
    /// The task's outcome is kept; it needs no slot any more.
    Offering {
        /// The task.
        key: TaskKey,
    },
    /// The task and all its files are gone.
    Forgotten {
        /// The task.
        key: TaskKey,
    },
    /// The supervisor has given up the executor at this path.
    GaveUp {
        /// The executor's path.
        path: String,
        /// Its last failure.
        failure: Failure,
    },
    /// The executors' supervisor has begun another life, without an executor.
    NoExecutors,
    /// An executor has begun another life, or is not given what its task needs: the server's last word on the task may be
    /// lost.
    LastWordLost,
    /// Time to have an executor tried again that was given up.
    TryAgain {
        /// The task.
        key: TaskKey,
    },
    /// Time to remove blobs that nobody owns.
    Sweep,
    /// That is done.
    Swept,
}

/// To a task executor.
#[derive(Debug)]
pub(crate) enum ExecutorMsg {
    /// An input of its machine, from a coordinator or the link.
    Input(TaskInput),
    /// The time its machine asked for has come.
    Tick,
    /// The fetch of the base model, and of what goes with it, ended.
    Fetched(Result<Result<(), Refusal>, Failure>),
    /// The trainer ended.
    Trained(Result<Outcome, Failure>),
    /// The upload of the result ended.
    Uploaded(Result<Result<(), Refusal>, Failure>),
    /// There is no such task any more: end.
    Gone,
}
