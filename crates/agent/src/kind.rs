//! Which agents there are, and what each needs so that it asks, stays in its cell and tells what fails.

use std::path::PathBuf;

use uuid::Uuid;

/// What the agent's program speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Kind {
    /// It is the claude CLI.
    #[default]
    Claude,
    /// It speaks ACP. `command` and `args` of the options are those of the bridge that speaks stream-json
    /// for it, `breakglass acp`; the bridge starts it in the same cell.
    Acp(AcpAgent),
}

/// An agent that speaks ACP on its standard streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpAgent {
    /// A path, or a name that is looked up like the CLI's.
    pub command: PathBuf,
    /// Its arguments, such as `acp`.
    pub args: Vec<String>,
}

/// What is set for one program, known by its file's name.
#[derive(Debug)]
struct Preset {
    program: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    /// Variables that hold another random value for each process.
    random: &'static [&'static str],
    /// An address that it reaches itself by, which no proxy may come between.
    own_address: Option<&'static str>,
}

/// Each line is there for one of these reasons: nothing runs unasked but what reads; the model is offered
/// no tool that leaves the cell by another way than a command; a command may wait ten minutes for the
/// operator; the log on standard error says when the model does not answer; nothing is fetched or told to
/// the makers. Known by trying: codex-acp 0.16.0, opencode 1.18.33.
const PRESETS: &[Preset] = &[
    Preset {
        program: "codex-acp",
        args: &[
            "-c",
            "approval_policy=\"untrusted\"",
            // The cell is the wall; a second one inside it would only fail.
            "-c",
            "sandbox_mode=\"danger-full-access\"",
            // The vendor's servers would do the search.
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
        // It talks to itself over HTTP, on an address that no model of one's own has.
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
        // Where another agent is on the same loopback, it can't give this one orders.
        random: &["OPENCODE_SERVER_PASSWORD"],
        own_address: Some("127.0.0.2"),
    },
];

impl AcpAgent {
    /// How it is called in sentences.
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

    /// Its arguments, and after them what is set for it: that holds whatever they say.
    pub(crate) fn all_args(&self) -> Vec<String> {
        let own = self.args.iter().cloned();
        let set = self.preset().map_or(&[][..], |preset| preset.args);
        own.chain(set.iter().map(|arg| (*arg).to_owned())).collect()
    }

    /// The variables that are set for it beside `others`.
    pub(crate) fn env(&self, others: &[(String, String)]) -> Vec<(String, String)> {
        let Some(preset) = self.preset() else {
            return Vec::new();
        };
        let set = preset
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
        let all = set.chain(random).chain(direct);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Kind {
    /// The agent at the beginning of a sentence.
    pub(crate) fn called(&self) -> String {
        match self {
            Kind::Claude => "The claude CLI".to_owned(),
            Kind::Acp(agent) => format!("The agent {}", agent.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_for_an_agent_holds_whatever_its_arguments_say() {
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
    fn an_agent_that_is_not_known_gets_nothing_of_its_own() {
        let command = PathBuf::from("other-agent");
        let args = vec!["acp".to_owned()];
        let agent = AcpAgent { command, args };
        assert_eq!(agent.all_args(), ["acp"]);
        assert!(agent.env(&[]).is_empty());
        assert_eq!(Kind::Acp(agent).called(), "The agent other-agent");
    }

    #[test]
    fn an_agents_own_address_goes_past_the_proxy_beside_others_and_its_password_is_never_the_same()
    {
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
