//! Assembles the scripts: parameters as shell assignments, then the common text and the text for guest or host.

use super::plan::rule;
use breakglass_model::Side;

const COMMON: &str = include_str!("common.sh");
const GUEST: &str = include_str!("guest.sh");
const HOST: &str = include_str!("host.sh");
/// The shell reads everything between the braces before it runs anything, so an incomplete script does nothing. The
/// script's commands get no standard input.
const BEGIN: &str = "{\n";
const END: &str = "main\n} </dev/null\n";

/// The action of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Inspect,
    Apply,
    Remove,
}

/// The parameters of a script; an empty one means "none".
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    pub user: String,
    pub line: String,
    pub probe: String,
    pub blob: String,
    /// Previous keys, whose lines are reported.
    pub old: String,
    /// Keys whose lines are removed.
    pub drop: String,
    pub sha256: String,
    pub driver: String,
    pub guest: String,
}

/// The complete script, for `sh` as root.
pub(crate) fn script(side: Side, action: Action, params: &Params) -> String {
    let action = match action {
        Action::Inspect => "inspect",
        Action::Apply => "apply",
        Action::Remove => "remove",
    };
    let rule = rule(&params.user);
    let mut text = BEGIN.to_owned();
    for (name, value) in [
        ("action", action),
        ("user", &params.user),
        ("line", &params.line),
        ("probe", &params.probe),
        ("blob", &params.blob),
        ("old", &params.old),
        ("drop", &params.drop),
        ("rule", &rule),
        ("sha256", &params.sha256),
        ("driver", &params.driver),
        ("guest", &params.guest),
    ] {
        text.push_str(&format!("{name}={}\n", quoted(value)));
    }
    text.push_str(COMMON);
    text.push('\n');
    text.push_str(match side {
        Side::Guest => GUEST,
        Side::Host => HOST,
    });
    text.push_str(END);
    text
}

/// Quotes any text as one word of the shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn sh(script: &str) -> String {
        let mut child = Command::new("sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The file after the edit by the script's awk program.
    fn edited(file: &str, params: &Params) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".ssh")).unwrap();
        let path = dir.path().join(".ssh/authorized_keys");
        std::fs::write(&path, file).unwrap();
        let text = script(Side::Guest, Action::Apply, params);
        let definitions = text.strip_prefix(BEGIN).unwrap();
        let definitions = definitions.strip_suffix(END).unwrap();
        let home = quoted(dir.path().to_str().unwrap());
        let user = "user=$(id -un)\n";
        // The account of the test, with another home.
        let run = format!(
            "{definitions}{user}getent() {{ echo \"x:x:1:1::\"{home}\":x\"; }}\nauthorize\n"
        );
        sh(&run);
        std::fs::read_to_string(path).unwrap()
    }

    fn params() -> Params {
        Params {
            line: "from=\"10.0.0.1\",restrict,pty ssh-ed25519 AAAAours breakglass".to_owned(),
            blob: "AAAAours".to_owned(),
            drop: "AAAAold".to_owned(),
            ..Params::default()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_text_is_one_word_of_the_shell(text in "[^\\x00]{0,60}") {
            let output = sh(&format!("printf %s {}\n", quoted(&text)));
            prop_assert_eq!(output, text);
        }

        #[test]
        fn other_lines_of_authorized_keys_stay_and_a_second_run_changes_nothing(
            lines in proptest::collection::vec(
                prop_oneof![
                    "[ -~äß\\t]{0,50}",
                    Just("# ssh-ed25519 AAAAours in a comment".to_owned()),
                    Just("command=\"echo \\\"a b\\\"\" ssh-ed25519 AAAAother x".to_owned()),
                    Just("ssh-ed25519 AAAAours by hand".to_owned()),
                    Just("command=\"a b\",restrict\tssh-ed25519\tAAAAours".to_owned()),
                    Just("from=\"10.9.9.9\" ssh-ed25519 AAAAold".to_owned()),
                ],
                0..7,
            ),
            ended: bool,
        ) {
            let mut file = lines.join("\n");
            if ended && !file.is_empty() {
                file.push('\n');
            }
            let once = edited(&file, &params());
            prop_assert_eq!(&edited(&once, &params()), &once);
            let is_ours = |line: &&str| {
                !line.trim_start().starts_with('#')
                    && line.split_ascii_whitespace().skip(1).any(|word| word == "AAAAours" || word == "AAAAold")
            };
            let others = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !is_ours(line)).map(str::to_owned).collect()
            };
            prop_assert_eq!(others(&once), others(&file));
            let ours: Vec<_> = once.lines().filter(is_ours).collect();
            prop_assert_eq!(ours, [params().line]);
        }
    }

    #[test]
    fn probing_line_keeps_the_working_line() {
        let probing = Params {
            line: String::new(),
            probe: "command=\"echo x\",restrict ssh-ed25519 AAAAours breakglass".to_owned(),
            drop: String::new(),
            ..params()
        };
        let file = format!(
            "{}\nssh-ed25519 AAAAours bare\nssh-ed25519 AAAAold\n",
            params().line
        );
        let text = edited(&file, &probing);
        let expected = format!(
            "{}\nssh-ed25519 AAAAold\n{}\n",
            params().line,
            probing.probe
        );
        assert_eq!(text, expected);
        assert_eq!(edited(&text, &params()), format!("{}\n", params().line));
    }

    #[test]
    fn truncated_script_does_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ran = dir.path().join("ran");
        for side in [Side::Guest, Side::Host] {
            let whole = script(side, Action::Apply, &params());
            // Creates a file at the start, to show that the script ran.
            let traced = whole.replacen(BEGIN, &format!("{BEGIN}: >{}\n", ran.display()), 1);
            let last = traced.rfind('}').unwrap();
            for end in (0..last).step_by(89).chain([last - 1, last]) {
                sh(&traced[..end]);
                assert!(!ran.exists(), "{}", &traced[..end]);
            }
        }
    }

    #[test]
    fn scripts_do_not_contain_the_end_marker() {
        for side in [Side::Guest, Side::Host] {
            let text = script(side, Action::Apply, &params());
            assert!(text.lines().all(|line| line != super::super::manual::END));
        }
    }
}
