//! The hash chain, purely.
//!
//! ```text
//! link(0) = SHA-256("breakglass incident" ‖ incident id)
//! link(n) = SHA-256(link(n-1) ‖ canonical bytes of event n)
//! ```
//!
//! The canonical bytes are exactly the JSON that is stored: the event without its hash. The first
//! link holds the incident's id, so a whole log cannot be passed off as another incident's.
//!
//! **What it proves**: a changed, removed, swapped or inserted event is found, also at the tail,
//! because each incident's row names its newest `seq` and hash. **What it cannot prove**: someone
//! who may write the file can recompute every hash and the row too. Against that, ship the events
//! elsewhere as they happen (see [`Options::on_event`](crate::Options::on_event)), or note an
//! incident's newest hash where that someone cannot write.

use sha2::{Digest, Sha256};

use breakglass_model::IncidentId;

/// One link.
pub(crate) type Hash = [u8; 32];

/// The link before an incident's first event.
pub(crate) fn genesis(incident: IncidentId) -> Hash {
    Sha256::new()
        .chain_update(b"breakglass incident")
        .chain_update(incident.as_bytes())
        .finalize()
        .into()
}

/// The link of the event with these canonical bytes.
pub(crate) fn link(previous: &Hash, canonical: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(previous)
        .chain_update(canonical)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    /// Where a log first departs from its hashes.
    fn first_fault(incident: IncidentId, log: &[(Vec<u8>, Hash)]) -> Option<usize> {
        let mut previous = genesis(incident);
        log.iter().position(|(bytes, hash)| {
            previous = link(&previous, bytes);
            previous != *hash
        })
    }

    fn forge(incident: IncidentId, events: &[Vec<u8>]) -> Vec<(Vec<u8>, Hash)> {
        let mut previous = genesis(incident);
        let step = |bytes: &Vec<u8>| {
            previous = link(&previous, bytes);
            (bytes.clone(), previous)
        };
        events.iter().map(step).collect()
    }

    fn logs() -> impl Strategy<Value = (Uuid, Vec<Vec<u8>>)> {
        let event = prop::collection::vec(any::<u8>(), 1..60);
        (
            any::<u128>().prop_map(Uuid::from_u128),
            prop::collection::vec(event, 2..12),
        )
    }

    proptest! {
        #[test]
        fn an_untouched_log_holds((incident, events) in logs()) {
            prop_assert_eq!(first_fault(incident, &forge(incident, &events)), None);
        }

        #[test]
        fn any_flipped_bit_is_found((incident, events) in logs(), at in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(), in_hash: bool) {
            let mut log = forge(incident, &events);
            let row = at.index(log.len());
            let bytes = if in_hash { &mut log[row].1[..] } else { &mut log[row].0[..] };
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(first_fault(incident, &log), Some(row));
        }

        #[test]
        fn a_removed_row_is_found((incident, events) in logs(), at in any::<prop::sample::Index>()) {
            let mut log = forge(incident, &events);
            let row = at.index(log.len() - 1);
            log.remove(row);
            prop_assert_eq!(first_fault(incident, &log), Some(row));
        }

        #[test]
        fn swapped_rows_are_found((incident, events) in logs(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
            let mut log = forge(incident, &events);
            let (a, b) = (a.index(log.len()), b.index(log.len()));
            prop_assume!(a != b);
            log.swap(a, b);
            prop_assert_eq!(first_fault(incident, &log), Some(a.min(b)));
        }

        #[test]
        fn an_inserted_row_is_found((incident, events) in logs(), at in any::<prop::sample::Index>(), bytes: Vec<u8>, hash: Hash) {
            let mut log = forge(incident, &events);
            let row = at.index(log.len());
            log.insert(row, (bytes, hash));
            prop_assert!(first_fault(incident, &log).is_some_and(|fault| fault >= row));
        }

        #[test]
        fn a_log_is_no_other_incidents_log((incident, events) in logs()) {
            let other = Uuid::from_u128(!incident.as_u128());
            prop_assert_eq!(first_fault(other, &forge(incident, &events)), Some(0));
        }
    }
}
