//! The jobs in memory, as they stand in the store. Whoever changes an entry has committed the change before.

use crate::entry::Entry;
use nsfl_actor::Failure;
use nsfl_store::JobStore;
use nsfl_types::{JobKey, Namespace};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Every job by key.
pub(crate) struct Book {
    jobs: BTreeMap<JobKey, Entry>,
}

impl Book {
    pub(crate) async fn load(store: &dyn JobStore) -> Result<Self, Failure> {
        let records = store.jobs().await?;
        let jobs = records.iter().map(|r| Ok((r.key.clone(), Entry::from_record(r)?)));
        Ok(Self { jobs: jobs.collect::<Result<_, Failure>>()? })
    }

    pub(crate) fn get(&self, key: &JobKey) -> Option<&Entry> {
        self.jobs.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &JobKey) -> Option<&mut Entry> {
        self.jobs.get_mut(key)
    }

    pub(crate) fn put(&mut self, entry: Entry) {
        self.jobs.insert(entry.machine.key().clone(), entry);
    }

    pub(crate) fn remove(&mut self, key: &JobKey) {
        self.jobs.remove(key);
    }

    pub(crate) fn keys(&self) -> Vec<JobKey> {
        self.jobs.keys().cloned().collect()
    }

    pub(crate) fn of_namespace<'a>(&'a self, namespace: &'a Namespace) -> impl Iterator<Item = &'a Entry> {
        self.jobs.values().filter(move |e| e.machine.key().namespace == *namespace)
    }

    /// Waiting jobs, first come first: higher priority, then older.
    pub(crate) fn waiting(&self) -> Vec<JobKey> {
        let mut waiting: Vec<&Entry> = self.jobs.values().filter(|e| e.is_waiting()).collect();
        waiting.sort_by_key(|e| (Reverse(e.spec.priority), e.created, e.machine.key().clone()));
        waiting.into_iter().map(|e| e.machine.key().clone()).collect()
    }

    pub(crate) fn running(&self) -> usize {
        self.jobs.values().filter(|e| e.is_running()).count()
    }

    pub(crate) fn count_by_state(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.jobs.values() {
            *counts.entry(entry.state().as_str()).or_default() += 1;
        }
        counts
    }
}
