//! The way to a session: greeting, login where one is needed, a new session or an old one, the model.

use serde_json::{Value, json};

use crate::bridge::{Plan, Session};
use crate::rpc::{Fault, short};

/// The version of ACP that is spoken.
const PROTOCOL: u64 = 1;
/// The name of the model that the agent chooses itself.
const OWN_CHOICE: &str = "default";

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// A request to the agent.
    Ask(&'static str, Value),
    /// It said what it is called; that was all.
    Version(String),
    /// It takes prompts.
    Open,
    /// It works, and has no login; what it says.
    SignedOut(String),
    /// It can't be used; a sentence.
    Broken(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Greeting,
    SigningIn,
    Session,
    Model,
    Over,
}

#[derive(Debug)]
pub(crate) struct Opening {
    at: At,
    want: Session,
    name: String,
    directory: String,
    variables: Vec<String>,
    /// The model that is wanted first, then the one in use.
    model: String,
    agent: String,
    can_resume: bool,
    can_load: bool,
    /// The way of signing in that needs nobody.
    login: Option<String>,
    session: Option<String>,
    /// By which the agent's model is chosen, if it can be.
    chooser: Option<Chooser>,
}

#[derive(Debug)]
enum Chooser {
    /// An option of the session of this id.
    Option(String),
    /// The older way.
    Method,
}

impl Opening {
    pub(crate) fn new(plan: &Plan) -> Opening {
        Opening {
            at: At::Greeting,
            want: plan.session.clone(),
            name: plan.name.clone(),
            directory: plan.directory.clone(),
            variables: plan.variables.clone(),
            model: plan.model.clone(),
            agent: String::new(),
            can_resume: false,
            can_load: false,
            login: None,
            session: None,
            chooser: None,
        }
    }

    pub(crate) fn begin(&self) -> Step {
        // It has no files and terminals but those of its own cell.
        let capabilities = json!({
            "fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false,
        });
        let client = json!({"name": "breakglass", "version": env!("CARGO_PKG_VERSION")});
        Step::Ask(
            "initialize",
            json!({
                "protocolVersion": PROTOCOL, "clientCapabilities": capabilities, "clientInfo": client,
            }),
        )
    }

    pub(crate) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// What the agent calls the session, once it has one.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref().filter(|_| self.is_over())
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Tries once more what a missing login prevented.
    pub(crate) fn again(&mut self) -> Option<Step> {
        self.is_over().then(|| self.open())
    }

    pub(crate) fn answered(&mut self, answer: Result<Value, Fault>) -> Step {
        match self.at {
            At::Greeting => self.greeted(answer),
            At::SigningIn => match answer {
                Ok(_) => self.open(),
                Err(fault) => self.signed_out(&fault),
            },
            At::Session => self.opened(answer),
            At::Model => match answer {
                Ok(_) => self.over(),
                Err(fault) => self.no_model(&fault.words),
            },
            At::Over => Step::Open,
        }
    }

    fn greeted(&mut self, answer: Result<Value, Fault>) -> Step {
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                return Step::Broken(format!("The agent does not speak ACP: {}", fault.words));
            }
        };
        if answer["protocolVersion"].as_u64() != Some(PROTOCOL) {
            let version = short(&answer["protocolVersion"].to_string());
            return Step::Broken(format!(
                "The agent speaks version {version} of ACP; only version {PROTOCOL} is known here. Use \
                 another version of the agent."
            ));
        }
        let info = &answer["agentInfo"];
        let called = info["title"].as_str().or(info["name"].as_str());
        let version = info["version"].as_str().unwrap_or("without a version");
        self.agent = short(&format!(
            "{} {version}",
            called.unwrap_or("an agent without a name")
        ));
        let able = &answer["agentCapabilities"];
        self.can_load = able["loadSession"] == true;
        self.can_resume = able["sessionCapabilities"]["resume"].is_object();
        self.login = login(&answer["authMethods"], &self.variables);
        self.open()
    }

    fn open(&mut self) -> Step {
        self.at = At::Session;
        let mut params = json!({"cwd": self.directory, "mcpServers": []});
        match &self.want {
            Session::None => {
                self.at = At::Over;
                Step::Version(format!("{} (ACP {PROTOCOL})", self.agent))
            }
            Session::New => Step::Ask("session/new", params),
            Session::Resume(_) if !self.can_resume && !self.can_load => self.no_session(),
            Session::Resume(session) => {
                params["sessionId"] = json!(session);
                // Without telling all that was said in it, where it can.
                let method = if self.can_resume {
                    "session/resume"
                } else {
                    "session/load"
                };
                Step::Ask(method, params)
            }
        }
    }

    fn opened(&mut self, answer: Result<Value, Fault>) -> Step {
        let answer = match (answer, &self.want) {
            (Ok(answer), _) => answer,
            (Err(fault), _) if fault.is_of_login() => return self.sign_in(&fault),
            (Err(_), Session::Resume(_)) => return self.no_session(),
            (Err(fault), _) => {
                return Step::Broken(format!("The agent begins no session: {}", fault.words));
            }
        };
        let session = match &self.want {
            Session::Resume(session) => Some(session.as_str()),
            _ => answer["sessionId"].as_str(),
        };
        let Some(session) = session else {
            return Step::Broken("The agent begins a session without a name.".to_owned());
        };
        self.session = Some(session.to_owned());
        self.choose_first(&answer)
    }

    fn choose_first(&mut self, answer: &Value) -> Step {
        let (chooser, current) = chooser(answer);
        self.chooser = chooser;
        if self.model == OWN_CHOICE || current == Some(self.model.as_str()) {
            if let Some(current) = current {
                self.model = short(current);
            }
            return self.over();
        }
        let wanted = self.model.clone();
        self.at = At::Model;
        match self.choose(&wanted) {
            Some((method, params)) => Step::Ask(method, params),
            None => self.no_model("it lets no model be chosen"),
        }
    }

    /// The request that makes `model` answer from now on.
    pub(crate) fn choose(&self, model: &str) -> Option<(&'static str, Value)> {
        let session = self.session.as_deref()?;
        Some(match self.chooser.as_ref()? {
            Chooser::Option(option) => (
                "session/set_config_option",
                json!({"sessionId": session, "configId": option, "value": model}),
            ),
            Chooser::Method => (
                "session/set_model",
                json!({"sessionId": session, "modelId": model}),
            ),
        })
    }

    pub(crate) fn chose(&mut self, model: String) {
        self.model = model;
    }

    fn over(&mut self) -> Step {
        self.at = At::Over;
        Step::Open
    }

    fn no_model(&self, why: &str) -> Step {
        Step::Broken(format!(
            "The agent does not take the model {}: {why}. Name one of its own, or `{OWN_CHOICE}`.",
            self.model
        ))
    }

    /// In the claude CLI's words, by which the server knows it.
    fn no_session(&self) -> Step {
        Step::Broken(no_conversation(&self.name))
    }

    /// Once, and only where nobody is needed for it.
    fn sign_in(&mut self, fault: &Fault) -> Step {
        match self.login.take() {
            Some(method) => {
                self.at = At::SigningIn;
                Step::Ask("authenticate", json!({"methodId": method}))
            }
            None => self.signed_out(fault),
        }
    }

    fn signed_out(&mut self, fault: &Fault) -> Step {
        self.at = At::Over;
        Step::SignedOut(fault.words.clone())
    }
}

/// That a session is not there, in the claude CLI's words.
pub(crate) fn no_conversation(name: &str) -> String {
    format!("No conversation found with session ID: {name}")
}

/// The way of signing in by variables that are all set.
fn login(methods: &Value, variables: &[String]) -> Option<String> {
    let set = |variable: &Value| {
        let name = variable["name"].as_str().or(variable.as_str());
        name.is_some_and(|name| variables.iter().any(|set| set == name))
    };
    let by_variables = |method: &&Value| {
        let needed = method["vars"].as_array();
        method["type"] == "env_var"
            && needed.is_some_and(|vars| !vars.is_empty() && vars.iter().all(set))
    };
    let found = methods.as_array()?.iter().find(by_variables)?;
    Some(found["id"].as_str()?.to_owned())
}

/// How the model is chosen, and which one it is.
fn chooser(answer: &Value) -> (Option<Chooser>, Option<&str>) {
    let mut options = answer["configOptions"].as_array().into_iter().flatten();
    if let Some(option) = options.find(|option| option["category"] == "model")
        && let Some(id) = option["id"].as_str()
    {
        let current = option["currentValue"].as_str();
        return (Some(Chooser::Option(id.to_owned())), current);
    }
    let models = &answer["models"];
    let chooser = models["availableModels"]
        .is_array()
        .then_some(Chooser::Method);
    (chooser, models["currentModelId"].as_str())
}
