//! The pending notifications of one receiver: a bounded queue, stored on disk before it counts as accepted, with
//! the results of past deliveries.

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

/// Maximum number of pending notifications; above it the oldest is dropped.
const PENDING_MAX: usize = 256;
/// Number of ids of finished notifications that are stored, so that none is sent again.
const SETTLED_IDS_MAX: usize = 512;
/// Maximum number of attempts per notification.
const ATTEMPTS_MAX: u32 = 20;
/// Maximum wait until the thread checks whether it must stop.
const STOP_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Age at which a notification is given up.
pub(crate) const NOTIFICATION_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A pending notification.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub notification: Notification,
    /// Number of failed attempts.
    tries: u32,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
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
    stored: Stored,
    /// Number of consecutive failed attempts.
    failures: u32,
    /// Number of notifications given up or dropped since the last delivery, or since this server started: a new
    /// configuration may have fixed the cause.
    missed: u64,
    /// Time of the next attempt.
    paused_until: Option<Instant>,
    /// Why the file could not be written, if it is out of date.
    unsaved: Option<String>,
}

/// The queue of one receiver. Adding and removing may wait for the disk; reading the status does not.
#[derive(Debug)]
pub(crate) struct Outbox {
    path: PathBuf,
    initial_status: ReceiverStatus,
    queue: Mutex<Queue>,
    stopped: AtomicBool,
    changed: Condvar,
    shown: Mutex<ReceiverStatus>,
}

impl Outbox {
    /// Opens the queue in `dir`, with the notifications that are still pending from earlier.
    pub(crate) fn open(dir: &Path, receiver: &ReceiverConfig) -> Outbox {
        let path = dir.join(format!("{}.outbox", receiver.name));
        let queue = Queue {
            stored: store::load(&path).unwrap_or_default(),
            failures: 0,
            missed: 0,
            paused_until: None,
            unsaved: None,
        };
        let initial_status = ReceiverStatus::of(receiver);
        let shown = Mutex::new(queue.status(&initial_status));
        Outbox {
            path,
            initial_status,
            queue: Mutex::new(queue),
            stopped: AtomicBool::new(false),
            changed: Condvar::new(),
            shown,
        }
    }

    /// Adds the notifications that this receiver wants and does not have yet. They are on disk when this returns,
    /// unless the disk cannot be written.
    pub(crate) fn add(&self, notifications: &[Notification]) {
        let mut queue = self.lock();
        let before = queue.stored.waiting.len();
        for notification in notifications {
            if self.initial_status.wants(notification.kind) && !queue.knows(&notification.id) {
                queue.stored.waiting.push_back(Waiting {
                    notification: notification.clone(),
                    tries: 0,
                });
            }
        }
        if queue.stored.waiting.len() == before {
            return;
        }
        while queue.stored.waiting.len() > PENDING_MAX {
            queue.lose_oldest(&self.initial_status.name, Loss::Dropped);
        }
        self.save(&mut queue);
        self.changed.notify_all();
    }

    /// Waits for the next due notification; returns `None` after [`Outbox::stop`].
    pub(crate) fn next(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            if queue.expire(&self.initial_status.name, Timestamp::now()) {
                self.save(&mut queue);
            }
            let pause = queue
                .paused_until
                .map(|until| until.saturating_duration_since(Instant::now()));
            let wait = match (queue.stored.waiting.front(), pause.unwrap_or_default()) {
                (Some(next), Duration::ZERO) => return Some(next.clone()),
                (Some(_), pause) => pause.min(STOP_POLL_INTERVAL),
                (None, _) => STOP_POLL_INTERVAL,
            };
            let waited = self.changed.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Records the result of an attempt.
    pub(crate) fn settle(&self, sent: &Waiting, result: Result<(), Failure>) {
        let mut queue = self.lock();
        let name = self.initial_status.name.as_str();
        let id = sent.notification.id.as_str();
        match result {
            Ok(()) => queue.delivered(name, id),
            Err(failure) => queue.failed(name, id, failure),
        }
        self.save(&mut queue);
    }

    /// Makes [`Outbox::next`] return `None` from now on.
    pub(crate) fn stop(&self) {
        // Without the lock, whose holder may be waiting for the disk. The thread polls the flag.
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// The current status.
    pub(crate) fn status(&self) -> ReceiverStatus {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    fn save(&self, queue: &mut Queue) {
        let saved = store::save(&self.path, &queue.stored);
        let was_unsaved = queue.unsaved.is_some();
        queue.unsaved = saved.err().map(|error| error.to_string());
        if let (Some(error), false) = (&queue.unsaved, was_unsaved) {
            let path = self.path.display();
            tracing::error!(%path, error, "pending notifications cannot be saved; they are only in memory");
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = queue.status(&self.initial_status);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a notification was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    GivenUp,
    Dropped,
}

impl Queue {
    fn knows(&self, id: &str) -> bool {
        let waits = |waiting: &Waiting| waiting.notification.id == id;
        self.stored.waiting.iter().any(waits) || self.stored.settled.iter().any(|known| known == id)
    }

    fn delivered(&mut self, name: &str, id: &str) {
        if self.failures > 0 {
            tracing::info!(
                receiver = name,
                after = self.failures,
                "a receiver accepts notifications again"
            );
        }
        self.remove(id);
        self.failures = 0;
        self.paused_until = None;
        self.stored.delivered += 1;
        self.missed = 0;
        self.stored.last_success = Some(clock::now());
    }

    fn failed(&mut self, name: &str, id: &str, failure: Failure) {
        let Failure { message, retry } = failure;
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            tracing::warn!(
                receiver = name,
                failures = self.failures,
                error = message,
                "a notification was not accepted"
            );
        }
        self.stored.last_error = Some(LastError {
            at: clock::now(),
            message,
        });
        match retry {
            None => self.lose(name, id, Loss::GivenUp),
            Some(requested) => {
                self.paused_until =
                    Some(Instant::now() + pause(self.failures, requested, jitter()));
                let same = |waiting: &&mut Waiting| waiting.notification.id == id;
                if let Some(waiting) = self.stored.waiting.iter_mut().find(same) {
                    waiting.tries += 1;
                }
            }
        }
    }

    /// Gives up notifications that are too old or had too many attempts. Returns whether there were any.
    fn expire(&mut self, name: &str, now: Timestamp) -> bool {
        let before = self.stored.waiting.len();
        while let Some(oldest) = self.stored.waiting.front() {
            let age = clock::seconds_between(&oldest.notification.at, now);
            if oldest.tries < ATTEMPTS_MAX && age < NOTIFICATION_MAX_AGE.as_secs() {
                break;
            }
            self.lose_oldest(name, Loss::GivenUp);
        }
        self.stored.waiting.len() < before
    }

    fn lose_oldest(&mut self, name: &str, loss: Loss) {
        if let Some(oldest) = self.stored.waiting.front() {
            let id = oldest.notification.id.clone();
            self.lose(name, &id, loss);
        }
    }

    fn lose(&mut self, name: &str, id: &str, loss: Loss) {
        self.remove(id);
        self.missed += 1;
        let (count, why) = match loss {
            Loss::GivenUp => (&mut self.stored.given_up, "given up"),
            Loss::Dropped => (&mut self.stored.dropped, "dropped: too many are pending"),
        };
        *count += 1;
        tracing::error!(receiver = name, id, why, "a notification was not delivered");
    }

    /// Removes a notification, and stores its id as finished.
    fn remove(&mut self, id: &str) {
        self.stored
            .waiting
            .retain(|waiting| waiting.notification.id != id);
        self.stored.settled.push_back(id.to_owned());
        while self.stored.settled.len() > SETTLED_IDS_MAX {
            self.stored.settled.pop_front();
        }
    }

    fn status(&self, initial: &ReceiverStatus) -> ReceiverStatus {
        let stored = &self.stored;
        ReceiverStatus {
            waiting: stored.waiting.len(),
            delivered: stored.delivered,
            given_up: stored.given_up,
            dropped: stored.dropped,
            missed: self.missed,
            failures: self.failures,
            last_error: stored.last_error.clone(),
            last_success: stored.last_success.clone(),
            unsaved: self.unsaved.clone(),
            ..initial.clone()
        }
    }
}
