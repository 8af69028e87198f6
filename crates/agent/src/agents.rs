//! All conversations with the agents: one per incident, and a limited number of processes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use breakglass_log::Log;
use breakglass_model::gateway::AgentGateway;
use breakglass_model::{Actor, EventBody, IncidentId, Level, TurnNumber};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::conversation::{Activity, Command, Conversation, PromptRequest, PromptTarget, Shared};
use crate::model_name::is_model_name;
use crate::roster::AgentRoster;
use crate::{AgentHealth, AgentOptions, PromptError};

/// Maximum number of waiting commands in one conversation.
const COMMAND_QUEUE: usize = 8;
/// Maximum number of attempts to send a prompt: the conversation may be ending at that moment.
const SEND_ATTEMPTS_MAX: usize = 4;
/// Maximum time for a retired conversation to free its slot.
const SLOT_TIMEOUT: Duration = Duration::from_secs(15);

/// All conversations with the agents, one running CLI per incident. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    entries: Mutex<HashMap<IncidentId, Entry>>,
    /// One permit for each process that may run.
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

struct Entry {
    commands: mpsc::Sender<Command>,
    retire: CancellationToken,
    activity: watch::Receiver<Activity>,
}

impl Agents {
    /// One agent, which records in `log` and reaches guest and host through `gateway`. Starts no process yet.
    #[must_use]
    pub fn new(options: AgentOptions, log: Log, gateway: Arc<dyn AgentGateway>) -> Agents {
        Agents::with_others(options, Vec::new(), log, gateway)
    }

    /// Several agents; a prompt that names none goes to `first`. Each has its own name and cell. The limits of all
    /// agents together are those of `first`.
    #[must_use]
    pub fn with_others(
        first: AgentOptions,
        others: Vec<AgentOptions>,
        log: Log,
        gateway: Arc<dyn AgentGateway>,
    ) -> Agents {
        let slots = Arc::new(Semaphore::new(first.max_processes));
        let shared = Shared {
            roster: AgentRoster::new(first, others),
            log,
            gateway,
            shutdown: CancellationToken::new(),
        };
        let inner = Inner {
            shared,
            entries: Mutex::new(HashMap::new()),
            slots,
            tasks: TaskTracker::new(),
        };
        Agents {
            inner: Arc::new(inner),
        }
    }

    /// Starts the incident's process early, so that its first prompt does not wait for it. Does nothing if all slots
    /// are in use. If the agent can't work, records the reason in the incident.
    pub fn warm(&self, incident: IncidentId) {
        if let Ok(commands) = self.inner.open(incident) {
            // If the queue is full, the process is running.
            let _ = commands.try_send(Command::Warm);
        }
        let agents = self.clone();
        let shutdown = self.inner.shared.shutdown.clone();
        self.inner.tasks.spawn(async move {
            let check = async {
                let health = agents.health().await;
                if !health.available {
                    agents.record_unavailable(incident, health.message).await;
                }
            };
            shutdown.run_until_cancelled(check).await;
        });
    }

    async fn record_unavailable(&self, incident: IncidentId, message: String) {
        let notice = EventBody::Notice {
            level: Level::Warning,
            code: "agent_unavailable".to_owned(),
            message,
        };
        let log = &self.inner.shared.log;
        log.record(incident, Actor::System, notice).await;
    }

    /// Sends a prompt; returns when the start of its turn is recorded.
    ///
    /// # Errors
    /// See [`PromptError`].
    pub async fn prompt(
        &self,
        incident: IncidentId,
        actor: Actor,
        text: String,
        target: PromptTarget,
    ) -> Result<TurnNumber, PromptError> {
        let model = target.model.as_deref();
        if model.is_some_and(|name| !is_model_name(name)) {
            return Err(PromptError::BadModel);
        }
        if let Some(name) = target.agent.as_deref()
            && self.inner.shared.roster.get(name).is_none()
        {
            return Err(PromptError::NoSuchAgent(name.to_owned()));
        }
        if let Some(reason) = self.inner.shared.log.degraded() {
            return Err(PromptError::Degraded(reason));
        }
        for _ in 0..SEND_ATTEMPTS_MAX {
            let commands = self.inner.open(incident)?;
            let (reply, answer) = oneshot::channel();
            let request = PromptRequest {
                actor: actor.clone(),
                text: text.clone(),
                target: target.clone(),
                reply: Some(reply),
            };
            if commands.send(Command::Prompt(request)).await.is_err() {
                continue;
            }
            if let Ok(answer) = answer.await {
                return answer;
            }
        }
        Err(PromptError::Unavailable(
            "The agent's process is just ending. Try again in a moment.".to_owned(),
        ))
    }

    /// Stops the running turn; returns when its end is recorded and none of its processes runs any more. False if
    /// no turn was running.
    pub async fn stop(&self, incident: IncidentId, actor: Actor) -> bool {
        let Some(commands) = self.inner.existing(incident) else {
            return false;
        };
        let (reply, stopped) = oneshot::channel();
        commands.send(Command::Stop(actor, reply)).await.is_ok() && stopped.await.unwrap_or(false)
    }

    /// Whether the first agent can work; at most a minute old.
    pub async fn health(&self) -> AgentHealth {
        let Shared { roster, log, .. } = &self.inner.shared;
        let health = roster.first().health().await;
        health.with_log_state(log.degraded())
    }

    /// Whether each agent can work, with its name, in the configured order.
    pub async fn health_of_all(&self) -> Vec<(String, AgentHealth)> {
        let Shared { roster, log, .. } = &self.inner.shared;
        let each = roster.all().iter().map(|entry| async {
            let health = entry.health().await.with_log_state(log.degraded());
            (entry.options.name.clone(), health)
        });
        join_all(each).await
    }

    /// Notes whether the model's API accepted the first agent's login, if it was asked outside of a turn. `refused`
    /// is the reason of a refusal, as a sentence.
    pub fn note_login(&self, refused: Option<&str>) {
        let login = &self.inner.shared.roster.first().login;
        match refused {
            Some(sentence) => login.set_refused(sentence),
            None => login.set_accepted(),
        }
    }

    /// Ends every turn and every process; returns when all are gone.
    pub async fn shutdown(&self) {
        self.inner.shared.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").finish_non_exhaustive()
    }
}

impl Inner {
    fn existing(&self, incident: IncidentId) -> Option<mpsc::Sender<Command>> {
        let entries = self.entries.lock();
        Some(entries.get(&incident)?.commands.clone())
    }

    /// The incident's conversation. Starts a new one if there is none, and retires the least recently used idle one
    /// if all slots are in use.
    fn open(&self, incident: IncidentId) -> Result<mpsc::Sender<Command>, PromptError> {
        if self.shared.shutdown.is_cancelled() {
            return Err(PromptError::Unavailable(
                "The server is shutting down.".to_owned(),
            ));
        }
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| !entry.commands.is_closed());
        if let Some(entry) = entries.get(&incident) {
            return Ok(entry.commands.clone());
        }
        let max = self.shared.roster.first().options.max_processes;
        if entries
            .values()
            .filter(|entry| !entry.retire.is_cancelled())
            .count()
            >= max
        {
            let idle = entries.values().filter(|entry| entry.is_idle());
            let Some(oldest) = idle.min_by_key(|entry| entry.activity.borrow().since) else {
                return Err(PromptError::AllBusy(max));
            };
            oldest.retire.cancel();
        }
        let entry = self.start(incident);
        let commands = entry.commands.clone();
        entries.insert(incident, entry);
        Ok(commands)
    }

    fn start(&self, incident: IncidentId) -> Entry {
        let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
        let (activity, activity_receiver) = watch::channel(Activity::now(false));
        let retire = CancellationToken::new();
        let entry = Entry {
            commands,
            retire: retire.clone(),
            activity: activity_receiver,
        };
        let slots = Arc::clone(&self.slots);
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            // If this fails, the callers see that the queue is closed.
            let Ok(Ok(slot)) = timeout(SLOT_TIMEOUT, slots.acquire_owned()).await else {
                return;
            };
            Conversation {
                incident,
                shared,
                commands: queue,
                retire,
                activity,
                slot,
            }
            .run()
            .await;
        });
        entry
    }
}

impl Entry {
    fn is_idle(&self) -> bool {
        !self.retire.is_cancelled() && !self.activity.borrow().busy
    }
}
