//! How much patience an sshd has left with this machine.
//!
//! OpenSSH 9.8 and newer counts, by address, what it does not like (`PerSourcePenalties`, on unless it is
//! turned off): a connection that ends with a refused login costs 5 s, one that ends without a login 1 s.
//! What it costs adds up and runs off with time; once more than 15 s are outstanding, every connection from
//! that address is refused until they have run off, 10 minutes at the most. So what we cost is counted here
//! by the same rules, and what can wait does, well before that. People never wait.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::{SshError, Stage};
use crate::target::Endpoint;

/// What costs most of all that we may do.
const WORST: Duration = Duration::from_secs(5);
/// A connection that ends before its login.
const NO_LOGIN: Duration = Duration::from_secs(1);
/// What a server adds up at the most.
const MOST: Duration = Duration::from_secs(600);
/// Beyond this much it shuts us out.
#[cfg(test)]
const LIMIT: Duration = Duration::from_secs(15);
/// What those that can wait leave outstanding at the most: it keeps a failure in hand for a person.
const PATIENT: Duration = Duration::from_secs(9);
/// Servers that are remembered: far more than are configured.
const SERVERS: usize = 256;

/// What is outstanding at one server.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    until: Option<Instant>,
}

impl Account {
    fn outstanding(self, now: Instant) -> Duration {
        let left = self.until.map(|until| until.saturating_duration_since(now));
        left.unwrap_or_default()
    }

    fn charge(&mut self, cost: Duration, now: Instant) {
        if !cost.is_zero() {
            self.until = Some(now + (self.outstanding(now) + cost).min(MOST));
        }
    }

    /// How long to wait, so that whatever becomes of one more dial stays within `PATIENT`.
    fn wait(self, now: Instant) -> Duration {
        (self.outstanding(now) + WORST).saturating_sub(PATIENT)
    }
}

/// All accounts of this process: whoever dials, the server sees one address.
static ACCOUNTS: LazyLock<Mutex<HashMap<(String, u16), Account>>> = LazyLock::new(Mutex::default);

fn with<T>(endpoint: &Endpoint, work: impl FnOnce(&mut Account) -> T) -> T {
    let mut accounts = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if accounts.len() >= SERVERS {
        let now = Instant::now();
        accounts.retain(|_, account| !account.outstanding(now).is_zero());
    }
    let server = (endpoint.host.clone(), endpoint.port);
    work(accounts.entry(server).or_default())
}

/// How long who can wait has to wait before dialling `endpoint`.
pub(super) fn wait(endpoint: &Endpoint) -> Duration {
    with(endpoint, |account| account.wait(Instant::now()))
}

/// What is outstanding at `endpoint`, by our own count.
pub(super) fn outstanding(endpoint: &Endpoint) -> Duration {
    with(endpoint, |account| account.outstanding(Instant::now()))
}

/// Notes how a dial ended.
pub(super) fn note(endpoint: &Endpoint, failed: Option<&SshError>) {
    let cost = failed.map_or(Duration::ZERO, cost);
    with(endpoint, |account| account.charge(cost, Instant::now()));
}

/// What a failed dial costs at the worst.
fn cost(error: &SshError) -> Duration {
    match error {
        SshError::KeyRefused { .. }
        | SshError::TimedOut {
            stage: Stage::Authenticating,
            ..
        } => WORST,
        // Refused before sshd began with it, or never there.
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

    /// The server's side, as sshd_config(5) tells it.
    #[derive(Default)]
    struct Server {
        until: f64,
        shut: bool,
    }

    impl Server {
        /// Whether the connection at `now` is taken; if so it costs `cost`.
        fn takes(&mut self, now: f64, cost: f64) -> bool {
            if self.until <= now {
                (self.until, self.shut) = (now, false);
            }
            if self.shut {
                return false;
            }
            self.until = (self.until + cost).min(now + MOST.as_secs_f64());
            self.shut = self.until - now > LIMIT.as_secs_f64();
            true
        }
    }

    proptest! {
        /// However often those try that can wait, and whatever becomes of it, nobody is shut out; not even
        /// with a person's wrong key on top of it.
        #[test]
        fn those_that_can_wait_never_have_us_shut_out(
            tries in prop::collection::vec((0..4_000_u64, 0..3_usize), 1..200),
            person in 0..200_usize,
        ) {
            let start = Instant::now();
            let (mut now, mut account, mut server) = (start, Account::default(), Server::default());
            for (at, (pause, result)) in tries.into_iter().enumerate() {
                now += Duration::from_millis(pause);
                let is_person = at == person;
                if !is_person && !account.wait(now).is_zero() {
                    continue;
                }
                let cost = if is_person { WORST } else { [Duration::ZERO, NO_LOGIN, WORST][result] };
                let elapsed = (now - start).as_secs_f64();
                prop_assert!(server.takes(elapsed, cost.as_secs_f64()));
                account.charge(cost, now);
            }
            prop_assert!(!server.shut);
        }
    }

    #[test]
    fn who_has_waited_as_long_as_told_may_dial() {
        let now = Instant::now();
        let mut account = Account::default();
        assert_eq!(account.wait(now), Duration::ZERO);
        account.charge(WORST, now);
        let wait = account.wait(now);
        assert_eq!(wait, Duration::from_secs(1));
        assert_eq!(account.wait(now + wait), Duration::ZERO);
        for _ in 0..1000 {
            account.charge(WORST, now);
        }
        assert_eq!(account.outstanding(now), MOST);
        assert_eq!(account.outstanding(now + MOST), Duration::ZERO);
    }
}
