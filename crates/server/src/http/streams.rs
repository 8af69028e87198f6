use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Limits the open event streams of each identity, so that one forgotten browser can't use them all.
#[derive(Clone)]
pub struct Streams {
    limit: usize,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

/// The slot of one open stream. Dropping it frees the slot.
pub(super) struct StreamSlot {
    name: String,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

impl Streams {
    /// Allows each identity at most `limit` open streams.
    #[must_use]
    pub fn new(limit: usize) -> Streams {
        Streams {
            limit,
            open: Arc::default(),
        }
    }

    /// Number of open streams of all identities.
    pub(super) fn open(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().sum()
    }

    #[cfg(test)]
    pub(super) fn is_full(&self, name: &str) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(name).is_some_and(|count| *count >= self.limit)
    }

    /// A slot for the identity `name`; `None` if it has `limit` streams open.
    pub(super) fn acquire(&self, name: &str) -> Option<StreamSlot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(name.to_owned()).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(StreamSlot {
            name: name.to_owned(),
            open: Arc::clone(&self.open),
        })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_limited_per_identity_and_freed_on_drop() {
        let streams = Streams::new(1);
        let slot = streams.acquire("ann").unwrap();
        assert!(streams.acquire("ann").is_none());
        assert!(streams.acquire("bob").is_some());
        drop(slot);
        assert!(streams.acquire("ann").is_some());
        assert!(streams.open.lock().unwrap().is_empty());
    }
}
