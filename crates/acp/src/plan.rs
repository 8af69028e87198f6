/// What the bridge is started for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The agent's session.
    pub session: Session,
    /// The server's name for the session.
    pub name: String,
    /// The agent's name of a model; `default` for its own choice.
    pub model: String,
    /// The instructions, which are sent before the first prompt of a session.
    pub instructions: String,
    /// The agent's working directory.
    pub directory: String,
    /// Maximum number of retries when the model fails.
    pub max_retries: u32,
    /// Names of the agent's environment variables, by which it may log in.
    pub variables: Vec<String>,
}

/// The agent's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// None: the agent only reports its version.
    None,
    /// A new one.
    New,
    /// The existing one with this id of the agent.
    Resume(String),
}
