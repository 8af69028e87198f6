//! The bridge as a pure function: it turns a line of either side into lines for both.
//!
//! This file owns the requests to the agent and the setup of its session; [`prompt`] the prompts, [`updates`] the
//! agent's text and tool calls, [`permissions`] its questions, [`ending`] the end of a turn.

mod ending;
mod permissions;
mod prompt;
mod question;
mod updates;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model_failure::FailureKind;
use crate::plan::{Plan, Session};
use crate::rpc::{self, Message, RpcError};
use crate::setup::{SessionSetup, Step};
use crate::turn::Turn;
use crate::wire::{self, Control, ServerLine};
use question::Question;

/// What the caller has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Print these lines for the server.
    Print(String),
    /// Send this message to the agent.
    Send(Value),
    /// Store the agent's id of this session.
    StoreSession(String),
    /// End the bridge; the error is a sentence.
    End(Result<(), String>),
}

/// What a request to the agent was for.
#[derive(Debug, PartialEq, Eq)]
enum Purpose {
    Setup,
    Prompt,
    /// A change of the model, which the server requested under this name.
    SetModel {
        name: String,
        model: String,
    },
}

/// The state between lines.
#[derive(Debug)]
pub struct Bridge {
    plan: Plan,
    setup: SessionSetup,
    /// The server's name of its `initialize` request, until it gets its response.
    initialize: Option<String>,
    last_request: u64,
    purposes: BTreeMap<u64, Purpose>,
    turn: Option<Turn>,
    questions: BTreeMap<String, Question>,
    last_question: u64,
    has_instructions: bool,
    cost: Option<f64>,
}

impl Bridge {
    /// A bridge, and its first effects.
    #[must_use]
    pub fn new(plan: Plan) -> (Bridge, Vec<Effect>) {
        let setup = SessionSetup::new(&plan);
        let has_instructions = matches!(plan.session, Session::Resume(_));
        let mut bridge = Bridge {
            plan,
            setup,
            initialize: None,
            last_request: 0,
            purposes: BTreeMap::new(),
            turn: None,
            questions: BTreeMap::new(),
            last_question: 0,
            has_instructions,
            cost: None,
        };
        let first = bridge.setup.begin();
        let effects = bridge.setup_step(first);
        (bridge, effects)
    }

    /// Handles a line of the server.
    pub fn from_server(&mut self, line: &[u8]) -> Vec<Effect> {
        match wire::read(line) {
            ServerLine::Control(name, control) => self.control(name, control),
            ServerLine::Permission(name, permission) => self.permission(&name, permission),
            ServerLine::Prompt(text) => self.prompt(text),
            ServerLine::Unknown => Vec::new(),
        }
    }

    /// Handles a line of the agent.
    pub fn from_agent(&mut self, line: &[u8]) -> Vec<Effect> {
        match rpc::read(line) {
            Message::Response(id, response) => self.response(id, response),
            Message::Request(id, method, params) if method == "session/request_permission" => {
                self.question(id, &params)
            }
            Message::Request(id, ..) => vec![Effect::Send(rpc::refuse(&id))],
            Message::Notification(method, params) if method == "session/update" => {
                self.update(&params)
            }
            Message::Notification(..) | Message::Invalid => Vec::new(),
        }
    }

    /// Whether the setup is over: the agent is ready for prompts, or never will be.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.setup.is_over()
    }

    fn control(&mut self, name: String, control: Control) -> Vec<Effect> {
        match control {
            Control::Initialize if self.setup.is_over() => {
                vec![Effect::Print(wire::succeeded(&name))]
            }
            Control::Initialize => {
                self.initialize = Some(name);
                Vec::new()
            }
            Control::Interrupt => self.interrupt(&name),
            Control::SetModel(model) => self.set_model(name, model),
            Control::Unknown => vec![Effect::Print(wire::failed(&name, "not supported"))],
        }
    }

    fn set_model(&mut self, name: String, model: String) -> Vec<Effect> {
        let Some((method, params)) = self.setup.model_request(&model) else {
            let reason = "The agent does not let clients choose a model.";
            return vec![Effect::Print(wire::failed(&name, reason))];
        };
        let purpose = Purpose::SetModel { name, model };
        vec![self.request(purpose, method, &params)]
    }

    /// Its id is `last_request` then.
    fn request(&mut self, purpose: Purpose, method: &str, params: &Value) -> Effect {
        self.last_request += 1;
        self.purposes.insert(self.last_request, purpose);
        Effect::Send(rpc::request(self.last_request, method, params))
    }

    fn response(&mut self, id: u64, response: Result<Value, RpcError>) -> Vec<Effect> {
        match self.purposes.remove(&id) {
            Some(Purpose::Setup) => {
                let step = self.setup.response(response);
                self.setup_step(step)
            }
            Some(Purpose::Prompt) => self.prompt_response(id, response),
            Some(Purpose::SetModel { name, model }) => vec![Effect::Print(match response {
                Ok(_) => {
                    self.setup.set_model(model);
                    wire::succeeded(&name)
                }
                Err(error) => wire::failed(&name, &error.text),
            })],
            None => Vec::new(),
        }
    }

    fn setup_step(&mut self, step: Step) -> Vec<Effect> {
        match step {
            Step::Request(method, params) => vec![self.request(Purpose::Setup, method, &params)],
            Step::Version(version) => vec![Effect::Print(version + "\n"), Effect::End(Ok(()))],
            Step::Failed(reason) => vec![Effect::End(Err(reason))],
            Step::Ready => {
                let mut effects = self.initialize_response();
                let waiting = self
                    .turn
                    .as_mut()
                    .and_then(|turn| turn.waiting_prompt.take());
                effects.extend(waiting.into_iter().flat_map(|text| self.send_prompt(text)));
                effects
            }
            Step::SignedOut(text) => {
                let mut effects = self.initialize_response();
                if self.turn.is_some() {
                    let text = format!("Not logged in: {text}");
                    effects.extend(self.failed(FailureKind::Login, None, &text));
                }
                effects
            }
        }
    }

    /// The response to the server's `initialize`, if it is waiting for one.
    fn initialize_response(&mut self) -> Vec<Effect> {
        let name = self.initialize.take();
        let effect = name.map(|name| Effect::Print(wire::succeeded(&name)));
        effect.into_iter().collect()
    }

    fn interrupt(&mut self, name: &str) -> Vec<Effect> {
        let mut effects = vec![Effect::Print(wire::succeeded(name))];
        let Some(turn) = &mut self.turn else {
            return effects;
        };
        turn.is_stopped = true;
        if turn.request.is_none() {
            effects.extend(self.stopped());
        } else {
            effects.extend(self.cancel());
        }
        effects
    }

    /// Asks the agent to end its turn, and voids its open questions.
    fn cancel(&mut self) -> Vec<Effect> {
        let mut effects = self.void_questions();
        if let Some(session) = self.setup.session() {
            let params = json!({"sessionId": session});
            effects.push(Effect::Send(rpc::notification("session/cancel", &params)));
        }
        effects
    }
}
