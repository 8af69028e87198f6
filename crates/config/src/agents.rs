//! `[[agents]]`: agents in addition to the claude CLI; each is a program that speaks ACP.

use std::collections::HashSet;
use std::path::PathBuf;

use super::reader::SectionReader;
use super::sections::{model_key, model_name, plain_name};
use super::types::{AgentConfig, ModelKey};
use crate::allowed_host::AllowedHost;

/// The name of the agent of `[agent]`.
pub const FIRST_AGENT: &str = "claude";

/// Default of `api_key_variable`.
const DEFAULT_KEY_VARIABLE: &str = "OPENAI_API_KEY";
/// Variables that the cell sets.
const CELL_VARIABLES: [&str; 5] = ["HOME", "PATH", "SHELL", "TMPDIR", "USER"];

/// An agent that speaks ACP.
#[derive(Debug, Clone)]
pub struct OtherAgent {
    /// Its name in prompts.
    pub name: String,
    /// Its program: a path, or a name that is searched for on `PATH`.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its default model.
    pub model: String,
    /// The models that a prompt may name; includes `model`.
    pub models: Vec<String>,
    /// The variable in which it gets the key of its model's API, and the key.
    pub api_key: Option<(String, ModelKey)>,
    /// Additional variables; no secrets.
    pub environment: Vec<(String, String)>,
    /// The hosts that can be reached from its sandbox.
    pub egress: Vec<AllowedHost>,
}

/// Maximum length of the name of a variable.
const VARIABLE_MAX_BYTES: usize = 100;

impl OtherAgent {
    /// How to renew its login, as a sentence.
    #[must_use]
    pub fn renew_login(&self) -> String {
        let name = &self.name;
        let file = self.api_key.as_ref().and_then(|(_, key)| key.file.as_ref());
        match file {
            Some(file) => format!(
                "Put a valid key into {} (api_key_file of the agent {name}) and restart breakglass.",
                file.display()
            ),
            None => format!(
                "Set api_key_file of the agent {name} to a file with a valid key, and restart breakglass."
            ),
        }
    }
}

/// Reads all agents. An invalid one is reported and skipped.
pub(crate) fn agents(root: &mut SectionReader<'_>) -> Vec<OtherAgent> {
    let mut names = HashSet::from([FIRST_AGENT.to_owned()]);
    let all = root.sections("agents", |section| agent(section, &mut names));
    all.into_iter().flatten().collect()
}

/// Reports settings of `[agent]` that contradict `[[agents]]`.
pub(crate) fn check(first: &AgentConfig, others: &[OtherAgent], root: &mut SectionReader<'_>) {
    if first.runner.is_some() && !others.is_empty() {
        let remedy = "remove [[agents]] or agent.runner: a runner starts only the claude CLI";
        root.error("agents", "cannot be started by a runner", remedy);
    }
    let Some(fallback) = &first.fallback else {
        return;
    };
    if !others.iter().any(|other| other.name == *fallback) {
        let problem = format!("there is no agent {fallback:?}");
        root.error("agent.fallback", problem, "name one of [[agents]]");
    }
}

fn agent(section: &mut SectionReader<'_>, names: &mut HashSet<String>) -> Option<OtherAgent> {
    for (key, remedy) in [
        ("name", "name the agent, as in \"opencode\""),
        (
            "command",
            "name the program that speaks ACP, as in \"opencode\"",
        ),
        (
            "egress",
            "list its model's host, as in [\"api.openai.com:443\"]",
        ),
    ] {
        if !section.has(key) {
            section.error(key, "is missing", remedy);
        }
    }
    let remedy = "use a–z, 0–9 and -, and each name once; \"claude\" is the agent of [agent]";
    let name = section.parsed("name", remedy, |text| {
        let name = plain_name(text)?;
        if names.insert(name.clone()) {
            Ok(name)
        } else {
            Err(format!("{text:?} is used twice"))
        }
    });
    let command = section.path_value("command").map(|found| found.value);
    let args = section.list("args", "write each argument as a separate string", |text| {
        Ok(text.to_owned())
    });
    let remedy = "write a model's name; \"default\" is the agent's own choice";
    let chosen = section.parsed("model", remedy, model_name);
    let mut models = section
        .list("models", remedy, model_name)
        .unwrap_or_default();
    let model = chosen
        .or_else(|| models.first().cloned())
        .unwrap_or_else(|| "default".to_owned());
    if !models.contains(&model) {
        models.insert(0, model.clone());
    }
    let remedy = "write the name of a variable, as in \"OPENAI_API_KEY\"";
    let variable = section.parsed("api_key_variable", remedy, variable);
    let variable = variable.unwrap_or_else(|| DEFAULT_KEY_VARIABLE.to_owned());
    let api_key = model_key(section).map(|key| (variable, key));
    let remedy = "write each as \"NAME=value\", without secrets";
    let environment = section.list("environment", remedy, assignment);
    let egress = section.list("egress", "write each as \"host:port\"", str::parse);
    Some(OtherAgent {
        name: name?,
        command: command?,
        args: args.unwrap_or_default(),
        model,
        models,
        api_key,
        environment: environment.unwrap_or_default(),
        egress: egress?,
    })
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} has no \"=\""))?;
    if value.contains('\0') {
        return Err(format!("the value of {name} contains a zero byte"));
    }
    Ok((variable(name)?, value.to_owned()))
}

/// Checks the name of a variable that the cell does not set itself.
fn variable(name: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty()
        || starts_with_digit
        || name.len() > VARIABLE_MAX_BYTES
        || !name.bytes().all(is_allowed)
    {
        return Err(format!("{name:?} is not the name of a variable"));
    }
    let upper = name.to_ascii_uppercase();
    let set_by_cell = CELL_VARIABLES.contains(&&*upper)
        || ["LD_", "BREAKGLASS_"]
            .iter()
            .any(|start| upper.starts_with(start))
        || upper.ends_with("_PROXY");
    if set_by_cell {
        return Err(format!("{name} is set by the cell"));
    }
    Ok(name.to_owned())
}
