//! `Directory`: a table of addresses for the whole process, such as job → coordinator.
//!
//! It outlives the actors in it and does not watch them: who inserts an address removes it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

use crate::address::Address;

pub struct Directory<K, M> {
    table: Arc<RwLock<HashMap<K, Address<M>>>>,
}

impl<K: Eq + Hash + Clone, M: Send + 'static> Directory<K, M> {
    pub fn new() -> Self {
        Self { table: Arc::default() }
    }

    /// Enters an address; gives back the one it replaces.
    pub fn insert(&self, key: K, address: Address<M>) -> Option<Address<M>> {
        self.table.write().expect(LOCK).insert(key, address)
    }

    pub fn remove(&self, key: &K) -> Option<Address<M>> {
        self.table.write().expect(LOCK).remove(key)
    }

    pub fn get(&self, key: &K) -> Option<Address<M>> {
        self.table.read().expect(LOCK).get(key).cloned()
    }

    /// In no order.
    pub fn keys(&self) -> Vec<K> {
        self.table.read().expect(LOCK).keys().cloned().collect()
    }
}

impl<K: Eq + Hash + Clone, M: Send + 'static> Default for Directory<K, M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, M> Clone for Directory<K, M> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table) }
    }
}

impl<K, M> std::fmt::Debug for Directory<K, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

const LOCK: &str = "nothing panics while it holds the table's lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_table() {
        let one: Directory<u8, ()> = Directory::new();
        let other = one.clone();
        one.insert(1, Address::new("a", 1));
        assert_eq!(other.get(&1).unwrap().path(), "a");
        assert_eq!(other.keys(), [1]);
        other.remove(&1);
        assert!(one.get(&1).is_none());
    }
}
