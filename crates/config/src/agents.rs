//! `[[agents]]`: those besides the claude CLI, each a program that speaks ACP.

use std::collections::HashSet;
use std::path::PathBuf;

use super::section::Section;
use super::sections::{model_key, model_name, plain_name};
use super::types::{AgentConfig, ModelKey};
use crate::allowed_host::AllowedHost;

/// The name of the agent of `[agent]`.
pub const FIRST_AGENT: &str = "claude";

/// The variable that holds an agent's key, unless it is said.
const KEY_VARIABLE: &str = "OPENAI_API_KEY";
/// Variables that are the cell's.
const CELLS: [&str; 5] = ["HOME", "PATH", "SHELL", "TMPDIR", "USER"];

/// An agent that speaks ACP.
#[derive(Debug, Clone)]
pub struct OtherAgent {
    /// What a prompt calls it.
    pub name: String,
    /// Its program: a path, or a name that is looked up.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its usual model, and all that a prompt may name.
    pub model: String,
    /// What a prompt may name.
    pub models: Vec<String>,
    /// The login of its model's API, in the variable of this name.
    pub api_key: Option<(String, ModelKey)>,
    /// Further variables; no secrets.
    pub environment: Vec<(String, String)>,
    /// What can be reached from its sandbox.
    pub egress: Vec<AllowedHost>,
}

impl OtherAgent {
    /// How its login is renewed, as a sentence.
    #[must_use]
    pub fn renew_login(&self) -> String {
        let name = &self.name;
        let file = self.api_key.as_ref().and_then(|(_, key)| key.file.as_ref());
        match file {
            Some(file) => format!(
                "Put a valid key into {} (api_key_file of the agent {name}) and start breakglass again.",
                file.display()
            ),
            None => format!(
                "Set api_key_file of the agent {name} to a file with a valid key, and start breakglass again."
            ),
        }
    }
}

/// All of them; a faulty one is reported and left out.
pub(crate) fn agents(root: &mut Section<'_>) -> Vec<OtherAgent> {
    let mut names = HashSet::from([FIRST_AGENT.to_owned()]);
    let all = root.sections("agents", |section| one(section, &mut names));
    all.into_iter().flatten().collect()
}

/// Reports what the agent of `[agent]` can't live with beside others.
pub(crate) fn check(first: &AgentConfig, others: &[OtherAgent], root: &mut Section<'_>) {
    if first.runner.is_some() && !others.is_empty() {
        let remedy = "take [[agents]] out, or agent.runner: a runner has the claude CLI alone";
        root.error("agents", "are not started by a runner", remedy);
    }
    let Some(fallback) = &first.fallback else {
        return;
    };
    if !others.iter().any(|other| other.name == *fallback) {
        let problem = format!("there is no agent {fallback:?}");
        root.error("agent.fallback", problem, "name one of [[agents]]");
    }
}

fn one(section: &mut Section<'_>, names: &mut HashSet<String>) -> Option<OtherAgent> {
    for (key, remedy) in [
        ("name", "name the agent, as in \"opencode\""),
        (
            "command",
            "name the program that speaks ACP, as in \"opencode\"",
        ),
        (
            "egress",
            "list where its model is, as in [\"api.openai.com:443\"]",
        ),
    ] {
        if !section.has(key) {
            section.error(key, "is missing", remedy);
        }
    }
    let remedy = "use a–z, 0–9 and -, and each name once; \"claude\" is that of [agent]";
    let name = section.parsed("name", remedy, |text| {
        let name = plain_name(text)?;
        let fresh = names.insert(name.clone());
        fresh
            .then_some(name)
            .ok_or_else(|| format!("{text:?} is there twice"))
    });
    let command = section.path_value("command").map(|found| found.value);
    let args = section.list("args", "write each argument by itself", |text| {
        Ok(text.to_owned())
    });
    let remedy = "write a model's name; \"default\" leaves it to the agent";
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
    let variable = variable.unwrap_or_else(|| KEY_VARIABLE.to_owned());
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
        return Err(format!("the value of {name} has a zero byte"));
    }
    Ok((variable(name)?, value.to_owned()))
}

/// A variable that leaves the cell what it is.
fn variable(name: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    if !first || name.len() > 100 || !name.bytes().all(fits) {
        return Err(format!("{name:?} is no variable's name"));
    }
    let upper = name.to_ascii_uppercase();
    let ours = CELLS.contains(&&*upper)
        || ["LD_", "BREAKGLASS_"]
            .iter()
            .any(|start| upper.starts_with(start))
        || upper.ends_with("_PROXY");
    match ours {
        true => Err(format!("{name} is set by the cell")),
        false => Ok(name.to_owned()),
    }
}
