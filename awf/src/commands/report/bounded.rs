//! Rows up to a number; what comes later is counted.

use std::collections::BTreeMap;

/// Rows by their key.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    rows: BTreeMap<K, V>,
    most: usize,
    beyond: u64,
}

impl<K: Ord, V: Default> Bounded<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { rows: BTreeMap::new(), most, beyond: 0 }
    }

    /// The row of this key; `None`, and so many attempts counted, if there is no room for it.
    pub(super) fn row(&mut self, key: K, attempts: u64) -> Option<&mut V> {
        if self.rows.len() >= self.most && !self.rows.contains_key(&key) {
            self.beyond += attempts;
            return None;
        }
        Some(self.rows.entry(key).or_default())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Attempts that belong to no row.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }
}
