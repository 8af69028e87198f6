use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts open event streams per identity, so that one forgotten browser can't hold them all.
#[derive(Clone)]
pub struct Streams {
    limit: usize,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

/// One open stream; dropping it gives the place back.
pub(super) struct Place {
    name: String,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

impl Streams {
    /// At most `limit` for each identity.
    #[must_use]
    pub fn new(limit: usize) -> Streams {
        Streams {
            limit,
            open: Arc::default(),
        }
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().sum()
    }

    #[cfg(test)]
    pub(super) fn is_full(&self, name: &str) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(name).is_some_and(|count| *count >= self.limit)
    }

    pub(super) fn take(&self, name: &str) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(name.to_owned()).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place {
            name: name.to_owned(),
            open: Arc::clone(&self.open),
        })
    }
}

impl Drop for Place {
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
    fn an_identity_gets_its_places_back_and_takes_none_from_others() {
        let streams = Streams::new(1);
        let place = streams.take("ann").unwrap();
        assert!(streams.take("ann").is_none());
        assert!(streams.take("bob").is_some());
        drop(place);
        assert!(streams.take("ann").is_some());
        assert!(streams.open.lock().unwrap().is_empty());
    }
}
