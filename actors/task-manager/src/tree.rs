//! How the client's actors stand together. Each is restarted alone: what it needs to go on is on record.

use crate::manager::TaskManager;
use crate::message::TaskManagerMsg;
use crate::site::{Site, SiteConfig};
use crate::uplink::{Uplink, UplinkArgs};
use nsfl_actor::{
    Address, ChildEvent, ChildSpec, Directory, Failure, GiveUp, Restart, SendError, Supervisor, SupervisorSpec,
};
use nsfl_transport::{BlobClient, Link, LinkEvents};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const EXECUTORS: &str = "client/executors";
const MANAGER_MAILBOX: usize = 1024;
const UPLINK_MAILBOX: usize = 1024;

/// The client's tree, to be started or placed under another: executors, task manager, uplink. `connection` is what
/// `nsfl_transport::connect` gives.
#[must_use]
pub fn client_tree(config: SiteConfig, connection: (Link, LinkEvents, BlobClient)) -> SupervisorSpec {
    let (link, events, transfer) = connection;
    let config = SiteConfig {
        workspace: absolute(&config.workspace),
        residuals: absolute(&config.residuals),
        datasets: config.datasets.iter().map(|(name, path)| (name.clone(), absolute(path))).collect(),
        ..config
    };
    let executors = Supervisor::unbound(EXECUTORS);
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
    let told = manager.clone();
    let tell = move |given_up: Option<(&str, &Failure)>| {
        told.try_tell(match given_up {
            // what it was told in between, or had not yet read, is lost
            None => TaskManagerMsg::LastWordLost,
            Some((path, failure)) => TaskManagerMsg::GaveUp { path: path.to_owned(), failure: failure.clone() },
        })
    };
    let executors =
        SupervisorSpec::new("executors").bind(&executors).give_up(GiveUp::Drop).on_event(listener(|_| true, tell));
    let uplink_args = UplinkArgs { site: Arc::clone(&site), link, events: Arc::new(tokio::sync::Mutex::new(events)) };
    let told = manager.clone();
    SupervisorSpec::new("client")
        .on_event(listener(move |path| path == EXECUTORS, move |_| told.try_tell(TaskManagerMsg::NoExecutors)))
        .child(ChildSpec::supervisor(executors, Restart::Permanent))
        .child(ChildSpec::role::<TaskManager>("task-manager", &manager, site, Restart::Permanent))
        .child(ChildSpec::role::<Uplink>("uplink", &uplink, uplink_args, Restart::Permanent))
}

/// Tells the task manager of children that have begun another life, and of those that were given up. One that is down is
/// not told: it looks at every task when it starts.
fn listener(
    is_meant: impl Fn(&str) -> bool + Send + Sync + 'static,
    tell: impl Fn(Option<(&str, &Failure)>) -> Result<(), SendError> + Send + Sync + 'static,
) -> impl Fn(&ChildEvent) + Send + Sync + 'static {
    let between_lives = Mutex::new(BTreeSet::new());
    move |event| {
        let mut between_lives = between_lives.lock().unwrap_or_else(PoisonError::into_inner);
        let told = match event {
            ChildEvent::Restarting { path, .. } if is_meant(path) => {
                between_lives.insert(path.clone());
                Ok(())
            }
            ChildEvent::Started { path } if between_lives.remove(path) => tell(None),
            ChildEvent::Stopped { path } => {
                between_lives.remove(path);
                Ok(())
            }
            ChildEvent::GaveUp { path, failure } if is_meant(path) => {
                between_lives.remove(path);
                tell(Some((path, failure)))
            }
            _ => Ok(()),
        };
        if let Err(error) = told {
            tracing::warn!(%error, "task manager not told of its executors");
        }
    }
}

/// A trainer works in a folder of its own, where a relative path of ours means nothing.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
