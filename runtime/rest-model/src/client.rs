//! A training site as REST shows it.

use crate::Time;
use nsfl_types::{ClientId, Resource, Runtime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Its id, from its certificate.
    pub id: ClientId,
    /// Its address as it sees it.
    pub address: String,
    /// Operating system.
    pub os: String,
    /// Version of its software.
    pub version: String,
    /// Runtimes it supports.
    pub runtimes: Vec<Runtime>,
    /// A free label.
    pub label: String,
    /// `online`, or `lost` while its link is down.
    pub state: String,
    /// Tasks it runs at once, at most.
    pub max_tasks: u32,
    /// Tasks it has now.
    pub current_tasks: u32,
    /// What it offers.
    pub resource: Resource,
    /// Data set name to sample count.
    pub datasets: BTreeMap<String, u64>,
    /// Since when it is registered.
    pub registered: Time,
    /// Its last sign of life.
    pub last_seen: Time,
}

/// Every known client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// By id.
    pub clients: Vec<Client>,
}
