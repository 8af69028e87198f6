use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry as Metrics;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::attach::Attachment;
use crate::canonical::Encoded;
use crate::ended::{Ended, Endings};
use crate::figures::Figures;
use crate::follow::Unrecorded;
use crate::health::Health;
use crate::live::{Bounds, Hub};
use crate::options::MAX_KEY_BYTES;
use crate::outlet::{Outlet, stderr};
use crate::store::{self, Command, Keeper, Place, Reader, Registry, Shared, Writer};
use crate::{Export, IncidentSummary, LogError, Options, Tombstone};
use breakglass_model::clock;
use breakglass_model::{Actor, Event, EventBody, Frame, IncidentId, Level};

/// The most commands that wait for the writer; beyond it, callers wait for room.
const MAX_WAITING: usize = 1024;
/// The longest that an append waits for its acknowledgement.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a verb is held up by its record.
const RECORD_PATIENCE: Duration = Duration::from_secs(2);
/// The longest that a shutdown waits for the queue to be written.
const DRAIN: Duration = Duration::from_secs(5);
/// The most events in one answer.
const MAX_EVENTS: usize = 10_000;
/// The most events that could not be recorded and wait for whoever follows them.
const MAX_UNRECORDED: usize = 256;
/// What a log that is kept in memory because its file is unusable may grow to.
const MAX_MEMORY: u64 = 256 << 20;

/// The incident log. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    drained: Mutex<blocking::Receiver<()>>,
    reader: Reader,
    shared: Arc<Shared>,
    unrecorded: Outlet,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("degraded", &self.degraded())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log. Never fails: where the file cannot be used, it is left as it is, the log is
    /// kept in memory, and [`Log::degraded`] says why. Blocks for as long as the file takes.
    #[must_use]
    pub fn open(options: Options) -> Log {
        let registry = Registry::default();
        let opened = open_store(&options, &registry);
        let figures = Figures::default();
        let unrecorded = options.on_unrecorded.unwrap_or_else(stderr);
        let unrecorded = Outlet::new("journal-lost", unrecorded, figures.lost("stderr"));
        let shared = Arc::new(Shared {
            hub: Arc::new(Hub::new(Bounds {
                frames: options.ring_frames,
                bytes: options.ring_bytes,
            })),
            health: Health::new(opened.degraded),
            registry,
            appended: watch::Sender::new(0),
            unrecorded: broadcast::Sender::new(MAX_UNRECORDED),
            shipping: options
                .on_event
                .map(|sink| Outlet::new("journal-ship", sink, figures.lost("stdout"))),
            figures,
            endings: Endings(options.on_end),
        });
        let (commands, waiting) = mpsc::channel(MAX_WAITING);
        let (done, drained) = blocking::sync_channel(1);
        match opened.connection {
            Some(connection) => {
                let keeper = Keeper::new(options.keep, opened.limit, options.on_forgotten);
                let writer = Writer::new(connection, waiting, Arc::clone(&shared), keeper);
                start_writer(writer, done);
            }
            None => drop((waiting, done)),
        }
        Log(Arc::new(Inner {
            commands: Mutex::new(Some(commands)),
            drained: Mutex::new(drained),
            reader: Reader::start(opened.place),
            shared,
            unrecorded,
        }))
    }

    /// Why events are not being recorded durably, as a sentence; `None` while they are.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        self.0.shared.health.sentence()
    }

    /// Follows [`Log::degraded`].
    #[must_use]
    pub fn watch_degraded(&self) -> watch::Receiver<Option<String>> {
        self.0.shared.health.watch()
    }

    /// Lists what the log counts of its own work in `metrics`.
    pub fn register(&self, metrics: &mut Metrics) {
        self.0.shared.figures.register(metrics);
    }

    /// Begins an incident's log. On a log that lives in memory for want of its file, a notice
    /// says so as the second event.
    ///
    /// # Errors
    /// [`LogError`] if it could not be made durable.
    pub async fn open_incident(
        &self,
        target: &str,
        actor: Actor,
        drill: bool,
    ) -> Result<IncidentId, LogError> {
        let incident = Uuid::now_v7();
        let target = target.to_owned();
        let body = Encoded::new(
            &actor,
            &EventBody::IncidentOpened {
                target: target.clone(),
                drill,
            },
        )?;
        self.command(|reply| Command::Open {
            incident,
            target,
            drill,
            body,
            reply,
        })
        .await?;
        if let Some(reason) = self.0.shared.health.since_start() {
            let (code, message) = ("record_degraded".to_owned(), reason.to_owned());
            self.append(
                incident,
                Actor::System,
                EventBody::Notice {
                    level: Level::Error,
                    code,
                    message,
                },
            )
            .await?;
        }
        Ok(incident)
    }

    /// Appends an event and gives its `seq`. Once this returns, the event survives `kill -9`.
    ///
    /// # Errors
    /// [`LogError`]: nothing is in the log then, unless it says that no answer came in time.
    pub async fn append(
        &self,
        incident: IncidentId,
        actor: Actor,
        body: EventBody,
    ) -> Result<u64, LogError> {
        self.write(incident, Encoded::new(&actor, &body)?).await
    }

    /// Records what a person's power did. Never fails and holds up its caller for 2 s at most,
    /// and not at all while the store is known to fail: what cannot be appended leaves as a JSON
    /// line on standard error and reaches attached readers as [`Frame::Unrecorded`].
    pub async fn record(&self, incident: IncidentId, actor: Actor, body: EventBody) {
        let encoded = Encoded::new(&actor, &body);
        let ended = encoded
            .as_ref()
            .map_or_else(|_| Ended::of(&body), |encoded| encoded.ended.clone());
        let reason = match (self.0.shared.health.failing(), encoded) {
            (Some(reason), _) => reason,
            (None, Err(error)) => error.to_string(),
            (None, Ok(encoded)) => match self.write_soon(incident, encoded).await {
                Ok(()) => return,
                Err(reason) => reason,
            },
        };
        self.0.shared.endings.tell(ended.as_ref());
        self.unrecorded(incident, actor, body, &reason);
    }

    async fn write_soon(&self, incident: IncidentId, body: Encoded) -> Result<(), String> {
        match tokio::time::timeout(RECORD_PATIENCE, self.write(incident, body)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                let reason = "the store gave no answer within 2 s";
                self.0.shared.health.fail(reason, clock::now());
                self.0.shared.figures.failed();
                Err(reason.to_owned())
            }
        }
    }

    fn unrecorded(&self, incident: IncidentId, actor: Actor, body: EventBody, reason: &str) {
        self.0.shared.health.lose(incident);
        self.0.shared.figures.unrecorded();
        let at = clock::now();
        let line = serde_json::json!({
            "unrecorded": reason, "incident": incident, "at": at, "actor": actor, "event": body,
        });
        self.0.unrecorded.send(format!("{line}\n").into_bytes());
        // Nobody has to follow.
        let _ = self.0.shared.unrecorded.send(Unrecorded {
            incident,
            at: at.clone(),
            actor: actor.clone(),
            body: body.clone(),
        });
        self.0
            .shared
            .hub
            .pass(incident, &Frame::Unrecorded { at, actor, body });
        // A writer that waits for work has to look whether the store is well again.
        if let Ok(commands) = self.commands() {
            let _ = commands.try_send(Command::Beat);
        }
    }

    /// Shows a frame that passes to those attached; keeps what is being typed for those who join.
    // By value like the other ways in: a frame is made to be given away.
    #[allow(clippy::needless_pass_by_value)]
    pub fn publish(&self, incident: IncidentId, frame: Frame) {
        self.0.shared.hub.pass(incident, &frame);
    }

    /// Attaches a reader that has seen everything up to `after` (`0`: nothing).
    ///
    /// # Errors
    /// [`LogError::NotFound`].
    pub fn attach(&self, incident: IncidentId, after: u64) -> Result<Attachment, LogError> {
        let number = self.number(incident)?;
        let live = self.0.shared.hub.subscribe(incident);
        Ok(Attachment::new(
            incident,
            number,
            after,
            self.0.reader.clone(),
            live,
            Arc::clone(&self.0.shared),
        ))
    }

    /// How many readers are attached to an incident now.
    #[must_use]
    pub fn readers(&self, incident: IncidentId) -> usize {
        self.0.shared.hub.readers(incident)
    }

    /// The newest 1,000 incidents, newest first.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn incidents(&self) -> Result<Vec<IncidentSummary>, LogError> {
        self.0.reader.ask(store::list).await
    }

    /// One incident, if there is such a one.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn incident(
        &self,
        incident: IncidentId,
    ) -> Result<Option<IncidentSummary>, LogError> {
        self.0
            .reader
            .ask(move |connection| store::one(connection, incident))
            .await
    }

    /// The newest 64 open incidents of a target, newest first: cheap enough to ask every second.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn open_incidents(&self, target: &str) -> Result<Vec<IncidentId>, LogError> {
        let target = target.to_owned();
        self.0
            .reader
            .ask(move |connection| store::open_of(connection, &target))
            .await
    }

    /// The newest open incident of a target.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn open_incident_for(&self, target: &str) -> Result<Option<IncidentId>, LogError> {
        Ok(self.open_incidents(target).await?.first().copied())
    }

    /// At most `limit` (and 10,000) events after `after`, in order.
    ///
    /// # Errors
    /// [`LogError::NotFound`], [`LogError::Unreadable`].
    pub async fn events(
        &self,
        incident: IncidentId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, LogError> {
        let number = self.number(incident)?;
        let limit = limit.min(MAX_EVENTS);
        self.0
            .reader
            .ask(move |connection| store::read_events(connection, number, after, limit))
            .await
    }

    /// Remembers a key for 24 hours, across restarts. `None`: it was new, and is now remembered
    /// with `value`. `Some`: what it was remembered with; nothing changed.
    ///
    /// # Errors
    /// [`LogError`] if it could not be made durable, or is beyond [`MAX_KEY_BYTES`].
    pub async fn remember(&self, key: &str, value: &str) -> Result<Option<String>, LogError> {
        let bytes = key.len().max(value.len());
        if bytes > MAX_KEY_BYTES {
            return Err(LogError::TooLarge {
                what: "idempotency key",
                bytes,
                limit: MAX_KEY_BYTES,
            });
        }
        let (key, value) = (key.to_owned(), value.to_owned());
        self.command(|reply| Command::Remember { key, value, reply })
            .await
    }

    /// Lets retention look whether something is to be removed, as it does at the start and whenever
    /// an incident is closed. For whoever knows that time went by; returns at once.
    pub fn tend(&self) {
        // A queue that is full is looked through soon anyway.
        if let Ok(commands) = self.commands() {
            let _ = commands.try_send(Command::Tend);
        }
    }

    /// What is left of an incident that retention removed.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn tombstone(&self, incident: IncidentId) -> Result<Option<Tombstone>, LogError> {
        self.0
            .reader
            .ask(move |connection| store::tombstone_of(connection, incident))
            .await
    }

    /// An incident's log as it stands now, as a file for another record: see [`Export`].
    ///
    /// # Errors
    /// [`LogError::NotFound`], [`LogError::Unreadable`].
    pub async fn export(&self, incident: IncidentId) -> Result<Export, LogError> {
        Export::begin(incident, self.0.reader.clone()).await
    }

    /// Writes what is queued, then ends every stream. Blocks for 5 s at most.
    pub fn shutdown(&self) {
        drop(
            self.0
                .commands
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let drained = self
            .0
            .drained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Err(blocking::RecvTimeoutError::Timeout) = drained.recv_timeout(DRAIN) {
            tracing::error!("the incident log did not drain within 5 s");
        }
        self.0.shared.hub.end();
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.0.reader
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    async fn write(&self, incident: IncidentId, body: Encoded) -> Result<u64, LogError> {
        let (asked, figures) = (Instant::now(), &self.0.shared.figures);
        let append = |reply| Command::Append {
            incident,
            body,
            reply,
        };
        let written = self.command(append).await;
        match &written {
            Ok(_) => figures.appended(asked.elapsed()),
            Err(LogError::Unwritable { .. } | LogError::Stopped) => figures.failed(),
            // The log is sound, and the caller asked for what it can't take.
            Err(_) => {}
        }
        written
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Command,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands()?;
        let sent = async {
            commands
                .send(command(reply))
                .await
                .map_err(|_| LogError::Stopped)?;
            drop(commands);
            answer.await.unwrap_or(Err(LogError::Stopped))
        };
        let late = || {
            Err(LogError::Unwritable {
                reason: "the store gave no answer within 10 s".to_owned(),
            })
        };
        tokio::time::timeout(PATIENCE, sent)
            .await
            .unwrap_or_else(|_| late())
    }

    fn commands(&self) -> Result<mpsc::Sender<Command>, LogError> {
        let commands = self
            .0
            .commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        commands.clone().ok_or(LogError::Stopped)
    }

    pub(crate) fn number(&self, incident: IncidentId) -> Result<i64, LogError> {
        self.0
            .shared
            .registry
            .number(incident)
            .ok_or(LogError::NotFound { incident })
    }
}

struct Opened {
    connection: Option<rusqlite::Connection>,
    /// The most bytes that it may have.
    limit: u64,
    place: Place,
    degraded: Option<String>,
}

fn open_store(options: &Options, registry: &Registry) -> Opened {
    let (degraded, limit) = match &options.path {
        None => (None, options.max_bytes),
        Some(path) => {
            let place = Place::File(path.clone());
            match place.open(options.max_bytes, registry) {
                Ok(connection) => {
                    return Opened {
                        connection: Some(connection),
                        limit: options.max_bytes,
                        place,
                        degraded: None,
                    };
                }
                Err(reason) => (Some(unusable(path, &reason)), MAX_MEMORY),
            }
        }
    };
    registry.clear();
    let place = Place::memory();
    match place.open(limit, registry) {
        Ok(connection) => Opened {
            connection: Some(connection),
            limit,
            place,
            degraded,
        },
        Err(reason) => Opened {
            connection: None,
            limit,
            place,
            degraded: Some(format!("there is no incident log at all: {reason}")),
        },
    }
}

fn unusable(path: &std::path::Path, reason: &str) -> String {
    tracing::error!(path = %path.display(), reason, "the incident log cannot be used");
    format!(
        "the incident log {} cannot be used ({reason}); events are kept in memory until breakglass ends. \
         The file was left as it is: repair it or move it away, and start again",
        path.display()
    )
}

fn start_writer(writer: Writer, done: blocking::SyncSender<()>) {
    let run = move || {
        writer.run();
        drop(done);
    };
    if let Err(error) = std::thread::Builder::new()
        .name("journal-writer".to_owned())
        .spawn(run)
    {
        tracing::error!(%error, "no thread to write the incident log");
    }
}
