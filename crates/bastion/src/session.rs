//! The bastion's state of one incident: the agent's autonomy, the running turn with its tool calls, and the
//! running commands.
//!
//! ```text
//!             turn_began                    stopped, cut off, turn over
//!   no turn ─────────────▶ turn n ────────────────────────────────────▶ no turn
//!   (refused)              (admits)   every command's token is cancelled
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use breakglass_log::Log;
use breakglass_model::{Autonomy, IncidentId, TurnNumber};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::approvals::Approvals;
use crate::peer_auth::PeerAuth;
use crate::policy::{Action, Ruling, rule};
use crate::rules::Rules;
use breakglass_control::AgentTarget;

/// Maximum number of running commands of one incident.
const COMMANDS_MAX: usize = 64;
/// Maximum number of tool calls to track per turn; a turn has a few dozen.
const CALLS_PER_TURN_MAX: usize = 4096;
/// Maximum number of sessions to keep; those without a conversation are forgotten first.
const SESSIONS_MAX: usize = 256;
/// Maximum number of detached commands to track; far more than one turn leaves behind.
const DETACHED_COMMANDS_MAX: usize = 64;

/// The bastion's state of one incident.
pub(crate) struct BastionSession {
    pub(crate) incident: IncidentId,
    pub(crate) target: AgentTarget,
    pub(crate) approvals: Approvals,
    rules: Arc<Rules>,
    /// Of the latest conversation.
    peer_auth: Mutex<Weak<PeerAuth>>,
    state: Mutex<State>,
    /// The number of running commands.
    running: watch::Sender<usize>,
}

struct State {
    autonomy: Autonomy,
    cut_off: bool,
    /// Cancelled when the agent is cut off; replaced when that is lifted.
    open: CancellationToken,
    turn: Option<Turn>,
    commands: HashMap<Uuid, CancellationToken>,
    /// Commands of this turn that lost their client and may still be running.
    detached: Vec<Uuid>,
}

struct Turn {
    number: TurnNumber,
    /// The tool calls so far; the first few thousand.
    calls: BTreeSet<String>,
    running: Vec<String>,
    /// Cancelled when the turn is over.
    over: CancellationToken,
}

impl Turn {
    /// The tool call of a command: the one that it names, if that belongs to this turn, or else the only
    /// running one. Unknown if several are running.
    fn call_of(&self, named: Option<&str>) -> Option<String> {
        let known = named.filter(|id| self.calls.contains(*id));
        match (known, named, &self.running[..]) {
            (Some(id), ..) => Some(id.to_owned()),
            (None, None, [only]) => Some(only.clone()),
            _ => None,
        }
    }
}

/// Permission for one command to run. Its slot is released when this is dropped.
pub(crate) struct Admitted {
    pub(crate) command: Uuid,
    pub(crate) turn: TurnNumber,
    pub(crate) tool_call: Option<String>,
    /// Cancelled when the command must end.
    pub(crate) token: CancellationToken,
    session: Arc<BastionSession>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.commands.remove(&self.command);
        let running = state.commands.len();
        drop(state);
        self.session.running.send_replace(running);
    }
}

impl BastionSession {
    pub(crate) fn new(
        incident: IncidentId,
        target: AgentTarget,
        rules: Arc<Rules>,
        autonomy: Autonomy,
        cut_off: bool,
    ) -> BastionSession {
        BastionSession {
            incident,
            approvals: Approvals::new(target.log().clone(), incident),
            target,
            rules,
            peer_auth: Mutex::default(),
            state: Mutex::new(State {
                autonomy,
                cut_off,
                open: opened(cut_off),
                turn: None,
                commands: HashMap::new(),
                detached: Vec::new(),
            }),
            running: watch::Sender::new(0),
        }
    }

    pub(crate) fn log(&self) -> &Log {
        self.target.log()
    }

    /// Sets the authentication of the current conversation.
    pub(crate) fn set_peer_auth(&self, peer_auth: &Arc<PeerAuth>) {
        *self.peer_auth.lock() = Arc::downgrade(peer_auth);
    }

    pub(crate) fn peer_auth(&self) -> Option<Arc<PeerAuth>> {
        let peer_auth = self.peer_auth.lock();
        peer_auth.upgrade()
    }

    /// Admits one more command, which may name its tool call. The error is the reason for the agent.
    pub(crate) fn admit(
        self: &Arc<BastionSession>,
        named: Option<&str>,
    ) -> Result<Admitted, String> {
        let mut state = self.state();
        let Some(turn) = &state.turn else {
            return Err("no turn is running, and the agent may act only during a turn".to_owned());
        };
        if state.cut_off {
            return Err(
                "the operator has cut the agent off: it reaches neither guest nor host until \
                 that is lifted"
                    .to_owned(),
            );
        }
        if state.commands.len() >= COMMANDS_MAX {
            return Err(format!(
                "{COMMANDS_MAX} commands are running already; wait for one of them to end"
            ));
        }
        let command = Uuid::now_v7();
        let admitted = Admitted {
            command,
            turn: turn.number,
            tool_call: turn.call_of(named),
            token: turn.over.child_token(),
            session: Arc::clone(self),
        };
        state.commands.insert(command, admitted.token.clone());
        self.running.send_replace(state.commands.len());
        Ok(admitted)
    }

    pub(crate) fn autonomy(&self) -> Autonomy {
        self.state().autonomy
    }

    /// The running turn, and the tool call of a command that is recorded without being admitted.
    pub(crate) fn current(&self, named: Option<&str>) -> (TurnNumber, Option<String>) {
        match &self.state().turn {
            Some(turn) => (turn.number, turn.call_of(named)),
            None => (0, None),
        }
    }

    pub(crate) fn rule(&self, action: Action<'_>) -> Ruling {
        rule(self.state().autonomy, action, &self.rules)
    }

    pub(crate) fn set_autonomy(&self, autonomy: Autonomy) {
        self.state().autonomy = autonomy;
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.state().cut_off
    }

    /// Cuts off the agent, which ends its commands, or lifts that.
    pub(crate) fn set_cut_off(&self, cut_off: bool) {
        let mut state = self.state();
        state.cut_off = cut_off;
        if cut_off {
            state.open.cancel();
            state.commands.values().for_each(CancellationToken::cancel);
        } else if state.open.is_cancelled() {
            state.open = CancellationToken::new();
        }
    }

    /// Cancelled while the agent is cut off.
    pub(crate) fn until_cut_off(&self) -> CancellationToken {
        self.state().open.clone()
    }

    pub(crate) fn turn_began(&self, number: TurnNumber) {
        let mut state = self.state();
        if let Some(earlier) = state.turn.take() {
            earlier.over.cancel();
        }
        state.detached.clear();
        state.turn = Some(Turn {
            number,
            calls: BTreeSet::new(),
            running: Vec::new(),
            over: CancellationToken::new(),
        });
    }

    /// Sets the running tool calls.
    pub(crate) fn tools_run(&self, calls: &[&str]) {
        let Some(turn) = &mut self.state().turn else {
            return;
        };
        turn.running = calls.iter().map(|id| (*id).to_owned()).collect();
        let room = CALLS_PER_TURN_MAX.saturating_sub(turn.calls.len());
        let new = turn.running.iter().take(room).cloned();
        turn.calls.extend(new);
    }

    /// Refuses further commands of the turn and starts to end the running ones.
    pub(crate) fn end_turn(&self) {
        if let Some(turn) = self.state().turn.take() {
            turn.over.cancel();
        }
    }

    /// Cancelled when the running turn is over; already cancelled if there is none.
    pub(crate) fn turn_over(&self) -> CancellationToken {
        match &self.state().turn {
            Some(turn) => turn.over.clone(),
            None => {
                let over = CancellationToken::new();
                over.cancel();
                over
            }
        }
    }

    /// Records a command that lost its client and may still be running.
    pub(crate) fn detach(&self, command: Uuid) {
        let mut state = self.state();
        if state.detached.len() < DETACHED_COMMANDS_MAX {
            state.detached.push(command);
        }
    }

    /// Removes and returns the detached commands.
    pub(crate) fn take_detached(&self) -> Vec<Uuid> {
        std::mem::take(&mut self.state().detached)
    }

    /// Waits at most `limit` until no command is running; returns how many still are.
    pub(crate) async fn quiet(&self, limit: Duration) -> usize {
        let mut running = self.running.subscribe();
        let _ = timeout(limit, running.wait_for(|count| *count == 0)).await;
        *self.running.borrow()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn opened(cut_off: bool) -> CancellationToken {
    let open = CancellationToken::new();
    if cut_off {
        open.cancel();
    }
    open
}

/// The sessions of all incidents. Clones share the same sessions.
#[derive(Clone, Default)]
pub(crate) struct SessionTable(Arc<Mutex<HashMap<IncidentId, Arc<BastionSession>>>>);

impl SessionTable {
    pub(crate) fn get(&self, incident: IncidentId) -> Option<Arc<BastionSession>> {
        self.0.lock().get(&incident).map(Arc::clone)
    }

    pub(crate) fn all(&self) -> Vec<Arc<BastionSession>> {
        self.0.lock().values().cloned().collect()
    }

    /// Adds a session. If there are many, those without a conversation are forgotten.
    pub(crate) fn insert(&self, session: &Arc<BastionSession>) {
        let mut sessions = self.0.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| Arc::strong_count(session) > 1);
        }
        sessions.insert(session.incident, Arc::clone(session));
    }
}
