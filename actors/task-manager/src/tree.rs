//! How the client's actors stand together. Each is restarted alone, but for the executors' supervisor, which takes the task
//! manager along: what they need to go on is on record.

use crate::manager::TaskManager;
use crate::message::TaskManagerMsg;
use crate::site::{Site, SiteConfig};
use crate::uplink::{Uplink, UplinkArgs};
use nsfl_actor::{Address, ChildEvent, ChildSpec, Directory, GiveUp, Restart, Strategy, Supervisor, SupervisorSpec};
use nsfl_transport::{BlobClient, Link, LinkEvents};
use std::path::{Path, PathBuf};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

const MANAGER_MAILBOX: usize = 1024;
const UPLINK_MAILBOX: usize = 1024;

/// The client's tree, to be started or placed under another: executors, task manager, uplink. `connection` is what
/// `nsfl_transport::connect` gives.
#[must_use]
pub fn client_tree(config: SiteConfig, connection: (Link, LinkEvents, BlobClient)) -> SupervisorSpec {
    let (link, events, transfer) = connection;
    let config = SiteConfig {
        workspace: absolute(&config.workspace),
        datasets: config.datasets.iter().map(|(name, path)| (name.clone(), absolute(path))).collect(),
        ..config
    };
    let executors = Supervisor::unbound("client/executors");
    let manager = Address::new("client/task-manager", MANAGER_MAILBOX);
    let uplink = Address::new("client/uplink", UPLINK_MAILBOX);
    let site = Arc::new(Site {
        config,
        transfer,
        uplink: uplink.clone(),
        manager: manager.clone(),
        executors: executors.clone(),
        running: Directory::new(),
    });
    // a task that cannot be worked on is one failed task, not a failed client
    let executors =
        SupervisorSpec::new("executors").bind(&executors).give_up(GiveUp::Drop).on_event(listener(manager.clone()));
    let uplink_args = UplinkArgs { site: Arc::clone(&site), link, events: Arc::new(tokio::sync::Mutex::new(events)) };
    // executors' supervisor that starts again has no executors: the task manager has them started
    let work = SupervisorSpec::new("work")
        .bind(&Supervisor::unbound("client/work"))
        .strategy(Strategy::RestForOne)
        .child(ChildSpec::supervisor(executors, Restart::Permanent))
        .child(ChildSpec::role::<TaskManager>("task-manager", &manager, site, Restart::Permanent));
    SupervisorSpec::new("client")
        .child(ChildSpec::supervisor(work, Restart::Permanent))
        .child(ChildSpec::role::<Uplink>("uplink", &uplink, uplink_args, Restart::Permanent))
}

/// Tells the task manager of executors that were given up, and of those that live again: what they were told in between,
/// or had not yet read, is lost.
fn listener(manager: Address<TaskManagerMsg>) -> impl Fn(&ChildEvent) + Send + Sync + 'static {
    let between_lives = Mutex::new(BTreeSet::new());
    move |event| {
        let mut between_lives = between_lives.lock().unwrap_or_else(PoisonError::into_inner);
        let msg = match event {
            ChildEvent::Restarting { path, .. } => {
                between_lives.insert(path.clone());
                return;
            }
            ChildEvent::Started { path } if between_lives.remove(path) => TaskManagerMsg::LivesAgain,
            ChildEvent::Started { .. } => return,
            ChildEvent::Stopped { path } => {
                between_lives.remove(path);
                return;
            }
            ChildEvent::GaveUp { path, failure } => {
                between_lives.remove(path);
                TaskManagerMsg::GaveUp { path: path.clone(), failure: failure.clone() }
            }
        };
        if let Err(error) = manager.try_tell(msg) {
            // it looks at every task when it starts
            tracing::warn!(%error, "task manager not told of its executors");
        }
    }
}

/// A trainer works in a folder of its own, where a relative path of ours means nothing.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
