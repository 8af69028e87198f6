//! What the bastion knows of one incident: how much its agent may do, which turn runs, which tool
//! call, and which commands.
//!
//! ```text
//!             turn_began                    Stop, cut off, turn over
//!   no turn ─────────────▶ turn n ────────────────────────────────────▶ no turn
//!   (refused)              (admits)   every command's token is cancelled
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use breakglass_log::Log;
use breakglass_model::{Autonomy, IncidentId, TurnNumber};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::approvals::Approvals;
use crate::guard::Guard;
use crate::history::Settings;
use crate::policy::{Ruling, Wish, rule};
use crate::rules::Rules;
use crate::work::Opened;
use breakglass_control::AgentTarget;
use breakglass_model::Side;

/// Commands of one incident that may run at once.
const COMMANDS: usize = 64;
/// Calls of one turn that a command may name; a turn has a few dozen.
const CALLS: usize = 4096;
/// Commands whose client went away that are remembered; far more than a turn leaves.
const LEFT: usize = 64;

/// One incident's seat at the bastion.
pub(crate) struct Seat {
    pub(crate) incident: IncidentId,
    pub(crate) target: AgentTarget,
    pub(crate) approvals: Approvals,
    rules: Arc<Rules>,
    /// Of the post that has taken it last.
    guard: Mutex<Weak<Guard>>,
    state: Mutex<State>,
    /// How many commands run.
    running: watch::Sender<usize>,
}

struct State {
    autonomy: Autonomy,
    cut_off: bool,
    /// Cancelled when the agent is cut off; another one when that is lifted.
    open: CancellationToken,
    turn: Option<Turn>,
    commands: HashMap<Uuid, CancellationToken>,
    /// Commands of this turn that may run on without their client.
    left: Vec<Uuid>,
}

struct Turn {
    number: TurnNumber,
    /// Calls that have run; the first few thousand.
    calls: BTreeSet<String>,
    running: Vec<String>,
    /// Cancelled when nothing of this turn may run any more.
    over: CancellationToken,
}

impl Turn {
    /// The call that a command belongs to: the one that it names, if that has run in this turn, or else
    /// the only one that runs. Of several it is left open.
    fn call_of(&self, named: Option<&str>) -> Option<String> {
        let known = named.filter(|id| self.calls.contains(*id));
        match (known, named, &self.running[..]) {
            (Some(id), ..) => Some(id.to_owned()),
            (None, None, [only]) => Some(only.clone()),
            _ => None,
        }
    }
}

/// Leave for one command to go on. The room is given back by Drop.
pub(crate) struct Admitted {
    pub(crate) command: Uuid,
    pub(crate) turn: TurnNumber,
    pub(crate) tool_call: Option<String>,
    /// Cancelled when the command has to end.
    pub(crate) token: CancellationToken,
    seat: Arc<Seat>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.seat.state();
        state.commands.remove(&self.command);
        let running = state.commands.len();
        drop(state);
        self.seat.running.send_replace(running);
    }
}

impl Seat {
    pub(crate) fn new(
        incident: IncidentId,
        target: AgentTarget,
        rules: Arc<Rules>,
        (configured, settings): (Autonomy, Settings),
    ) -> Seat {
        Seat {
            incident,
            approvals: Approvals::new(target.log().clone(), incident),
            target,
            rules,
            guard: Mutex::default(),
            state: Mutex::new(State {
                autonomy: settings.autonomy.unwrap_or(configured),
                cut_off: settings.cut_off,
                open: opened(settings.cut_off),
                turn: None,
                commands: HashMap::new(),
                left: Vec::new(),
            }),
            running: watch::Sender::new(0),
        }
    }

    pub(crate) fn log(&self) -> &Log {
        self.target.log()
    }

    /// Remembers who tells this incident's agent from others, for as long as its post is held.
    pub(crate) fn guard_by(&self, guard: &Arc<Guard>) {
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(guard);
    }

    pub(crate) fn guard(&self) -> Option<Arc<Guard>> {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.upgrade()
    }

    /// Lets one more command in, which names the call that it belongs to, or says why not.
    pub(crate) fn admit(self: &Arc<Seat>, named: Option<&str>) -> Result<Admitted, String> {
        let mut state = self.state();
        let Some(turn) = &state.turn else {
            return Err("no turn is running, and the agent acts in a turn only".to_owned());
        };
        if state.cut_off {
            return Err(
                "the operator has cut the agent off: nothing of it reaches guest or host until \
                 that is lifted"
                    .to_owned(),
            );
        }
        if state.commands.len() >= COMMANDS {
            return Err(format!(
                "{COMMANDS} commands are running already; wait for one of them to end"
            ));
        }
        let command = Uuid::now_v7();
        let admitted = Admitted {
            command,
            turn: turn.number,
            tool_call: turn.call_of(named),
            token: turn.over.child_token(),
            seat: Arc::clone(self),
        };
        state.commands.insert(command, admitted.token.clone());
        self.running.send_replace(state.commands.len());
        Ok(admitted)
    }

    /// Opens a session on the guest for a command that will not have to wait for leave.
    pub(crate) async fn open_early(
        &self,
        place: Side,
        admitted: Option<&Result<Admitted, String>>,
        gone: &CancellationToken,
    ) -> Opened {
        let token = &admitted?.as_ref().ok()?.token;
        if place == Side::Host || self.state().autonomy != Autonomy::Autonomous {
            return None;
        }
        tokio::select! {
            biased;
            // Who has to wait for others is told so, later.
            opened = self.target.guest().open_at_once() => opened.ok(),
            () = token.cancelled() => None,
            () = gone.cancelled() => None,
        }
    }

    /// The turn that runs, and the tool call of a command: for what is recorded without being admitted.
    pub(crate) fn now(&self, named: Option<&str>) -> (TurnNumber, Option<String>) {
        match &self.state().turn {
            Some(turn) => (turn.number, turn.call_of(named)),
            None => (0, None),
        }
    }

    pub(crate) fn rule(&self, wish: Wish<'_>) -> Ruling {
        rule(self.state().autonomy, wish, &self.rules)
    }

    pub(crate) fn set_autonomy(&self, autonomy: Autonomy) {
        self.state().autonomy = autonomy;
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.state().cut_off
    }

    /// Closes the bastion to this agent, or opens it again; closing ends its commands.
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

    /// Cancelled when, or while, the agent is cut off.
    pub(crate) fn until_cut_off(&self) -> CancellationToken {
        self.state().open.clone()
    }

    pub(crate) fn turn_began(&self, number: TurnNumber) {
        let mut state = self.state();
        if let Some(earlier) = state.turn.take() {
            earlier.over.cancel();
        }
        state.left.clear();
        state.turn = Some(Turn {
            number,
            calls: BTreeSet::new(),
            running: Vec::new(),
            over: CancellationToken::new(),
        });
    }

    /// Names the tool calls that run now.
    pub(crate) fn tools_run(&self, calls: &[&str]) {
        let Some(turn) = &mut self.state().turn else {
            return;
        };
        turn.running = calls.iter().map(|id| (*id).to_owned()).collect();
        let room = CALLS.saturating_sub(turn.calls.len());
        let new = turn.running.iter().take(room).cloned();
        turn.calls.extend(new);
    }

    /// From now on nothing more of the turn is let in, and what runs is being ended.
    pub(crate) fn end_turn(&self) {
        if let Some(turn) = self.state().turn.take() {
            turn.over.cancel();
        }
    }

    /// Cancelled when the turn that runs now is over; at once where none runs.
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

    /// A command that lost its client and may run on.
    pub(crate) fn leave(&self, command: Uuid) {
        let mut state = self.state();
        if state.left.len() < LEFT {
            state.left.push(command);
        }
    }

    /// Takes over the commands that were left.
    pub(crate) fn take_left(&self) -> Vec<Uuid> {
        std::mem::take(&mut self.state().left)
    }

    /// Waits, at most `limit`, until no command runs; gives how many still do.
    pub(crate) async fn quiet(&self, limit: Duration) -> usize {
        let mut running = self.running.subscribe();
        let _ = timeout(limit, running.wait_for(|count| *count == 0)).await;
        *self.running.borrow()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opened(cut_off: bool) -> CancellationToken {
    let open = CancellationToken::new();
    if cut_off {
        open.cancel();
    }
    open
}
