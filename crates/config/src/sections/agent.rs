//! `[agent]`: the claude CLI, what it may do, and where it runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use breakglass_bastion::{Rules, RulesError};
use breakglass_model::Autonomy;
use secrecy::SecretString;

use super::plain_name;
use crate::reader::SectionReader;
use crate::types::{
    AgentConfig, ModelKey, SOCKET_PATH_MAX_BYTES, SOCKETS_DIR_MAX_BYTES, SOCKETS_DIR_NAME,
    SandboxMode,
};
use crate::{agent_account, library, presets};

/// Reads the key of a model's API from the file that `api_key_file` names.
pub(crate) fn model_key(section: &mut SectionReader<'_>) -> Option<ModelKey> {
    let found = section.file("api_key_file")?;
    let (path, text) = &found.value;
    section.note_secret(path, &found.origin, &found.key);
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!("{} contains no key", path.display());
        let remedy = "put the API key, and nothing else, into the file";
        section
            .problems()
            .error(&found.origin, &found.key, problem, remedy);
    }
    (!key.is_empty()).then(|| ModelKey {
        secret: SecretString::from(key),
        file: Some(path.clone()),
    })
}

/// Reads `[agent]`.
pub(super) fn agent(section: &mut SectionReader<'_>) -> Option<AgentConfig> {
    let defaults = AgentConfig::default();
    let runner_keys = RUNNER_KEYS.map(|key| section.has(key).then_some(key));
    let enabled = section.boolean("enabled", true);
    let command = section
        .path_value("command")
        .map_or(defaults.command, |found| found.value);
    let args = section
        .list("args", "write each argument as a separate string", |text| {
            Ok(text.to_owned())
        })
        .unwrap_or_default();
    let remedy = "write a model's name, as in \"sonnet\"";
    let chosen = section.parsed("model", remedy, model_name);
    let listed = section.list("models", remedy, model_name);
    let autonomy = section
        .parsed(
            "autonomy",
            "write \"autonomous\", \"approve-mutations\" or \"read-only\"",
            autonomy,
        )
        .unwrap_or(defaults.autonomy);
    let retries = section.integer("max_api_retries", defaults.max_api_retries.into(), 0..=20);
    let max_api_retries = u32::try_from(retries).unwrap_or(u32::MAX);
    let api_key = model_key(section);
    let base_url = section.parsed("base_url", "write it as \"https://host/path\"", |text| {
        if text.starts_with("https://") || text.starts_with("http://") {
            Ok(text.to_owned())
        } else {
            Err(format!("{text:?} is not an http address"))
        }
    });
    let credentials_dir = section.directory("credentials_dir");
    let user = agent_account::user(section);
    let library = library::library(section);
    let sandbox = section
        .parsed(
            "sandbox",
            "write \"auto\", \"required\" or \"none\"",
            sandbox,
        )
        .unwrap_or_default();
    let egress = section
        .list("egress", "write each as \"host:port\"", str::parse)
        .unwrap_or_default();
    let fallback = section.parsed("fallback", "name one of [[agents]]", plain_name);
    let runner = runner(section, &runner_keys);
    let runner_uid = section
        .optional_integer("runner_uid", 0..=u64::from(u32::MAX - 1))
        .and_then(|uid| u32::try_from(uid).ok());
    let hours = section.integer("model_check_hours", 24, 0..=8760);
    let model_check = (hours > 0).then(|| Duration::from_secs(hours * 3600));
    let rules = section.file("rules_file").map(|found| {
        let (path, text) = &found.value;
        if let Err(error) = own_rules(path, text) {
            let remedy = "correct the rule; docs/rules.md describes the format";
            let problems = section.problems();
            problems.error(&found.origin, &found.key, error.to_string(), remedy);
        }
        found.value
    });
    let presets = presets::presets(section).unwrap_or(defaults.presets);
    let mut models = listed.unwrap_or(defaults.models);
    let model = chosen
        .or_else(|| models.first().cloned())
        .unwrap_or(defaults.model);
    if !models.contains(&model) {
        models.insert(0, model.clone());
    }
    Some(AgentConfig {
        enabled,
        command,
        args,
        model,
        models,
        autonomy,
        turn_limit: defaults.turn_limit,
        max_api_retries,
        api_key,
        base_url,
        credentials_dir,
        user,
        library,
        sandbox,
        egress,
        fallback,
        runner,
        runner_uid,
        model_check,
        rules,
        presets,
    })
}

/// Keys that describe how the CLI is started. With a runner they are the runner's options.
const RUNNER_KEYS: [&str; 9] = [
    "command",
    "args",
    "api_key_file",
    "base_url",
    "credentials_dir",
    "egress",
    "sandbox",
    "user",
    "library",
];

/// Reads the runner's socket, and refuses the keys of [`RUNNER_KEYS`] that are set (`runner_keys`).
fn runner(section: &mut SectionReader<'_>, runner_keys: &[Option<&str>]) -> Option<PathBuf> {
    let socket = section.parsed("runner", RUNNER_REMEDY, |text| {
        let path = PathBuf::from(text);
        let dir_bytes = path.parent().map_or(0, |dir| dir.as_os_str().len());
        let sockets_dir_bytes = dir_bytes + 1 + SOCKETS_DIR_NAME.len();
        let is_short =
            sockets_dir_bytes <= SOCKETS_DIR_MAX_BYTES && text.len() <= SOCKET_PATH_MAX_BYTES;
        if path.is_absolute() && path.file_name().is_some() && is_short {
            Ok(path)
        } else {
            Err(format!(
                "{text:?} is not an absolute path, or it is too long"
            ))
        }
    })?;
    for key in runner_keys.iter().flatten() {
        let remedy = "remove it here, and pass it to `breakglass runner`";
        section.error(key, "is an option of the runner", remedy);
    }
    Some(socket)
}

const RUNNER_REMEDY: &str = "write the socket's path, as in \"/run/breakglass/runner.sock\", in a \
                             directory whose path has at most 32 bytes";

/// The built-in rules followed by the operator's own, from the `text` of the file `path`.
///
/// # Errors
/// If a rule is invalid; the error names the file and the rule.
pub fn own_rules(path: &Path, text: &str) -> Result<Rules, RulesError> {
    Rules::built_in()?.and(text, &path.display().to_string())
}

/// A model's name, by the rule that prompts follow too.
pub(crate) fn model_name(text: &str) -> Result<String, String> {
    if !breakglass_agent::is_model_name(text) {
        return Err(format!("{text:?} is not a model name"));
    }
    Ok(text.to_owned())
}

fn sandbox(text: &str) -> Result<SandboxMode, String> {
    match text {
        "auto" => Ok(SandboxMode::Auto),
        "required" => Ok(SandboxMode::Required),
        "none" => Ok(SandboxMode::None),
        _ => Err(format!("{text:?} is not a sandbox mode")),
    }
}

fn autonomy(text: &str) -> Result<Autonomy, String> {
    Autonomy::parse(text).ok_or_else(|| format!("{text:?} is not an autonomy"))
}
