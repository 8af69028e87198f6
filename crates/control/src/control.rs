use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_log::Log;
use breakglass_model::{Actor, IncidentId, OperationId, Vitals, clock};
use breakglass_verbs::Verb;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::agent_port::AgentPort;
use crate::checks::Check;
use crate::permit::{Permit, Refusal};
use crate::pictures::{Pictures, aside};
use crate::power::queue::{Admission, Queue, Request, What};
use crate::power::runner::Run;
use crate::power::table::{Operation, Stage, Table};
use crate::power::{Accepted, IdempotencyKey, OperationKind, OperationState, OperationView};
use crate::screen::{self, NoPicture};
use crate::ssh::lanes::{Lanes, PEOPLE};
use crate::ssh::pool::Urgency;
use crate::ssh::upstream::Upstream;
use crate::ssh::{Dials, SshOptions};
use crate::target::Target;
use crate::vitals;

/// Longest wait for the incident of an operation that another request began.
const PLACE_LIMIT: Duration = Duration::from_secs(3);
/// Longest wait for the screen, by somebody who looks at the page.
const SCREEN_LIMIT: Duration = Duration::from_secs(15);

/// Everything that acts on targets. Cheap to clone; every clone is the same control.
#[derive(Clone)]
pub struct Control {
    pub(crate) inner: Arc<Inner>,
}

/// What all operations share.
pub(crate) struct Inner {
    pub(crate) stations: Vec<Arc<Station>>,
    pub(crate) log: Log,
    pub(crate) pictures: Pictures,
    pub(crate) table: Table,
    pub(crate) tracker: TaskTracker,
    pub(crate) cancel: CancellationToken,
    dials: Dials,
    queue: Mutex<Queue>,
}

impl Inner {
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One target with all that belongs to it.
pub(crate) struct Station {
    pub(crate) target: Target,
    pub(crate) guest: Lanes,
    pub(crate) host: Lanes,
    /// Held while an operation finds or opens its incident, and while one is closed.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// The agent's own connections to the guest.
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) vitals: vitals::Board,
    /// Wakes the watchers of the guest and of its machine.
    pub(crate) wake: [Notify; 2],
    /// When a mutating verb last ended.
    changed: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Station {
    fn new(target: Target, ssh: &Arc<SshOptions>, pins: &Arc<crate::ssh::HostKeys>) -> Station {
        let lanes = |endpoint: &crate::target::Endpoint| {
            Lanes::new(endpoint.clone(), Arc::clone(ssh), Arc::clone(pins), PEOPLE)
        };
        Station {
            guest: lanes(&target.guest),
            host: lanes(&target.host),
            opening: tokio::sync::Mutex::default(),
            upstream: Arc::new(Upstream::new(
                target.guest.clone(),
                Arc::clone(ssh),
                Arc::clone(pins),
            )),
            vitals: vitals::Board::new(&target.name),
            wake: [Notify::new(), Notify::new()],
            changed: Mutex::default(),
            target,
        }
    }

    /// Has the watchers look now; `changed`: because a mutating verb has ended.
    pub(crate) fn look_again(&self, changed: bool) {
        if changed {
            *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        for watcher in &self.wake {
            watcher.notify_one();
        }
    }

    /// How long ago a mutating verb last ended.
    pub(crate) fn since_change(&self) -> Option<Duration> {
        let changed = *self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.map(|at| at.elapsed())
    }
}

impl Control {
    /// Control over `targets`; `pictures` has the screen of before each verb. Watchers run on `tracker` and end with `cancel`. Operations run
    /// there too, and go on: see [`Control::drain`]. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        targets: Vec<Target>,
        ssh: SshOptions,
        log: Log,
        pictures: Pictures,
        cancel: CancellationToken,
        tracker: TaskTracker,
    ) -> (Control, AgentPort) {
        let (pins, dials) = (ssh.pins(), ssh.dials.clone());
        let ssh = Arc::new(ssh);
        let station = |target| Arc::new(Station::new(target, &ssh, &pins));
        let stations = targets.into_iter().map(station).collect();
        let (table, queue) = (Table::default(), Mutex::default());
        let inner = Arc::new(Inner {
            stations,
            log,
            pictures,
            table,
            tracker,
            cancel,
            dials,
            queue,
        });
        for station in &inner.stations {
            vitals::watch(&inner, station, &inner.cancel);
        }
        let control = Control { inner };
        let port = AgentPort::new(control.clone());
        (control, port)
    }

    /// Lists what was dialled in `metrics`.
    pub fn register(&self, metrics: &mut Registry) {
        self.inner.dials.register(metrics);
    }

    /// The configured targets.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.inner.stations.iter().map(|station| &station.target)
    }

    /// Leave for `actor` to run `verb` on `target`.
    ///
    /// # Errors
    /// [`Refusal::UnknownTarget`]; [`Refusal::PastTheBastion`] for the agent.
    pub fn permit(&self, actor: &Actor, target: &str, verb: Verb) -> Result<Permit, Refusal> {
        if *actor == Actor::Agent {
            return Err(Refusal::PastTheBastion);
        }
        let station = self.station(target)?;
        Ok(Permit {
            actor: actor.clone(),
            station: Arc::clone(station),
            verb,
        })
    }

    /// Begins what `permit` allows and returns at once; the run goes on whatever becomes of the
    /// caller. Events go to `incident`, else to the target's open one, else to a new one.
    ///
    /// # Errors
    /// When it was not begun, and why; see [`Refusal`].
    pub async fn submit(
        &self,
        permit: Permit,
        incident: Option<IncidentId>,
        key: Option<IdempotencyKey>,
    ) -> Result<Accepted, Refusal> {
        let Permit {
            actor,
            station,
            verb,
        } = permit;
        let key = key.map(|key| key.scoped(&actor));
        self.begin(Wish {
            station,
            actor,
            what: What::Verb(verb),
            incident,
            key,
        })
        .await
    }

    /// Begins a read-only diagnosis of the guest; otherwise like [`Control::submit`].
    ///
    /// # Errors
    /// When it was not begun, and why.
    pub async fn check(
        &self,
        actor: &Actor,
        target: &str,
        check: Check,
        incident: Option<IncidentId>,
        key: Option<IdempotencyKey>,
    ) -> Result<Accepted, Refusal> {
        let station = Arc::clone(self.station(target)?);
        let key = key.map(|key| key.scoped(actor));
        let what = What::Check(check);
        self.begin(Wish {
            station,
            actor: actor.clone(),
            what,
            incident,
            key,
        })
        .await
    }

    /// One operation: running, or one of the last that ended.
    #[must_use]
    pub fn operation(&self, operation: OperationId) -> Option<OperationView> {
        self.inner
            .table
            .get(operation)
            .map(|operation| operation.view())
    }

    /// The mutating verb that runs on `target`, if one does.
    #[must_use]
    pub fn running(&self, target: &str) -> Option<OperationView> {
        let operation = self.inner.queue().mutating(target)?;
        self.operation(operation)
    }

    /// Waits until the operation has ended, at most `limit`, and gives it as it then stands.
    pub async fn wait(&self, operation: OperationId, limit: Duration) -> Option<OperationView> {
        let operation = self.inner.table.get(operation)?;
        operation.reached(Stage::Ended, limit).await;
        Some(operation.view())
    }

    /// The latest vital signs of `target`; `None` for an unknown target.
    #[must_use]
    pub fn vitals(&self, target: &str) -> Option<Vitals> {
        Some(self.station(target).ok()?.vitals.read())
    }

    /// The screen of `target` as it is now: a PNG of at most 4 MiB. Asked of the host's gate, over
    /// the warm connection; nothing is recorded.
    ///
    /// # Errors
    /// When there is none, and why; see [`NoPicture`].
    pub async fn screenshot(&self, target: &str) -> Result<Vec<u8>, NoPicture> {
        let unknown = |_| NoPicture::UnknownTarget(target.to_owned());
        let station = self.station(target).map_err(unknown)?;
        screen::fetch(station, SCREEN_LIMIT, Urgency::Now).await
    }

    /// The screen as it was just before `operation`: a PNG of at most 4 MiB. `None` where none was
    /// to be had then, and where newer ones have taken its place.
    ///
    /// # Errors
    /// When it is kept and can't be read.
    pub async fn picture(&self, operation: OperationId) -> io::Result<Option<Vec<u8>>> {
        let inner = Arc::clone(&self.inner);
        let reading = aside(move || inner.pictures.read(operation));
        reading.await.map_err(io::Error::other)?
    }

    /// Waits, at most `limit`, until no operation runs; gives how many still do.
    pub async fn drain(&self, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        for operation in self.inner.table.running() {
            operation
                .reached(Stage::Ended, end.saturating_duration_since(Instant::now()))
                .await;
        }
        self.inner.table.running().len()
    }

    async fn begin(&self, wish: Wish) -> Result<Accepted, Refusal> {
        let inner = &self.inner;
        if inner.cancel.is_cancelled() {
            return Err(Refusal::ShuttingDown);
        }
        let (id, now) = (Uuid::now_v7(), clock::now());
        let request = Request {
            operation: id,
            target: &wish.station.target.name,
            what: wish.what,
            key: wish.key.as_deref(),
            now: &now,
        };
        // The guard ends before anything is awaited; the operation is in the table before it ends.
        let admitted = {
            let mut queue = inner.queue();
            match queue.admit(&request) {
                Admission::Admitted => Ok(inner.table.begin(wish.view(id, &now))),
                Admission::Refused(refusal) => return Err(refusal),
                Admission::Replayed(earlier) => Err(earlier),
            }
        };
        let operation = match admitted {
            Ok(operation) => operation,
            Err(earlier) => return Ok(self.replayed(earlier).await),
        };
        // From here on the task owns it: this future may be dropped, the operation goes on.
        let (tell, told) = oneshot::channel();
        inner
            .tracker
            .spawn(wish.run(Arc::clone(inner), operation).run(tell));
        let untold = Ok(Accepted {
            operation: id,
            incident: None,
            replayed: false,
        });
        told.await.unwrap_or(untold)
    }

    async fn replayed(&self, earlier: OperationId) -> Accepted {
        let mut incident = None;
        if let Some(operation) = self.inner.table.get(earlier) {
            operation.reached(Stage::Placed, PLACE_LIMIT).await;
            incident = operation.view().incident;
        }
        Accepted {
            operation: earlier,
            incident,
            replayed: true,
        }
    }

    pub(crate) fn station(&self, target: &str) -> Result<&Arc<Station>, Refusal> {
        let stations = &self.inner.stations;
        stations
            .iter()
            .find(|station| station.target.name == target)
            .ok_or_else(|| {
                let known: Vec<&str> = self.targets().map(|target| target.name.as_str()).collect();
                Refusal::UnknownTarget {
                    target: target.to_owned(),
                    known: known.join(", "),
                }
            })
    }
}

/// What somebody who may wants done.
struct Wish {
    station: Arc<Station>,
    actor: Actor,
    what: What,
    incident: Option<IncidentId>,
    key: Option<String>,
}

impl Wish {
    fn view(&self, operation: OperationId, now: &str) -> OperationView {
        OperationView {
            operation,
            incident: self.incident,
            target: self.station.target.name.clone(),
            kind: match self.what {
                What::Verb(_) => OperationKind::Verb,
                What::Check(_) => OperationKind::Check,
            },
            verb: self.what.as_str().to_owned(),
            actor: self.actor.clone(),
            state: OperationState::Running,
            outcome: None,
            verdict: None,
            message: None,
            started_at: now.to_owned(),
            duration_ms: None,
            lines: Vec::new(),
        }
    }

    fn run(self, inner: Arc<Inner>, operation: Arc<Operation>) -> Run {
        let Wish {
            station,
            actor,
            what,
            incident,
            key,
        } = self;
        Run {
            inner,
            station,
            operation,
            what,
            actor,
            incident,
            key,
        }
    }
}
