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

use super::approvals::Approvals;
use super::guard::Guard;
use super::history::Settings;
use super::policy::{Ruling, Wish, rule};
use super::work::{Opened, Place};
use crate::Control;
use crate::control::Station;
use crate::rules::Rules;
use crate::ssh::upstream::Upstream;

/// Commands of one incident that may run at once.
const COMMANDS: usize = 64;
/// Calls of one turn that a command may name; a turn has a few dozen.
const CALLS: usize = 4096;
/// Commands whose client went away that are remembered; far more than a turn leaves.
const LEFT: usize = 64;

/// One incident's seat at the bastion.
pub(super) struct Seat {
    pub(super) incident: IncidentId,
    pub(super) control: Control,
    pub(super) station: Arc<Station>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) approvals: Approvals,
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
pub(super) struct Admitted {
    pub(super) command: Uuid,
    pub(super) turn: TurnNumber,
    pub(super) tool_call: Option<String>,
    /// Cancelled when the command has to end.
    pub(super) token: CancellationToken,
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
    pub(super) fn new(
        incident: IncidentId,
        control: Control,
        station: Arc<Station>,
        upstream: Arc<Upstream>,
        rules: Arc<Rules>,
        (configured, settings): (Autonomy, Settings),
    ) -> Seat {
        Seat {
            incident,
            approvals: Approvals::new(control.inner.log.clone(), incident),
            control,
            station,
            upstream,
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

    pub(super) fn log(&self) -> &Log {
        &self.control.inner.log
    }

    /// Remembers who tells this incident's agent from others, for as long as its post is held.
    pub(super) fn guard_by(&self, guard: &Arc<Guard>) {
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(guard);
    }

    pub(super) fn guard(&self) -> Option<Arc<Guard>> {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.upgrade()
    }

    /// Lets one more command in, which names the call that it belongs to, or says why not.
    pub(super) fn admit(self: &Arc<Seat>, named: Option<&str>) -> Result<Admitted, String> {
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
    pub(super) async fn open_early(
        &self,
        place: Place,
        admitted: Option<&Result<Admitted, String>>,
        gone: &CancellationToken,
    ) -> Opened {
        let token = &admitted?.as_ref().ok()?.token;
        if place == Place::Host || self.state().autonomy != Autonomy::Autonomous {
            return None;
        }
        tokio::select! {
            biased;
            // Who has to wait for others is told so, later.
            opened = self.upstream.open_at_once() => opened.ok(),
            () = token.cancelled() => None,
            () = gone.cancelled() => None,
        }
    }

    /// The turn that runs, and the tool call of a command: for what is recorded without being admitted.
    pub(super) fn now(&self, named: Option<&str>) -> (TurnNumber, Option<String>) {
        match &self.state().turn {
            Some(turn) => (turn.number, turn.call_of(named)),
            None => (0, None),
        }
    }

    pub(super) fn rule(&self, wish: Wish<'_>) -> Ruling {
        rule(self.state().autonomy, wish, &self.rules)
    }

    pub(super) fn set_autonomy(&self, autonomy: Autonomy) {
        self.state().autonomy = autonomy;
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.state().cut_off
    }

    /// Closes the bastion to this agent, or opens it again; closing ends its commands.
    pub(super) fn set_cut_off(&self, cut_off: bool) {
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
    pub(super) fn until_cut_off(&self) -> CancellationToken {
        self.state().open.clone()
    }

    pub(super) fn turn_began(&self, number: TurnNumber) {
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
    pub(super) fn tools_run(&self, calls: &[&str]) {
        let Some(turn) = &mut self.state().turn else {
            return;
        };
        turn.running = calls.iter().map(|id| (*id).to_owned()).collect();
        let room = CALLS.saturating_sub(turn.calls.len());
        let new = turn.running.iter().take(room).cloned();
        turn.calls.extend(new);
    }

    /// From now on nothing more of the turn is let in, and what runs is being ended.
    pub(super) fn end_turn(&self) {
        if let Some(turn) = self.state().turn.take() {
            turn.over.cancel();
        }
    }

    /// Cancelled when the turn that runs now is over; at once where none runs.
    pub(super) fn turn_over(&self) -> CancellationToken {
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
    pub(super) fn leave(&self, command: Uuid) {
        let mut state = self.state();
        if state.left.len() < LEFT {
            state.left.push(command);
        }
    }

    /// Takes over the commands that were left.
    pub(super) fn take_left(&self) -> Vec<Uuid> {
        std::mem::take(&mut self.state().left)
    }

    /// Waits, at most `limit`, until no command runs; gives how many still do.
    pub(super) async fn quiet(&self, limit: Duration) -> usize {
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
