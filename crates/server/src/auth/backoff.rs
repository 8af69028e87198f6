//! Slows down whoever guesses tokens, and nobody else: the right token is never asked to wait,
//! since it is compared first. A bounded table, so that guessing from many addresses costs no
//! memory either.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FREE_TRIES: u32 = 5;
const LONGEST: Duration = Duration::from_secs(60);
const FORGET: Duration = Duration::from_secs(15 * 60);
const MAX_PEERS: usize = 4096;

#[derive(Default)]
pub(super) struct Backoff {
    peers: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// What a failed attempt leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// How many there were lately, this one included.
    pub(super) count: u32,
    /// How long to wait, once there were too many.
    pub(super) retry_after: Option<Duration>,
}

impl Backoff {
    /// Notes a wrong token.
    pub(super) fn failed(&self, peer: Option<IpAddr>, now: Instant) -> Failed {
        let key = network_of(peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&key) {
            make_room(&mut peers, now);
        }
        let entry = peers.entry(key).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.saturating_duration_since(entry.last) >= FORGET {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        Failed {
            count: entry.count,
            retry_after: wait(entry.count),
        }
    }

    /// Forgets the peer's failures: it knew the token after all.
    pub(super) fn succeeded(&self, peer: Option<IpAddr>) {
        if let Some(peer) = peer {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            peers.remove(&network_of(peer));
        }
    }
}

fn wait(count: u32) -> Option<Duration> {
    let excess = count.checked_sub(FREE_TRIES + 1)?;
    Some(Duration::from_secs(1 << excess.min(6)).min(LONGEST))
}

/// One household of IPv6 addresses counts as one peer.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

fn make_room(peers: &mut HashMap<IpAddr, Failures>, now: Instant) {
    peers.retain(|_, failures| now.saturating_duration_since(failures.last) < FORGET);
    if peers.len() >= MAX_PEERS {
        let oldest = peers
            .iter()
            .min_by_key(|(_, failures)| failures.last)
            .map(|(ip, _)| *ip);
        oldest.map(|ip| peers.remove(&ip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn waits_grow_after_five_tries_and_stop_growing_at_a_minute() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        let seconds: Vec<Option<u64>> = (0..14)
            .map(|_| {
                backoff
                    .failed(ip("10.0.0.1"), now)
                    .retry_after
                    .map(|wait| wait.as_secs())
            })
            .collect();
        assert_eq!(seconds[..5], [None; 5]);
        let grown = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(Some);
        assert_eq!(seconds[5..], grown);
    }

    #[test]
    fn another_peer_is_not_slowed_and_neighbours_in_a_64_are_one_peer() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..9 {
            backoff.failed(ip("2001:db8::1"), now);
        }
        assert_eq!(backoff.failed(ip("2001:db8:0:1::1"), now).count, 1);
        assert_eq!(backoff.failed(ip("2001:db8::2"), now).count, 10);
    }

    #[test]
    fn failures_are_forgotten_after_success_and_after_a_while() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        backoff.failed(ip("10.0.0.1"), now);
        assert_eq!(backoff.failed(ip("10.0.0.1"), now + FORGET).count, 1);
        backoff.succeeded(ip("10.0.0.1"));
        assert_eq!(backoff.failed(ip("10.0.0.1"), now + FORGET).count, 1);
    }

    #[test]
    fn guessing_from_many_addresses_costs_a_bounded_table() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        for n in 0..6000_u32 {
            backoff.failed(Some(IpAddr::V4(n.into())), now);
        }
        assert_eq!(backoff.peers.lock().unwrap().len(), MAX_PEERS);
    }
}
