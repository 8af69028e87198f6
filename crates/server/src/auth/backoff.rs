//! Slows down whoever guesses tokens, and nobody else: the right token is never asked to wait,
//! since it is compared first. A bounded table, so that guessing from many addresses costs no
//! memory either.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FREE_TRIES: u32 = 10;
const LONGEST: Duration = Duration::from_secs(60);
/// A burst is over after this long without a failure. One that goes on is logged again after as long.
const FORGET: Duration = Duration::from_secs(15 * 60);
const MAX_PEERS: usize = 4096;
/// How long a refusal that repeats itself is not logged.
const SAID: Duration = Duration::from_secs(60);
/// Most different refusals that are logged in that time.
const MAX_SAID: usize = 64;

#[derive(Default)]
pub(super) struct Backoff {
    peers: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    /// In this burst.
    count: u32,
    last: Instant,
    /// When the log was told, and how many there have been since.
    told: Option<Instant>,
    untold: u32,
}

/// What a failed attempt leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Whether it belongs into the log: the first of a burst.
    pub(super) is_news: bool,
    /// How many there were since the log was told last.
    pub(super) before: u32,
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
        let fresh = Failures {
            count: 0,
            last: now,
            told: None,
            untold: 0,
        };
        peers.entry(key).or_insert(fresh).one_more(now)
    }

    /// Forgives the peer's failures: it knew the token after all. What the log was told stays told,
    /// else one right token between many wrong ones would fill it.
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
    fn one_more(&mut self, now: Instant) -> Failed {
        let long_ago = |at: Instant| now.saturating_duration_since(at) >= FORGET;
        if long_ago(self.last) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
        let (is_news, before) = (self.told.is_none_or(long_ago), self.untold);
        if is_news {
            (self.told, self.untold) = (Some(now), 0);
        } else {
            self.untold = self.untold.saturating_add(1);
        }
        Failed {
            is_news,
            before,
            retry_after: wait(self.count),
        }
    }
}

/// What the log was told lately, so that a page that asks on and on does not fill it.
#[derive(Default)]
pub(super) struct Lately(Mutex<HashMap<String, Instant>>);

impl Lately {
    pub(super) fn is_news(&self, what: &str, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| now.saturating_duration_since(*at) < SAID);
        let is_news = said.len() < MAX_SAID && !said.contains_key(what);
        if is_news {
            said.insert(what.to_owned(), now);
        }
        is_news
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
    fn waits_grow_after_ten_tries_and_stop_growing_at_a_minute() {
        let (backoff, now) = (Backoff::default(), Instant::now());
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
    fn another_peer_is_not_slowed_and_neighbours_in_a_64_are_one_peer() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        let wait = |peer| backoff.failed(ip(peer), now).retry_after;
        for _ in 0..10 {
            assert_eq!(wait("2001:db8::1"), None);
        }
        assert_eq!(wait("2001:db8:0:1::1"), None);
        assert!(wait("2001:db8::2").is_some());
    }

    #[test]
    fn failures_are_forgotten_after_success_and_after_a_while() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        let many = |at| {
            let waits = (0..12).map(|_| backoff.failed(ip("10.0.0.1"), at).retry_after);
            waits.last().flatten()
        };
        assert!(many(now).is_some());
        let later = now + FORGET;
        assert_eq!(backoff.failed(ip("10.0.0.1"), later).retry_after, None);
        assert!(many(later).is_some());
        backoff.succeeded(ip("10.0.0.1"));
        assert_eq!(backoff.failed(ip("10.0.0.1"), later).retry_after, None);
    }

    #[test]
    fn a_burst_is_news_once_also_where_the_right_token_comes_in_between() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        let failed = |seconds| {
            let at = now + Duration::from_secs(seconds);
            let failed = backoff.failed(ip("10.0.0.1"), at);
            backoff.succeeded(ip("10.0.0.1"));
            failed
        };
        assert!(failed(0).is_news);
        assert_eq!((1..500).filter(|n| failed(*n).is_news).count(), 0);
        let again = failed(500 + FORGET.as_secs());
        assert_eq!((again.is_news, again.before), (true, 499));
        assert!(backoff.failed(ip("10.0.0.2"), now).is_news);
    }

    #[test]
    fn a_burst_that_does_not_end_is_news_again_every_quarter_of_an_hour() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        let news = (0..3600).filter(|n| {
            let at = now + Duration::from_secs(*n);
            backoff.failed(ip("10.0.0.1"), at).is_news
        });
        assert_eq!(news.count(), 4);
    }

    #[test]
    fn a_refusal_that_repeats_itself_is_news_once_a_minute() {
        let (lately, now) = (Lately::default(), Instant::now());
        assert!(lately.is_news("a", now));
        assert!(!lately.is_news("a", now + SAID / 2));
        assert!(lately.is_news("b", now + SAID / 2));
        assert!(lately.is_news("b", now + SAID * 2));
        let many = (0..1000).filter(|n| lately.is_news(&n.to_string(), now + SAID * 4));
        assert_eq!(many.count(), MAX_SAID);
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
