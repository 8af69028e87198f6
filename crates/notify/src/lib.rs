//! Notifications: what happened, told to receivers outside, without ever holding anything up.
//!
//! ```text
//! the log ───────┐                            ┌─ outbox ─ deliver ─▶ receiver
//! unrecorded ────┤                            │  (a bounded file and a thread for each)
//! readiness ─────┼─ watch ─ what (pure) ──────┼─ outbox ─ deliver ─▶ receiver
//! vital signs ───┘   │                        └─ …
//!                    └─ progress: how far it was told, a file
//! ```
//! A notification is in every outbox on disk before progress says that it was told, and it has the same
//! id whenever it is derived again: a kill between the two costs nothing and repeats nothing. All that
//! waits for a disk or a receiver runs on threads of its own.

mod deliver;
mod notification;
mod outbox;
mod pause;
mod progress;
mod shape;
mod status;
mod store;
mod template;
#[cfg(test)]
mod tests;
mod watch;
mod what;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use breakglass_control::Control;
use breakglass_log::Log;
use breakglass_model::Level;
use tokio::runtime::Handle;
use tokio::sync::watch as flag;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use breakglass_config::{Config, NotificationKind, NotifyConfig, ReceiverConfig};
use breakglass_readiness::{Check, Findings};

pub use status::ReceiverStatus;

use deliver::Post;
use notification::Notification;
use outbox::Outbox;
use progress::Progress;

/// The directory under `data_dir`.
const DIR: &str = "notify";
/// Longest wait at the end, until what has happened is in the outboxes.
const END_LIMIT: Duration = Duration::from_secs(2);

/// All receivers. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    config: NotifyConfig,
    dir: PathBuf,
    outboxes: Vec<Arc<Outbox>>,
    /// Asks the watch to read once more and end.
    end: CancellationToken,
    /// Whether the watch has ended.
    ended: flag::Sender<bool>,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

/// What is followed.
pub struct Sources {
    /// The incidents.
    pub log: Log,
    /// The vital signs.
    pub control: Control,
    /// The readiness state.
    pub findings: Findings,
}

impl Notifier {
    /// Opens the outboxes; nothing is followed or sent yet. Reads the disk.
    pub fn new(config: &Config) -> Notifier {
        let dir = config.data_dir.join(DIR);
        let open = |receiver: &ReceiverConfig| Arc::new(Outbox::open(&dir, receiver));
        Notifier(Arc::new(Inner {
            outboxes: config.notify.receivers.iter().map(open).collect(),
            config: config.notify.clone(),
            dir,
            end: CancellationToken::new(),
            ended: flag::Sender::new(true),
        }))
    }

    /// Follows and delivers from now on, until [`Notifier::shutdown`]. Must be called inside a tokio
    /// runtime.
    pub fn start(&self, sources: Sources) {
        let inner = &self.0;
        let progress_file = Progress::file(&inner.dir);
        if inner.outboxes.is_empty() {
            // Whoever is named later is told what happens from then on.
            let _ = std::fs::remove_file(progress_file);
            return;
        }
        for (outbox, receiver) in inner.outboxes.iter().zip(&inner.config.receivers) {
            let (outbox, post) = (Arc::clone(outbox), Post::new(receiver));
            spawn(&format!("notify-{}", receiver.name), move || {
                deliver::run(&outbox, &post);
            });
        }
        let (runtime, this) = (Handle::current(), self.clone());
        inner.ended.send_replace(false);
        let follow = move || {
            let progress = Progress::open(progress_file);
            let watch = watch::Watch::new(sources, &this.0.config, &this.0.outboxes, progress);
            runtime.block_on(watch.run(&this.0.end));
            this.0.ended.send_replace(true);
        };
        if !spawn("notify", follow) {
            inner.ended.send_replace(true);
        }
    }

    /// Has what happened until now put into the outboxes, for 2 s at most, and ends delivery after the
    /// attempt that runs. What waits is delivered by the next start.
    pub async fn shutdown(&self) {
        self.0.end.cancel();
        let mut ended = self.0.ended.subscribe();
        let end = ended.wait_for(|ended| *ended);
        if tokio::time::timeout(END_LIMIT, end).await.is_err() {
            tracing::warn!("what happened last is told by the next start: the disk is slow");
        }
        for outbox in &self.0.outboxes {
            outbox.stop();
        }
    }

    /// How each receiver stands. Waits for nothing.
    pub fn statuses(&self) -> Vec<ReceiverStatus> {
        self.0
            .outboxes
            .iter()
            .map(|outbox| outbox.status())
            .collect()
    }

    /// The same as checks of readiness, each `notify.NAME`.
    pub fn checks(&self) -> Vec<Check> {
        self.statuses().iter().map(status::check).collect()
    }
}

/// A thread of its own; says whether there is one.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    let begun = std::thread::Builder::new()
        .name(name.chars().take(15).collect())
        .spawn(work);
    if let Err(error) = &begun {
        tracing::error!(%error, name, "no thread for notifications: they are not sent");
    }
    begun.is_ok()
}

/// What a receiver answered to a test, as a sentence; `Err` where it did not take it.
pub type Answer = Result<String, String>;

/// Sends one test to each receiver, all at once, and gives what came back, in their order.
pub fn try_out(config: &NotifyConfig) -> Vec<(String, Answer)> {
    let id = Uuid::now_v7().to_string();
    let (title, text) = (
        "breakglass: a test",
        "Notifications of breakglass arrive here.",
    );
    let test = Notification::new(&id, NotificationKind::Test, Level::Info, title, text);
    let test = &test.linked(config.public_url.as_deref());
    std::thread::scope(|scope| {
        let ask = |receiver: &'_ ReceiverConfig| {
            let post = Post::new(receiver);
            scope.spawn(move || post.send(test))
        };
        let asked: Vec<_> = config.receivers.iter().map(ask).collect();
        let answers = asked.into_iter().map(|asked| match asked.join() {
            Ok(answer) => answer.map_err(|failure| failure.message),
            Err(_) => Err("the attempt broke off".to_owned()),
        });
        let names = config
            .receivers
            .iter()
            .map(|receiver| receiver.name.clone());
        names.zip(answers).collect()
    })
}
