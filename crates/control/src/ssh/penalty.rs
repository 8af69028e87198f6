//! Avoids being shut out by an sshd after failed logins.
//!
//! OpenSSH 9.8 and newer keeps a penalty per source address (`PerSourcePenalties`, on by default): a refused
//! login adds 5 s, a connection that ends without a login adds 1 s. Penalties add up and expire with time; if
//! more than 15 s are outstanding, sshd refuses every connection from that address until they have expired, at
//! most 10 minutes. We count our own penalties by the same rules: watchers and probes wait well before that
//! limit, operators never wait.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::{SshError, Stage};
use crate::target::Endpoint;

/// Penalty for a refused login, the highest.
const REFUSED_LOGIN: Duration = Duration::from_secs(5);
/// Penalty for a connection that ends before its login.
const NO_LOGIN: Duration = Duration::from_secs(1);
/// Maximum outstanding penalty at a server.
const PENALTY_MAX: Duration = Duration::from_secs(600);
/// A server refuses connections above this penalty.
#[cfg(test)]
const REFUSE_ABOVE: Duration = Duration::from_secs(15);
/// Maximum outstanding penalty that watchers and probes cause: it leaves an operator one failed login.
const BACKGROUND_MAX: Duration = Duration::from_secs(9);
/// Maximum number of servers to track; far more than are configured.
const SERVERS_MAX: usize = 256;

/// The penalty at one server.
#[derive(Debug, Clone, Copy, Default)]
struct Penalty {
    expires: Option<Instant>,
}

impl Penalty {
    fn outstanding(self, now: Instant) -> Duration {
        let expires = self.expires.unwrap_or(now);
        expires.saturating_duration_since(now)
    }

    fn add(&mut self, cost: Duration, now: Instant) {
        if !cost.is_zero() {
            self.expires = Some(now + (self.outstanding(now) + cost).min(PENALTY_MAX));
        }
    }

    /// Time to wait before one more dial, so that even a refused login stays within `BACKGROUND_MAX`.
    fn wait(self, now: Instant) -> Duration {
        (self.outstanding(now) + REFUSED_LOGIN).saturating_sub(BACKGROUND_MAX)
    }
}

/// The penalties of the whole process: a server sees all its connections from one address.
static PENALTIES: LazyLock<Mutex<HashMap<(String, u16), Penalty>>> = LazyLock::new(Mutex::default);

fn with_penalty<T>(endpoint: &Endpoint, work: impl FnOnce(&mut Penalty, Instant) -> T) -> T {
    let now = Instant::now();
    let mut penalties = PENALTIES.lock();
    if penalties.len() >= SERVERS_MAX {
        penalties.retain(|_, penalty| !penalty.outstanding(now).is_zero());
    }
    let server = (endpoint.host.clone(), endpoint.port);
    work(penalties.entry(server).or_default(), now)
}

/// Time that watchers and probes must wait before dialling `endpoint`.
pub(super) fn wait(endpoint: &Endpoint) -> Duration {
    with_penalty(endpoint, |penalty, now| penalty.wait(now))
}

/// The penalty outstanding at `endpoint`, by our own count.
pub(super) fn outstanding(endpoint: &Endpoint) -> Duration {
    with_penalty(endpoint, |penalty, now| penalty.outstanding(now))
}

/// Records the result of a dial.
pub(super) fn record(endpoint: &Endpoint, error: Option<&SshError>) {
    let cost = error.map_or(Duration::ZERO, cost);
    with_penalty(endpoint, |penalty, now| penalty.add(cost, now));
}

/// The highest penalty that a failed dial can cause.
fn cost(error: &SshError) -> Duration {
    match error {
        SshError::KeyRefused { .. }
        | SshError::TimedOut {
            stage: Stage::Authenticating,
            ..
        } => REFUSED_LOGIN,
        // sshd refused it at once, or never saw it.
        SshError::ShutOut { .. }
        | SshError::HeldBack { .. }
        | SshError::TimedOut {
            stage: Stage::Connecting,
            ..
        } => Duration::ZERO,
        SshError::Unreachable { greeted: false, .. } => Duration::ZERO,
        _ => NO_LOGIN,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The server's side, as sshd_config(5) describes it.
    #[derive(Default)]
    struct Server {
        until: f64,
        refuses: bool,
    }

    impl Server {
        /// Whether the connection at `now` is accepted; if so it costs `cost`.
        fn accepts(&mut self, now: f64, cost: f64) -> bool {
            if self.until <= now {
                (self.until, self.refuses) = (now, false);
            }
            if self.refuses {
                return false;
            }
            self.until = (self.until + cost).min(now + PENALTY_MAX.as_secs_f64());
            self.refuses = self.until - now > REFUSE_ABOVE.as_secs_f64();
            true
        }
    }

    proptest! {
        /// Whatever happens to the dials of watchers, this machine is never shut out, even if an
        /// operator's key is refused in addition.
        #[test]
        fn watchers_never_get_this_machine_shut_out(
            tries in prop::collection::vec((0..4_000_u64, 0..3_usize), 1..200),
            operator in 0..200_usize,
        ) {
            let start = Instant::now();
            let (mut now, mut penalty, mut server) = (start, Penalty::default(), Server::default());
            for (at, (pause, result)) in tries.into_iter().enumerate() {
                now += Duration::from_millis(pause);
                let is_operator = at == operator;
                if !is_operator && !penalty.wait(now).is_zero() {
                    continue;
                }
                let cost = if is_operator { REFUSED_LOGIN } else { [Duration::ZERO, NO_LOGIN, REFUSED_LOGIN][result] };
                let elapsed = (now - start).as_secs_f64();
                prop_assert!(server.accepts(elapsed, cost.as_secs_f64()));
                penalty.add(cost, now);
            }
            prop_assert!(!server.refuses);
        }
    }

    #[test]
    fn dial_is_allowed_after_the_wait() {
        let now = Instant::now();
        let mut penalty = Penalty::default();
        assert_eq!(penalty.wait(now), Duration::ZERO);
        penalty.add(REFUSED_LOGIN, now);
        let wait = penalty.wait(now);
        assert_eq!(wait, Duration::from_secs(1));
        assert_eq!(penalty.wait(now + wait), Duration::ZERO);
        for _ in 0..1000 {
            penalty.add(REFUSED_LOGIN, now);
        }
        assert_eq!(penalty.outstanding(now), PENALTY_MAX);
        assert_eq!(penalty.outstanding(now + PENALTY_MAX), Duration::ZERO);
    }
}
