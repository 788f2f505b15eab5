//! How many records went where.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The stream.
    Stdout,
    /// The central logging service.
    Central,
}

impl Destination {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Central];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Central => "central",
        }
    }
}

/// What became of a record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has arrived.
    Written,
    /// There was no room for it, or no way to get it there.
    Dropped,
    /// It will never be taken.
    Refused,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Written, Self::Dropped, Self::Refused];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }
}

/// How many records went where, since the start.
#[derive(Debug, Default)]
pub struct LogCounts([[AtomicU64; Fate::ALL.len()]; Destination::ALL.len()]);

impl LogCounts {
    /// How many records had this fate there.
    #[must_use]
    pub fn get(&self, destination: Destination, fate: Fate) -> u64 {
        self.count(destination, fate).load(Ordering::Relaxed)
    }

    /// All of these counts.
    pub fn all(&self) -> impl Iterator<Item = (Destination, Fate, u64)> {
        let of = |destination| Fate::ALL.map(|fate| (destination, fate, self.get(destination, fate)));
        Destination::ALL.into_iter().flat_map(of)
    }

    pub(crate) fn add(&self, destination: Destination, fate: Fate, count: u64) {
        self.count(destination, fate).fetch_add(count, Ordering::Relaxed);
    }

    fn count(&self, destination: Destination, fate: Fate) -> &AtomicU64 {
        &self.0[destination as usize][fate as usize]
    }
}
