//! What one receiver has not been told yet: a bounded queue that is on disk before anybody counts on
//! it, and what became of all that went through.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use breakglass_model::clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deliver::Failure;
use super::notification::Notification;
use super::pause::{jitter, pause};
use super::status::{LastError, ReceiverStatus};
use super::store;
use breakglass_config::ReceiverConfig;

/// Most that wait; beyond it the oldest goes.
const MAX_WAITING: usize = 256;
/// Of how many that are settled the id is kept, so that none is sent again.
const MAX_SETTLED: usize = 512;
/// Most attempts for one.
const MAX_TRIES: u32 = 20;
/// How often the thread looks whether it is to end.
const GLANCE: Duration = Duration::from_secs(5);
/// The age at which one is given up.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// One that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub notification: Notification,
    /// Attempts that failed.
    tries: u32,
}

/// What is on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    waiting: VecDeque<Waiting>,
    settled: VecDeque<String>,
    delivered: u64,
    given_up: u64,
    dropped: u64,
    last_error: Option<LastError>,
    last_success: Option<String>,
}

#[derive(Debug)]
struct Queue {
    kept: Kept,
    /// Attempts in a row that failed.
    failures: u32,
    /// Given up or dropped since the last that was delivered, or since this server's start: what was
    /// wrong with the configuration may be mended.
    missed: u64,
    /// Until when the receiver is left alone.
    rest: Option<Instant>,
    /// Why the file is not up to date.
    unsaved: Option<String>,
}

/// The queue of one receiver. Whoever puts in or takes out may wait for the disk; the status waits for
/// nothing.
#[derive(Debug)]
pub(crate) struct Outbox {
    path: PathBuf,
    about: ReceiverStatus,
    queue: Mutex<Queue>,
    stopped: AtomicBool,
    changed: Condvar,
    shown: Mutex<ReceiverStatus>,
}

impl Outbox {
    /// With what an earlier server left in `dir`.
    pub(crate) fn open(dir: &Path, receiver: &ReceiverConfig) -> Outbox {
        let path = dir.join(format!("{}.outbox", receiver.name));
        let queue = Queue {
            kept: store::load(&path).unwrap_or_default(),
            failures: 0,
            missed: 0,
            rest: None,
            unsaved: None,
        };
        let about = ReceiverStatus::of(receiver);
        let shown = Mutex::new(queue.status(&about));
        Outbox {
            path,
            about,
            queue: Mutex::new(queue),
            stopped: AtomicBool::new(false),
            changed: Condvar::new(),
            shown,
        }
    }

    /// Puts in what this receiver wants and does not have yet; on disk when this returns, if the disk
    /// can be written.
    pub(crate) fn put(&self, notifications: &[Notification]) {
        let mut queue = self.lock();
        let before = queue.kept.waiting.len();
        for notification in notifications {
            if self.about.wants(notification.kind) && !queue.knows(&notification.id) {
                queue.kept.waiting.push_back(Waiting {
                    notification: notification.clone(),
                    tries: 0,
                });
            }
        }
        if queue.kept.waiting.len() == before {
            return;
        }
        while queue.kept.waiting.len() > MAX_WAITING {
            queue.lose_oldest(&self.about.name, Loss::Dropped);
        }
        self.keep(&mut queue);
        self.changed.notify_all();
    }

    /// Waits for the next that is due; `None` when it is stopped.
    pub(crate) fn next(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            if queue.expire(&self.about.name, Timestamp::now()) {
                self.keep(&mut queue);
            }
            let left = queue
                .rest
                .map(|until| until.saturating_duration_since(Instant::now()));
            let wait = match (queue.kept.waiting.front(), left.unwrap_or_default()) {
                (Some(next), Duration::ZERO) => return Some(next.clone()),
                (Some(_), left) => left.min(GLANCE),
                (None, _) => GLANCE,
            };
            let waited = self.changed.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says what became of an attempt.
    pub(crate) fn settle(&self, sent: &Waiting, result: Result<(), Failure>) {
        let mut queue = self.lock();
        let (name, id) = (self.about.name.as_str(), sent.notification.id.as_str());
        match result {
            Ok(()) => queue.delivered(name, id),
            Err(failure) => queue.failed(name, id, failure),
        }
        self.keep(&mut queue);
    }

    /// Ends [`Outbox::next`], now and from now on.
    pub(crate) fn stop(&self) {
        // Without the lock, under which somebody may wait for the disk: the thread looks now and then.
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// How it stands.
    pub(crate) fn status(&self) -> ReceiverStatus {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    fn keep(&self, queue: &mut Queue) {
        let saved = store::save(&self.path, &queue.kept);
        let before = queue.unsaved.is_some();
        queue.unsaved = saved.err().map(|error| error.to_string());
        if let (Some(error), false) = (&queue.unsaved, before) {
            let path = self.path.display();
            tracing::error!(%path, error, "what waits to be notified is kept in memory alone");
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = queue.status(&self.about);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why one is not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    GivenUp,
    Dropped,
}

impl Queue {
    fn knows(&self, id: &str) -> bool {
        let waits = |waiting: &Waiting| waiting.notification.id == id;
        self.kept.waiting.iter().any(waits) || self.kept.settled.iter().any(|known| known == id)
    }

    fn delivered(&mut self, name: &str, id: &str) {
        if self.failures > 0 {
            tracing::info!(
                receiver = name,
                after = self.failures,
                "a receiver takes notifications again"
            );
        }
        self.take(id);
        (self.failures, self.rest) = (0, None);
        self.kept.delivered += 1;
        self.missed = 0;
        self.kept.last_success = Some(clock::now());
    }

    fn failed(&mut self, name: &str, id: &str, failure: Failure) {
        let Failure { message, again } = failure;
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            tracing::warn!(
                receiver = name,
                failures = self.failures,
                error = message,
                "a notification was not taken"
            );
        }
        self.kept.last_error = Some(LastError {
            at: clock::now(),
            message,
        });
        match again {
            None => self.lose(name, id, Loss::GivenUp),
            Some(asked) => {
                self.rest = Some(Instant::now() + pause(self.failures, asked, jitter()));
                let same = |waiting: &&mut Waiting| waiting.notification.id == id;
                if let Some(waiting) = self.kept.waiting.iter_mut().find(same) {
                    waiting.tries += 1;
                }
            }
        }
    }

    /// Gives up what is too old or was tried too often; says whether there was any.
    fn expire(&mut self, name: &str, now: Timestamp) -> bool {
        let before = self.kept.waiting.len();
        while let Some(oldest) = self.kept.waiting.front() {
            let age = clock::seconds_between(&oldest.notification.at, now);
            if oldest.tries < MAX_TRIES && age < MAX_AGE.as_secs() {
                break;
            }
            self.lose_oldest(name, Loss::GivenUp);
        }
        self.kept.waiting.len() < before
    }

    fn lose_oldest(&mut self, name: &str, loss: Loss) {
        if let Some(oldest) = self.kept.waiting.front() {
            let id = oldest.notification.id.clone();
            self.lose(name, &id, loss);
        }
    }

    fn lose(&mut self, name: &str, id: &str, loss: Loss) {
        self.take(id);
        self.missed += 1;
        let (count, why) = match loss {
            Loss::GivenUp => (&mut self.kept.given_up, "given up"),
            Loss::Dropped => (&mut self.kept.dropped, "dropped: too many wait"),
        };
        *count += 1;
        tracing::error!(receiver = name, id, why, "a notification was not delivered");
    }

    /// Takes one out, and remembers that it is settled.
    fn take(&mut self, id: &str) {
        self.kept
            .waiting
            .retain(|waiting| waiting.notification.id != id);
        self.kept.settled.push_back(id.to_owned());
        while self.kept.settled.len() > MAX_SETTLED {
            self.kept.settled.pop_front();
        }
    }

    fn status(&self, about: &ReceiverStatus) -> ReceiverStatus {
        let kept = &self.kept;
        ReceiverStatus {
            waiting: kept.waiting.len(),
            delivered: kept.delivered,
            given_up: kept.given_up,
            dropped: kept.dropped,
            missed: self.missed,
            failures: self.failures,
            last_error: kept.last_error.clone(),
            last_success: kept.last_success.clone(),
            unsaved: self.unsaved.clone(),
            ..about.clone()
        }
    }
}
