//! The way to an open session: the handshake, a login if one is needed, a new or an existing session, the model.

use serde_json::{Value, json};

use crate::plan::{Plan, Session};
use crate::rpc::{RpcError, short};

/// The supported version of ACP.
const PROTOCOL_VERSION: u64 = 1;
/// The name that leaves the choice of the model to the agent.
const AGENTS_CHOICE: &str = "default";

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send a request to the agent: method and parameters.
    Request(&'static str, Value),
    /// Report the agent's version; nothing else was wanted.
    Version(String),
    /// The agent takes prompts.
    Ready,
    /// The agent works, but has no login; the agent's text.
    SignedOut(String),
    /// The agent can't be used; a sentence.
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Login,
    Session,
    Model,
    Over,
}

#[derive(Debug)]
pub(crate) struct SessionSetup {
    phase: Phase,
    wanted: Session,
    name: String,
    directory: String,
    variables: Vec<String>,
    /// First the wanted model, then the one in use.
    model: String,
    /// The agent's name and version.
    agent: String,
    can_resume: bool,
    can_load: bool,
    /// The login method that needs no interaction.
    login_method: Option<String>,
    session: Option<String>,
    /// How to choose the model, if that is possible.
    model_choice: Option<ModelChoice>,
}

#[derive(Debug)]
enum ModelChoice {
    /// By the session's configuration option with this id.
    ConfigOption(String),
    /// By the older method.
    SetModel,
}

impl SessionSetup {
    pub(crate) fn new(plan: &Plan) -> SessionSetup {
        SessionSetup {
            phase: Phase::Handshake,
            wanted: plan.session.clone(),
            name: plan.name.clone(),
            directory: plan.directory.clone(),
            variables: plan.variables.clone(),
            model: plan.model.clone(),
            agent: String::new(),
            can_resume: false,
            can_load: false,
            login_method: None,
            session: None,
            model_choice: None,
        }
    }

    pub(crate) fn begin(&self) -> Step {
        // The agent has no files and terminals but those of its own cell.
        let capabilities = json!({
            "fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false,
        });
        let client = json!({"name": "breakglass", "version": env!("CARGO_PKG_VERSION")});
        Step::Request(
            "initialize",
            json!({
                "protocolVersion": PROTOCOL_VERSION,
                "clientCapabilities": capabilities,
                "clientInfo": client,
            }),
        )
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The agent's id of the session, once it is open.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref().filter(|_| self.is_over())
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Tries again to open the session after a missing login.
    pub(crate) fn retry(&mut self) -> Option<Step> {
        self.is_over().then(|| self.open_session())
    }

    /// Handles the response to the last request.
    pub(crate) fn response(&mut self, response: Result<Value, RpcError>) -> Step {
        match self.phase {
            Phase::Handshake => self.handshake_done(response),
            Phase::Login => match response {
                Ok(_) => self.open_session(),
                Err(error) => self.signed_out(&error),
            },
            Phase::Session => self.session_opened(response),
            Phase::Model => match response {
                Ok(_) => self.ready(),
                Err(error) => self.model_rejected(&error.text),
            },
            Phase::Over => Step::Ready,
        }
    }

    fn handshake_done(&mut self, response: Result<Value, RpcError>) -> Step {
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                return Step::Failed(format!("The agent does not speak ACP: {}", error.text));
            }
        };
        let version = &response["protocolVersion"];
        if version.as_u64() != Some(PROTOCOL_VERSION) {
            let version = short(&version.to_string());
            return Step::Failed(format!(
                "The agent speaks version {version} of ACP; only version {PROTOCOL_VERSION} is supported \
                 here. Use another version of the agent."
            ));
        }
        let info = &response["agentInfo"];
        let name = info["title"].as_str().or(info["name"].as_str());
        let name = name.unwrap_or("an agent without a name");
        let version = info["version"].as_str().unwrap_or("without a version");
        self.agent = short(&format!("{name} {version}"));
        let capabilities = &response["agentCapabilities"];
        self.can_load = capabilities["loadSession"] == true;
        self.can_resume = capabilities["sessionCapabilities"]["resume"].is_object();
        self.login_method = login_method(&response["authMethods"], &self.variables);
        self.open_session()
    }

    fn open_session(&mut self) -> Step {
        self.phase = Phase::Session;
        let mut params = json!({"cwd": self.directory, "mcpServers": []});
        match &self.wanted {
            Session::None => {
                self.phase = Phase::Over;
                Step::Version(format!("{} (ACP {PROTOCOL_VERSION})", self.agent))
            }
            Session::New => Step::Request("session/new", params),
            Session::Resume(_) if !self.can_resume && !self.can_load => self.no_session(),
            Session::Resume(session) => {
                params["sessionId"] = json!(session);
                // Unlike `load`, `resume` does not replay the whole session.
                let method = if self.can_resume {
                    "session/resume"
                } else {
                    "session/load"
                };
                Step::Request(method, params)
            }
        }
    }

    fn session_opened(&mut self, response: Result<Value, RpcError>) -> Step {
        let response = match (response, &self.wanted) {
            (Ok(response), _) => response,
            (Err(error), _) if error.needs_login() => return self.log_in(&error),
            (Err(_), Session::Resume(_)) => return self.no_session(),
            (Err(error), _) => {
                return Step::Failed(format!("The agent begins no session: {}", error.text));
            }
        };
        let session = match &self.wanted {
            Session::Resume(session) => Some(session.as_str()),
            _ => response["sessionId"].as_str(),
        };
        let Some(session) = session else {
            return Step::Failed("The agent begins a session without an id.".to_owned());
        };
        self.session = Some(session.to_owned());
        self.choose_model(&response)
    }

    fn choose_model(&mut self, response: &Value) -> Step {
        let (choice, current) = model_choice(response);
        self.model_choice = choice;
        if self.model == AGENTS_CHOICE || current == Some(self.model.as_str()) {
            if let Some(current) = current {
                self.model = short(current);
            }
            return self.ready();
        }
        self.phase = Phase::Model;
        match self.model_request(&self.model) {
            Some((method, params)) => Step::Request(method, params),
            None => self.model_rejected("it does not let clients choose a model"),
        }
    }

    /// The request that changes the model.
    pub(crate) fn model_request(&self, model: &str) -> Option<(&'static str, Value)> {
        let session = self.session.as_deref()?;
        Some(match self.model_choice.as_ref()? {
            ModelChoice::ConfigOption(id) => (
                "session/set_config_option",
                json!({"sessionId": session, "configId": id, "value": model}),
            ),
            ModelChoice::SetModel => (
                "session/set_model",
                json!({"sessionId": session, "modelId": model}),
            ),
        })
    }

    pub(crate) fn set_model(&mut self, model: String) {
        self.model = model;
    }

    fn ready(&mut self) -> Step {
        self.phase = Phase::Over;
        Step::Ready
    }

    fn model_rejected(&self, reason: &str) -> Step {
        Step::Failed(format!(
            "The agent does not accept the model {}: {reason}. Name one of its own, or `{AGENTS_CHOICE}`.",
            self.model
        ))
    }

    fn no_session(&self) -> Step {
        Step::Failed(no_conversation(&self.name))
    }

    /// Tries to log in once, and only without interaction.
    fn log_in(&mut self, error: &RpcError) -> Step {
        match self.login_method.take() {
            Some(method) => {
                self.phase = Phase::Login;
                Step::Request("authenticate", json!({"methodId": method}))
            }
            None => self.signed_out(error),
        }
    }

    fn signed_out(&mut self, error: &RpcError) -> Step {
        self.phase = Phase::Over;
        Step::SignedOut(error.text.clone())
    }
}

/// The error for a session that does not exist, as the claude CLI prints it: the server recognises it.
pub(crate) fn no_conversation(name: &str) -> String {
    format!("No conversation found with session ID: {name}")
}

/// The login method whose environment variables are all set.
fn login_method(methods: &Value, variables: &[String]) -> Option<String> {
    let is_set = |variable: &Value| {
        let name = variable["name"].as_str().or(variable.as_str());
        name.is_some_and(|name| variables.iter().any(|set| set == name))
    };
    let is_usable = |method: &&Value| {
        let needed = method["vars"].as_array();
        method["type"] == "env_var"
            && needed.is_some_and(|needed| !needed.is_empty() && needed.iter().all(is_set))
    };
    let method = methods.as_array()?.iter().find(is_usable)?;
    Some(method["id"].as_str()?.to_owned())
}

/// How the model is chosen, and which one is in use.
fn model_choice(response: &Value) -> (Option<ModelChoice>, Option<&str>) {
    let mut options = response["configOptions"].as_array().into_iter().flatten();
    if let Some(option) = options.find(|option| option["category"] == "model")
        && let Some(id) = option["id"].as_str()
    {
        let choice = ModelChoice::ConfigOption(id.to_owned());
        return (Some(choice), option["currentValue"].as_str());
    }
    let models = &response["models"];
    let has_models = models["availableModels"].is_array();
    let choice = has_models.then_some(ModelChoice::SetModel);
    (choice, models["currentModelId"].as_str())
}
