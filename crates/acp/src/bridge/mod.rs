//! The bridge as a pure function: from a line of either side, to lines for both.

mod ending;
mod questions;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::calls::Call;
use crate::fault::{self, Kind, Meaning};
use crate::open::{Opening, Step};
use crate::rpc::{self, Fault, Message};
use crate::told::Told;
use crate::turn::Turn;
use crate::wire::{self, Control, Said};
use questions::Question;

/// What the bridge is for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is done with the agent.
    pub session: Session,
    /// What the server calls the session.
    pub name: String,
    /// The agent's name of a model; `default` for its own choice.
    pub model: String,
    /// What it is told before the first prompt of a session.
    pub instructions: String,
    /// Its working directory.
    pub directory: String,
    /// How often it may try again when its model fails.
    pub max_retries: u32,
    /// The variables that it has, by which it may sign in.
    pub variables: Vec<String>,
}

/// What is done with the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// It says its version.
    None,
    /// It begins a session.
    New,
    /// It goes on with the one that it calls so.
    Resume(String),
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Said to the server: lines.
    Say(String),
    /// Sent to the agent: one message.
    Send(Value),
    /// To be remembered: what the agent calls this session.
    Keep(String),
    /// The bridge ends; the error is a sentence.
    End(Result<(), String>),
}

/// What a request to the agent was for.
#[derive(Debug, PartialEq, Eq)]
enum Purpose {
    /// To get ready.
    Open,
    /// A prompt.
    Prompt,
    /// Another model, which the server asked for by the first name.
    Model(String, String),
}

/// The state between lines.
#[derive(Debug)]
pub struct Bridge {
    plan: Plan,
    opening: Opening,
    /// How the server calls its request to get ready, until it is answered.
    greeted: Option<String>,
    requests: u64,
    purposes: BTreeMap<u64, Purpose>,
    turn: Option<Turn>,
    questions: BTreeMap<String, Question>,
    asked: u64,
    instructed: bool,
    cost: Option<f64>,
}

impl Bridge {
    /// A bridge, and what it does first.
    #[must_use]
    pub fn new(plan: Plan) -> (Bridge, Vec<Effect>) {
        let opening = Opening::new(&plan);
        let instructed = matches!(plan.session, Session::Resume(_));
        let mut bridge = Bridge {
            plan,
            opening,
            greeted: None,
            requests: 0,
            purposes: BTreeMap::new(),
            turn: None,
            questions: BTreeMap::new(),
            asked: 0,
            instructed,
            cost: None,
        };
        let first = bridge.opening.begin();
        let effects = bridge.step(first);
        (bridge, effects)
    }

    /// The server said `line`.
    pub fn from_server(&mut self, line: &[u8]) -> Vec<Effect> {
        match wire::read(line) {
            Said::Control(name, control) => self.control(name, control),
            Said::Ruled(name, leave) => self.ruled(&name, leave),
            Said::Prompt(text) => self.prompt(text),
            Said::Unknown => Vec::new(),
        }
    }

    /// The agent said `line`.
    pub fn from_agent(&mut self, line: &[u8]) -> Vec<Effect> {
        match rpc::read(line) {
            Message::Answer(id, answer) => self.answered(id, answer),
            Message::Request(id, method, params) if method == "session/request_permission" => {
                self.question(id, &params)
            }
            Message::Request(id, ..) => vec![Effect::Send(rpc::refuse(&id))],
            Message::Notice(method, params) if method == "session/update" => self.update(&params),
            Message::Notice(..) | Message::Nonsense => Vec::new(),
        }
    }

    /// The agent wrote `line` into its log. Only there some tell that their model does not answer.
    pub fn from_log(&mut self, line: &str) -> Vec<Effect> {
        let Some((turn, failed)) = self.turn.as_mut().zip(fault::failed_try(line)) else {
            return Vec::new();
        };
        turn.tries += 1;
        turn.told_tries = true;
        let (attempt, max) = failed.count.unwrap_or((turn.tries, self.plan.max_retries));
        let meaning = Meaning::of(&failed.words);
        if turn.tries <= self.plan.max_retries || turn.given_up.is_some() {
            let line = wire::retries(attempt, max, meaning.status, &why(meaning, &failed.words));
            return vec![Effect::Say(line)];
        }
        turn.given_up = Some(failed.words);
        self.cancel()
    }

    /// Whether the agent is ready for prompts, or never will be.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opening.is_over()
    }

    fn control(&mut self, name: String, control: Control) -> Vec<Effect> {
        match control {
            Control::Initialize if self.opening.is_over() => vec![Effect::Say(wire::done(&name))],
            Control::Initialize => {
                self.greeted = Some(name);
                Vec::new()
            }
            Control::Interrupt => self.interrupted(&name),
            Control::SetModel(model) => self.set_model(name, model),
            Control::Unknown => vec![Effect::Say(wire::failed(&name, "not supported"))],
        }
    }

    fn set_model(&mut self, name: String, model: String) -> Vec<Effect> {
        match self.opening.choose(&model) {
            Some((method, params)) => {
                let (_, send) = self.request(Purpose::Model(name, model), method, &params);
                vec![send]
            }
            None => vec![Effect::Say(wire::failed(
                &name,
                "The agent lets no model be chosen.",
            ))],
        }
    }

    fn request(&mut self, purpose: Purpose, method: &str, params: &Value) -> (u64, Effect) {
        self.requests += 1;
        self.purposes.insert(self.requests, purpose);
        (
            self.requests,
            Effect::Send(rpc::request(self.requests, method, params)),
        )
    }

    fn answered(&mut self, id: u64, answer: Result<Value, Fault>) -> Vec<Effect> {
        match self.purposes.remove(&id) {
            Some(Purpose::Open) => {
                let step = self.opening.answered(answer);
                self.step(step)
            }
            Some(Purpose::Prompt) => self.prompted(id, answer),
            Some(Purpose::Model(name, model)) => vec![Effect::Say(match answer {
                Ok(_) => {
                    self.opening.chose(model);
                    wire::done(&name)
                }
                Err(fault) => wire::failed(&name, &fault.words),
            })],
            None => Vec::new(),
        }
    }

    /// The next step on the way to a session.
    fn step(&mut self, step: Step) -> Vec<Effect> {
        match step {
            Step::Ask(method, params) => {
                let (_, send) = self.request(Purpose::Open, method, &params);
                vec![send]
            }
            Step::Version(version) => vec![Effect::Say(version + "\n"), Effect::End(Ok(()))],
            Step::Broken(why) => vec![Effect::End(Err(why))],
            Step::Open => {
                let mut effects: Vec<Effect> = self.greet().into_iter().collect();
                let waiting = self.turn.as_mut().and_then(|turn| turn.waiting.take());
                effects.extend(waiting.into_iter().flat_map(|text| self.send_prompt(text)));
                effects
            }
            Step::SignedOut(words) => {
                let mut effects: Vec<Effect> = self.greet().into_iter().collect();
                if self.turn.is_some() {
                    let words = format!("Not logged in: {words}");
                    effects.extend(self.failed(Kind::Login, None, &words));
                }
                effects
            }
        }
    }

    /// The server waits to hear that all is ready.
    fn greet(&mut self) -> Option<Effect> {
        let name = self.greeted.take()?;
        Some(Effect::Say(wire::done(&name)))
    }

    fn prompt(&mut self, text: String) -> Vec<Effect> {
        if self.turn.is_some() {
            return Vec::new();
        }
        self.turn = Some(Turn::default());
        let began = wire::began(&self.plan.name, self.opening.model());
        let mut effects = vec![Effect::Say(began)];
        if self.opening.session().is_some() {
            effects.extend(self.send_prompt(text));
            return effects;
        }
        if let Some(turn) = &mut self.turn {
            turn.waiting = Some(text);
        }
        // Somebody may have signed in meanwhile.
        if let Some(step) = self.opening.again() {
            effects.extend(self.step(step));
        }
        effects
    }

    fn send_prompt(&mut self, text: String) -> Vec<Effect> {
        let Some(session) = self.opening.session().map(str::to_owned) else {
            return Vec::new();
        };
        let told = std::mem::replace(&mut self.instructed, true);
        let mut effects = Vec::new();
        let text = if told || self.plan.instructions.is_empty() {
            text
        } else {
            format!(
                "{}\n\n# The operator's prompt\n\n{text}",
                self.plan.instructions
            )
        };
        if !told {
            effects.push(Effect::Keep(session.clone()));
        }
        let params = json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]});
        let (id, send) = self.request(Purpose::Prompt, "session/prompt", &params);
        effects.push(send);
        if let Some(turn) = &mut self.turn {
            turn.request = Some(id);
        }
        effects
    }

    fn update(&mut self, params: &Value) -> Vec<Effect> {
        let of_session = params["sessionId"].as_str() == self.opening.session();
        let update = &params["update"];
        let kind = update["sessionUpdate"].as_str().unwrap_or_default();
        if kind == "usage_update" && of_session {
            let cost = &update["cost"];
            let dollars = cost["amount"]
                .as_f64()
                .filter(|_| cost["currency"] == "USD");
            self.cost = dollars.or(self.cost);
        }
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.request.is_some()) else {
            return Vec::new();
        };
        let text = update["content"]["text"].as_str();
        match (kind, text) {
            ("agent_message_chunk", Some(text)) if of_session => {
                let whole = turn.typed(text, update["messageId"].as_str());
                let whole = whole.map(|text| wire::said(self.opening.model(), &text));
                let lines = whole.into_iter().chain([wire::typed(text)]);
                lines.map(Effect::Say).collect()
            }
            ("tool_call" | "tool_call_update", _) if of_session => match Told::of(update) {
                Some(told) => self.told(&told),
                None => Vec::new(),
            },
            _ => vec![Effect::Say(wire::alive())],
        }
    }

    fn told(&mut self, told: &Told<'_>) -> Vec<Effect> {
        let Some(turn) = &mut self.turn else {
            return Vec::new();
        };
        let begun = turn.calls.learn(told, false);
        let mut effects = match begun {
            Some(call) => self.announce(told.id, &call),
            None => vec![Effect::Say(wire::alive())],
        };
        if let Some(turn) = self.turn.as_mut().filter(|_| told.is_over())
            && turn.calls.end(told.id)
        {
            let failed = told.status != Some("completed");
            let (output, is_error) = told.output.clone().unwrap_or((String::new(), failed));
            effects.push(Effect::Say(wire::returned(told.id, &output, is_error)));
        }
        effects
    }

    fn announce(&mut self, id: &str, call: &Call) -> Vec<Effect> {
        let (tool, input) = call.tool();
        let mut effects: Vec<Effect> = self.flush().into_iter().collect();
        if let Some(turn) = &mut self.turn {
            turn.alive();
        }
        let line = wire::called(self.opening.model(), id, tool, &input);
        effects.push(Effect::Say(line));
        effects
    }

    fn flush(&mut self) -> Option<Effect> {
        let text = self.turn.as_mut()?.flush()?;
        Some(Effect::Say(wire::said(self.opening.model(), &text)))
    }

    fn is_ending(&self) -> bool {
        let turn = self.turn.as_ref();
        turn.is_some_and(|turn| turn.stopped || turn.given_up.is_some())
    }

    fn interrupted(&mut self, name: &str) -> Vec<Effect> {
        let mut effects = vec![Effect::Say(wire::done(name))];
        let Some(turn) = &mut self.turn else {
            return effects;
        };
        turn.stopped = true;
        if turn.request.is_none() {
            effects.extend(self.stopped());
            return effects;
        }
        effects.extend(self.cancel());
        effects
    }

    /// Asks the agent to end its turn. Its open questions are void.
    fn cancel(&mut self) -> Vec<Effect> {
        let mut effects = self.void_questions();
        if let Some(session) = self.opening.session() {
            let params = json!({"sessionId": session});
            effects.push(Effect::Send(rpc::notice("session/cancel", &params)));
        }
        effects
    }
}

/// Why the model did not answer, as the claude CLI would put it: a word, or what was said.
fn why(meaning: Meaning, words: &str) -> String {
    let words = rpc::short(words);
    match (meaning.kind, meaning.status) {
        (Kind::Login, _) => "authentication_failed".to_owned(),
        (Kind::Credit, _) => "billing_error".to_owned(),
        (_, Some(429)) => "rate_limit".to_owned(),
        (_, Some(529)) => "overloaded".to_owned(),
        (_, Some(_)) => "server_error".to_owned(),
        (Kind::Unreachable, None) => "unknown".to_owned(),
        (Kind::Other, None) => format!("it says: {words}"),
    }
}
