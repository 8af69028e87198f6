//! The kinds of agents, and the settings by which a known ACP agent asks for permission, stays in its cell and
//! reports failures.

use std::path::PathBuf;

use uuid::Uuid;

/// The protocol of the agent's program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AgentKind {
    /// The claude CLI.
    #[default]
    Claude,
    /// An agent that speaks ACP. `command` and `args` of the options belong to its bridge, `breakglass acp`, which
    /// speaks stream-json for it and starts it in the same cell.
    Acp(AcpAgent),
}

/// An agent that speaks ACP on its standard streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpAgent {
    /// A path, or a name that is looked up like the CLI.
    pub command: PathBuf,
    /// Its arguments, such as `acp`.
    pub args: Vec<String>,
}

/// The settings for one program, identified by its file name.
#[derive(Debug)]
struct Preset {
    program: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    /// Variables that get a new random value for each process.
    random: &'static [&'static str],
    /// An address by which it reaches itself, without the proxy.
    own_address: Option<&'static str>,
}

/// Each setting has one of these purposes: only tools that read run without permission; the model has no tool that
/// leaves the cell except by a command; a command may wait ten minutes for the operator; the log on standard
/// error reports that the model does not answer; nothing is downloaded or sent to the vendor. Tested with
/// codex-acp 0.16.0 and opencode 1.18.33.
const PRESETS: &[Preset] = &[
    Preset {
        program: "codex-acp",
        args: &[
            "-c",
            "approval_policy=\"untrusted\"",
            // The cell already confines it; a second sandbox inside would fail.
            "-c",
            "sandbox_mode=\"danger-full-access\"",
            // The search would run on the vendor's servers.
            "-c",
            "web_search=\"disabled\"",
            "-c",
            "features.multi_agent=false",
            "-c",
            "features.goals=false",
            "-c",
            "features.apps=false",
            "-c",
            "features.plugins=false",
            "-c",
            "skills.bundled.enabled=false",
            "-c",
            "analytics.enabled=false",
            "-c",
            "feedback.enabled=false",
            "-c",
            "check_for_update_on_startup=false",
        ],
        env: &[("NO_COLOR", "1")],
        random: &[],
        own_address: None,
    },
    Preset {
        program: "opencode",
        // It talks to itself over HTTP, on an address that no local model uses.
        args: &[
            "--print-logs",
            "--log-level",
            "ERROR",
            "--hostname",
            "127.0.0.2",
        ],
        env: &[
            (
                "OPENCODE_PERMISSION",
                r#"{"*":"deny","bash":"ask","read":"allow","glob":"allow","grep":"allow","list":"allow","external_directory":"allow"}"#,
            ),
            ("OPENCODE_EXPERIMENTAL_BASH_DEFAULT_TIMEOUT_MS", "600000"),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
            ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
            ("OPENCODE_DISABLE_SHARE", "1"),
            ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1"),
            ("OPENCODE_DISABLE_CLAUDE_CODE", "1"),
            ("OPENCODE_DISABLE_EXTERNAL_SKILLS", "1"),
            ("NO_COLOR", "1"),
        ],
        // Another agent on the same loopback must not control this one.
        random: &["OPENCODE_SERVER_PASSWORD"],
        own_address: Some("127.0.0.2"),
    },
];

impl AcpAgent {
    /// Its name in messages.
    fn name(&self) -> String {
        self.command
            .file_name()
            .unwrap_or_default()
            .display()
            .to_string()
    }

    fn preset(&self) -> Option<&'static Preset> {
        let name = self.command.file_name()?;
        PRESETS.iter().find(|preset| *preset.program == *name)
    }

    /// Its configured arguments, then those of its preset, which take precedence.
    pub(crate) fn all_args(&self) -> Vec<String> {
        let configured = self.args.iter().cloned();
        let preset = self.preset().map_or(&[][..], |preset| preset.args);
        let preset = preset.iter().map(|arg| (*arg).to_owned());
        configured.chain(preset).collect()
    }

    /// The variables of its preset, to be added to `others`.
    pub(crate) fn env(&self, others: &[(String, String)]) -> Vec<(String, String)> {
        let Some(preset) = self.preset() else {
            return Vec::new();
        };
        let fixed = preset
            .env
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let random = preset
            .random
            .iter()
            .map(|name| (*name, Uuid::new_v4().to_string()));
        let direct = preset.own_address.into_iter().flat_map(|own| {
            ["NO_PROXY", "no_proxy"].map(|name| {
                let other = others.iter().rev().find(|(other, _)| other == name);
                let other = other.map(|(_, value)| format!("{value},"));
                (name, other.unwrap_or_default() + own)
            })
        });
        let all = fixed.chain(random).chain(direct);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl AgentKind {
    /// Its name at the beginning of a sentence.
    pub(crate) fn display_name(&self) -> String {
        match self {
            AgentKind::Claude => "The claude CLI".to_owned(),
            AgentKind::Acp(agent) => format!("The agent {}", agent.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_takes_precedence_over_configured_arguments() {
        let command = PathBuf::from("/opt/x/codex-acp");
        let args = vec!["-c".to_owned(), "approval_policy=\"never\"".to_owned()];
        let all = AcpAgent { command, args }.all_args();
        let mut policies = all.iter().filter(|arg| arg.starts_with("approval_policy"));
        assert_eq!(
            policies.next_back().unwrap(),
            "approval_policy=\"untrusted\""
        );
    }

    #[test]
    fn an_unknown_agent_has_no_preset() {
        let command = PathBuf::from("other-agent");
        let args = vec!["acp".to_owned()];
        let agent = AcpAgent { command, args };
        assert_eq!(agent.all_args(), ["acp"]);
        assert!(agent.env(&[]).is_empty());
        assert_eq!(
            AgentKind::Acp(agent).display_name(),
            "The agent other-agent"
        );
    }

    #[test]
    fn an_own_address_is_added_to_no_proxy_and_a_password_differs_each_time() {
        let command = PathBuf::from("opencode");
        let agent = AcpAgent {
            command,
            args: Vec::new(),
        };
        let others = [("NO_PROXY".to_owned(), "model.internal".to_owned())];
        let found = |name: &str| {
            let all = agent.env(&others);
            all.into_iter().find(|(other, _)| other == name).unwrap().1
        };
        assert_eq!(found("NO_PROXY"), "model.internal,127.0.0.2");
        assert_eq!(found("no_proxy"), "127.0.0.2");
        assert_ne!(
            found("OPENCODE_SERVER_PASSWORD"),
            found("OPENCODE_SERVER_PASSWORD")
        );
    }
}
