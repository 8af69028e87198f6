//! Slows down clients that guess tokens, and limits how often refusals are logged.
//!
//! The right token never has to wait, because it is compared first. All tables are bounded, so
//! guessing from many addresses does not use up memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Number of wrong tokens without a delay.
const FREE_ATTEMPTS: u32 = 10;
/// Maximum delay after a wrong token.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// A burst of wrong tokens ends after this time without one. A burst that continues is logged again
/// after this time.
const BURST_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Maximum number of peers in the table.
const MAX_PEERS: usize = 4096;
/// Shortest interval between two log lines about the same refusal.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of different refusals that are logged per interval.
const MAX_LOGGED_REFUSALS: usize = 64;

#[derive(Default)]
pub(super) struct Backoff {
    peers: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    /// Wrong tokens in this burst.
    count: u32,
    last: Instant,
    last_logged: Option<Instant>,
    /// Wrong tokens since `last_logged`.
    unlogged: u32,
}

/// The consequences of a wrong token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Whether to log it: the first of a burst.
    pub(super) is_log_due: bool,
    /// Number of wrong tokens since the last log line.
    pub(super) unlogged: u32,
    /// The time to wait, after too many wrong tokens.
    pub(super) retry_after: Option<Duration>,
}

impl Backoff {
    /// Counts a wrong token.
    pub(super) fn failed(&self, peer: Option<IpAddr>, now: Instant) -> Failed {
        let key = network_of(peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&key) {
            make_room(&mut peers, now);
        }
        let fresh = Failures {
            count: 0,
            last: now,
            last_logged: None,
            unlogged: 0,
        };
        peers.entry(key).or_insert(fresh).count_one(now)
    }

    /// Resets the peer's failures after a right token. The time of the last log line is kept, so that
    /// alternating right and wrong tokens can't flood the log.
    pub(super) fn succeeded(&self, peer: Option<IpAddr>) {
        if let Some(peer) = peer {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(failures) = peers.get_mut(&network_of(peer)) {
                failures.count = 0;
            }
        }
    }
}

impl Failures {
    fn count_one(&mut self, now: Instant) -> Failed {
        let is_long_ago = |at: Instant| now.saturating_duration_since(at) >= BURST_TIMEOUT;
        if is_long_ago(self.last) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
        let failed = Failed {
            is_log_due: self.last_logged.is_none_or(is_long_ago),
            unlogged: self.unlogged,
            retry_after: delay(self.count),
        };
        if failed.is_log_due {
            self.last_logged = Some(now);
            self.unlogged = 0;
        } else {
            self.unlogged = self.unlogged.saturating_add(1);
        }
        failed
    }
}

/// The refusals that were logged recently, so that a client that repeats a request can't flood the
/// log.
#[derive(Default)]
pub(super) struct RecentRefusals(Mutex<HashMap<String, Instant>>);

impl RecentRefusals {
    /// Whether to log `refusal` now. Remembers it if so.
    pub(super) fn is_log_due(&self, refusal: &str, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_, at| now.saturating_duration_since(*at) < REFUSAL_LOG_INTERVAL);
        let due = logged.len() < MAX_LOGGED_REFUSALS && !logged.contains_key(refusal);
        if due {
            logged.insert(refusal.to_owned(), now);
        }
        due
    }
}

/// The delay after `count` wrong tokens: it doubles with each one, up to the maximum.
fn delay(count: u32) -> Option<Duration> {
    let excess = count.checked_sub(FREE_ATTEMPTS + 1)?;
    Some(Duration::from_secs(1 << excess.min(6)).min(MAX_DELAY))
}

/// Counts the IPv6 addresses of one /64 network as one peer.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

fn make_room(peers: &mut HashMap<IpAddr, Failures>, now: Instant) {
    peers.retain(|_, failures| now.saturating_duration_since(failures.last) < BURST_TIMEOUT);
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
    fn delay_doubles_after_ten_attempts_up_to_one_minute() {
        let backoff = Backoff::default();
        let now = Instant::now();
        let failed = |_| backoff.failed(ip("10.0.0.1"), now).retry_after;
        let seconds: Vec<Option<u64>> = (0..19)
            .map(failed)
            .map(|wait| wait.map(|wait| wait.as_secs()))
            .collect();
        assert_eq!(seconds[..10], [None; 10]);
        let grown = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(Some);
        assert_eq!(seconds[10..], grown);
    }

    #[test]
    fn other_peers_are_not_slowed_and_a_64_network_counts_as_one_peer() {
        let backoff = Backoff::default();
        let now = Instant::now();
        let wait = |peer| backoff.failed(ip(peer), now).retry_after;
        for _ in 0..10 {
            assert_eq!(wait("2001:db8::1"), None);
        }
        assert_eq!(wait("2001:db8:0:1::1"), None);
        assert!(wait("2001:db8::2").is_some());
    }

    #[test]
    fn failures_reset_after_success_and_after_the_burst_timeout() {
        let backoff = Backoff::default();
        let now = Instant::now();
        let many = |at| {
            let waits = (0..12).map(|_| backoff.failed(ip("10.0.0.1"), at).retry_after);
            waits.last().flatten()
        };
        assert!(many(now).is_some());
        let later = now + BURST_TIMEOUT;
        assert_eq!(backoff.failed(ip("10.0.0.1"), later).retry_after, None);
        assert!(many(later).is_some());
        backoff.succeeded(ip("10.0.0.1"));
        assert_eq!(backoff.failed(ip("10.0.0.1"), later).retry_after, None);
    }

    #[test]
    fn burst_is_logged_once_even_with_right_tokens_in_between() {
        let backoff = Backoff::default();
        let now = Instant::now();
        let failed = |seconds| {
            let at = now + Duration::from_secs(seconds);
            let failed = backoff.failed(ip("10.0.0.1"), at);
            backoff.succeeded(ip("10.0.0.1"));
            failed
        };
        assert!(failed(0).is_log_due);
        assert_eq!((1..500).filter(|n| failed(*n).is_log_due).count(), 0);
        let again = failed(500 + BURST_TIMEOUT.as_secs());
        assert_eq!((again.is_log_due, again.unlogged), (true, 499));
        assert!(backoff.failed(ip("10.0.0.2"), now).is_log_due);
    }

    #[test]
    fn continuing_burst_is_logged_every_fifteen_minutes() {
        let backoff = Backoff::default();
        let now = Instant::now();
        let news = (0..3600).filter(|n| {
            let at = now + Duration::from_secs(*n);
            backoff.failed(ip("10.0.0.1"), at).is_log_due
        });
        assert_eq!(news.count(), 4);
    }

    #[test]
    fn repeated_refusal_is_logged_once_per_interval() {
        let recent = RecentRefusals::default();
        let now = Instant::now();
        let interval = REFUSAL_LOG_INTERVAL;
        assert!(recent.is_log_due("a", now));
        assert!(!recent.is_log_due("a", now + interval / 2));
        assert!(recent.is_log_due("b", now + interval / 2));
        assert!(recent.is_log_due("b", now + interval * 2));
        let many = (0..1000).filter(|n| recent.is_log_due(&n.to_string(), now + interval * 4));
        assert_eq!(many.count(), MAX_LOGGED_REFUSALS);
    }

    #[test]
    fn table_of_peers_is_bounded() {
        let backoff = Backoff::default();
        let now = Instant::now();
        for n in 0..6000_u32 {
            backoff.failed(Some(IpAddr::V4(n.into())), now);
        }
        assert_eq!(backoff.peers.lock().unwrap().len(), MAX_PEERS);
    }
}
