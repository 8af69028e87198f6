//! The options of each agent for the scripted model of a scene.

use std::path::PathBuf;

use breakglass_agent::{AcpAgent, AgentKind, AgentOptions};
use breakglass_rig::acp;
use serde_json::json;

use crate::support::API_KEY;

/// Sets the options for one agent.
pub(crate) type Setup = fn(&mut AgentOptions);

pub(crate) fn claude(_: &mut AgentOptions) {}

pub(crate) fn codex(options: &mut AgentOptions) {
    let provider = format!(
        "model_providers.local={{name=\"local\",base_url=\"{}/v1\",wire_api=\"responses\",\
         env_key=\"CODEX_API_KEY\",request_max_retries=0,stream_max_retries=1}}",
        model_url(options)
    );
    let settings = ["model=\"gpt-5.4\"", "model_provider=\"local\"", &provider];
    let args = settings
        .iter()
        .flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]);
    behind_the_bridge(options, acp::codex(), args.collect());
    options
        .env
        .push(("CODEX_API_KEY".to_owned(), API_KEY.to_owned()));
}

pub(crate) fn opencode(options: &mut AgentOptions) {
    let config = json!({
        "model": "local/scripted",
        "provider": {"local": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "local",
            "options": {"baseURL": format!("{}/v1", model_url(options)), "apiKey": API_KEY},
            "models": {"scripted": {}, "gpt-5.5": {}},
        }},
        // It would send a request that is not scripted.
        "agent": {"title": {"disable": true}},
    });
    behind_the_bridge(options, acp::opencode(), vec!["acp".to_owned()]);
    options
        .env
        .push(("OPENCODE_CONFIG_CONTENT".to_owned(), config.to_string()));
}

fn model_url(options: &AgentOptions) -> String {
    let url = options
        .env
        .iter()
        .find(|(name, _)| name == "ANTHROPIC_BASE_URL");
    url.unwrap().1.clone()
}

fn behind_the_bridge(options: &mut AgentOptions, command: PathBuf, args: Vec<String>) {
    options.env.retain(|(name, _)| name == "PATH");
    options.command = env!("CARGO_BIN_EXE_breakglass-acp").into();
    options.model = "default".to_owned();
    options.kind = AgentKind::Acp(AcpAgent { command, args });
}
