use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use breakglass_log::Log;
use breakglass_model::{Actor, EventBody, IncidentId, Level, TurnNumber};
use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::conversation::{Activity, Ask, Asked, Command, Conversation, Shared};
use crate::crew::Crew;
use crate::{AgentHealth, AgentOptions, PromptError};
use breakglass_model::gateway::AgentGateway;

/// Commands that may wait in one conversation.
const QUEUE: usize = 8;
/// How often a command is given to a new conversation because the last one was just ending.
const TRIES: usize = 4;
/// How long a retired conversation may take to make room.
const ROOM_LIMIT: Duration = Duration::from_secs(15);

/// All conversations with the agent, one living CLI per incident. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    entries: Mutex<HashMap<IncidentId, Entry>>,
    /// One permit for each process that may live.
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

struct Entry {
    commands: mpsc::Sender<Command>,
    retire: CancellationToken,
    activity: watch::Receiver<Activity>,
}

impl Agents {
    /// Drives the CLI by `options` and records in `journal`; `warden` lets it through to guest and host.
    /// Starts no process yet.
    #[must_use]
    pub fn new(options: AgentOptions, journal: Log, warden: Arc<dyn AgentGateway>) -> Agents {
        Agents::several(options, Vec::new(), journal, warden)
    }

    /// The same with `others`, which a prompt may name; `first` is asked by one that names none. Each has a
    /// name and a cell that no other has. What bounds all of them together is `first`'s.
    #[must_use]
    pub fn several(
        first: AgentOptions,
        others: Vec<AgentOptions>,
        journal: Log,
        warden: Arc<dyn AgentGateway>,
    ) -> Agents {
        let slots = Arc::new(Semaphore::new(first.max_processes));
        let shared = Shared {
            crew: Crew::new(first, others),
            journal,
            warden,
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

    /// Starts the incident's process early, so that its first prompt need not wait for it. Does
    /// nothing if all processes that may live at once are in use. What keeps the agent from
    /// working is noted in the incident, so that nobody waits for it in vain.
    pub fn warm(&self, incident: IncidentId) {
        if let Ok(commands) = self.inner.open(incident) {
            // A full queue means that it is warm.
            let _ = commands.try_send(Command::Warm);
        }
        let agents = self.clone();
        let look = async move {
            let health = agents.health().await;
            if !health.available {
                agents.tell_unavailable(incident, health.message).await;
            }
        };
        let ended = self.inner.shared.shutdown.clone().cancelled_owned();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = look => {}
                () = ended => {}
            }
        });
    }

    async fn tell_unavailable(&self, incident: IncidentId, message: String) {
        let notice = EventBody::Notice {
            level: Level::Warning,
            code: "agent_unavailable".to_owned(),
            message,
        };
        let journal = &self.inner.shared.journal;
        journal.record(incident, Actor::System, notice).await;
    }

    /// Gives an agent a prompt; returns when the turn is recorded as started. `asked` says which one, and
    /// by which of its models.
    ///
    /// # Errors
    /// See [`PromptError`].
    pub async fn prompt(
        &self,
        incident: IncidentId,
        actor: Actor,
        text: String,
        asked: Asked,
    ) -> Result<TurnNumber, PromptError> {
        if asked
            .model
            .as_deref()
            .is_some_and(|name| !is_model_name(name))
        {
            return Err(PromptError::BadModel);
        }
        if let Some(name) = asked.agent.as_deref()
            && self.inner.shared.crew.named(name).is_none()
        {
            return Err(PromptError::NoSuchAgent(name.to_owned()));
        }
        if let Some(why) = self.inner.shared.journal.degraded() {
            return Err(PromptError::Degraded(why));
        }
        for _ in 0..TRIES {
            let commands = self.inner.open(incident)?;
            let (reply, answer) = oneshot::channel();
            let ask = Ask {
                actor: actor.clone(),
                text: text.clone(),
                asked: asked.clone(),
                reply: Some(reply),
            };
            if commands.send(Command::Prompt(ask)).await.is_err() {
                continue;
            }
            if let Ok(answer) = answer.await {
                return answer;
            }
        }
        Err(PromptError::Unavailable(
            "The agent is being ended just now. Try again in a moment.".to_owned(),
        ))
    }

    /// Stops the running turn; returns when its end is recorded and nothing of it runs any more.
    /// Says whether one was running.
    pub async fn stop(&self, incident: IncidentId, actor: Actor) -> bool {
        let Some(commands) = self.inner.existing(incident) else {
            return false;
        };
        let (reply, stopped) = oneshot::channel();
        commands.send(Command::Stop(actor, reply)).await.is_ok() && stopped.await.unwrap_or(false)
    }

    /// Whether the first agent's CLI can work. The answer may be a minute old.
    pub async fn health(&self) -> AgentHealth {
        let Shared { crew, journal, .. } = &self.inner.shared;
        let health = crew.first().health().await;
        health.with_record(journal.degraded())
    }

    /// The same of every agent, by its name, the first one first.
    pub async fn health_of_all(&self) -> Vec<(String, AgentHealth)> {
        let Shared { crew, journal, .. } = &self.inner.shared;
        let each = crew.all().iter().map(|member| async {
            let health = member.health().await.with_record(journal.degraded());
            (member.options.name.clone(), health)
        });
        join_all(each).await
    }

    /// Takes note of what the model's API makes of the first agent's login, where it was asked by another way than a
    /// turn: why it refused it, as a sentence; none where it took it.
    pub fn note_login(&self, refused: Option<&str>) {
        let login = &self.inner.shared.crew.first().login;
        match refused {
            Some(sentence) => login.refused(sentence),
            None => login.works(),
        }
    }

    /// Ends every turn and every process, politely first; returns when all are gone.
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
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Some(entries.get(&incident)?.commands.clone())
    }

    /// The incident's conversation; a new one if there is none, for which the least recently used
    /// idle one may have to make room.
    fn open(&self, incident: IncidentId) -> Result<mpsc::Sender<Command>, PromptError> {
        if self.shared.shutdown.is_cancelled() {
            return Err(PromptError::Unavailable(
                "The server is shutting down.".to_owned(),
            ));
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| !entry.commands.is_closed());
        if let Some(entry) = entries.get(&incident) {
            return Ok(entry.commands.clone());
        }
        let max = self.shared.crew.first().options.max_processes;
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
        let entry = self.begin(incident);
        let commands = entry.commands.clone();
        entries.insert(incident, entry);
        Ok(commands)
    }

    fn begin(&self, incident: IncidentId) -> Entry {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (activity, seen) = watch::channel(Activity {
            busy: false,
            since: Instant::now(),
        });
        let retire = CancellationToken::new();
        let entry = Entry {
            commands,
            retire: retire.clone(),
            activity: seen,
        };
        let (slots, shared) = (Arc::clone(&self.slots), self.shared.clone());
        self.tasks.spawn(async move {
            // Who waits for an answer hears of a failure by the closed queue.
            let Ok(Ok(slot)) = timeout(ROOM_LIMIT, slots.acquire_owned()).await else {
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

/// Names of models go into the CLI's arguments: nothing that could be an option, nothing odd.
pub(crate) fn is_model_name(name: &str) -> bool {
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let odd = |byte: u8| !(byte.is_ascii_alphanumeric() || b"._-:/@[]".contains(&byte));
    first && name.len() <= 100 && !name.bytes().any(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_can_never_be_an_option() {
        for good in [
            "sonnet",
            "claude-opus-4-8",
            "opus[1m]",
            "us.anthropic.claude:0",
        ] {
            assert!(is_model_name(good), "{good}");
        }
        for bad in ["", "-p", "--model", "a b", "a\n", "é", &"a".repeat(101)] {
            assert!(!is_model_name(bad), "{bad}");
        }
    }
}
