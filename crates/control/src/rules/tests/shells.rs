//! The shells themselves say how a line is split: in a directory of programs that only write their
//! words down, `sh` and `bash` run what was accepted, and must run exactly the words that were seen.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;

use super::{RULES, examples, quoted};
use crate::rules::{Judgement, words};

const SHELLS: [&str; 2] = ["/bin/sh", "/bin/bash"];
/// Words that a shell runs itself.
const OWN: [&str; 7] = ["echo", "cd", "test", "true", "pwd", "command", "ulimit"];

/// A directory with a program for each name, which writes its words into a file of its own.
struct Stubs {
    directory: tempfile::TempDir,
}

static STUBS: LazyLock<Stubs> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let stub = directory.path().join("stub");
    let script = "#!/bin/sh\nprintf '%s\\0' \"${0##*/}\" \"$@\" >\"$SEEN/$$\"\n";
    fs::write(&stub, script).unwrap();
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
    let programs = RULES.rules.iter().flat_map(|it| it.rule.programs.clone());
    let more = ["sudo", "timeout", "nice", "a", "b"].map(str::to_owned);
    for name in programs.chain(more) {
        // Several rules may be about one program.
        let _ = symlink(&stub, directory.path().join(name));
    }
    Stubs { directory }
});

impl Stubs {
    /// The words of each program that `shell` ran for `line`, sorted.
    fn run(&self, shell: &str, line: &str) -> Vec<Vec<String>> {
        let seen = tempfile::tempdir().unwrap();
        let output = Command::new(shell)
            .args(["-c", line])
            .env_clear()
            .env("PATH", self.directory.path())
            .env("SEEN", seen.path())
            .current_dir(seen.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!errors.contains("yntax"), "{shell} {line:?}: {errors}");
        let mut runs: Vec<Vec<String>> = fs::read_dir(seen.path())
            .unwrap()
            .map(|entry| {
                let bytes = fs::read(entry.unwrap().path()).unwrap();
                let text = String::from_utf8(bytes).unwrap();
                text.split_terminator('\0').map(str::to_owned).collect()
            })
            .collect();
        runs.sort();
        runs
    }
}

/// The words that the splitter sees, sorted as [`Stubs::run`] sorts them.
fn split(line: &str) -> Result<Vec<Vec<String>>, String> {
    let mut runs: Vec<Vec<String>> = words::split(line.as_bytes())?
        .into_iter()
        .map(|command| command.into_iter().map(|word| word.text).collect())
        .filter(|words: &Vec<String>| !OWN.contains(&words[0].as_str()))
        .collect();
    runs.sort();
    Ok(runs)
}

fn shells_agree(line: &str) -> Result<(), TestCaseError> {
    let expected = split(line).map_err(TestCaseError::fail)?;
    for shell in SHELLS {
        // There sh runs the command in the background and may end first.
        if shell == "/bin/sh" && line.contains("&>") {
            continue;
        }
        prop_assert_eq!(&STUBS.run(shell, line), &expected, "{} {:?}", shell, line);
    }
    Ok(())
}

/// Examples that run stubs: no pattern that may match, no program by its path.
fn runnable() -> Vec<String> {
    let mut lines = examples();
    lines.retain(|line| {
        let commands = words::split(line.as_bytes()).unwrap();
        let fixed = |words: &Vec<words::Word>| {
            !words[0].text.contains('/') && words.iter().all(|word| !word.glob)
        };
        commands.iter().all(fixed)
    });
    lines
}

/// A word in one of the ways to write it.
fn written(text: &str, way: usize) -> String {
    let ascii = text.chars().all(|c| matches!(c, ' '..='~'));
    match way {
        0 if ascii && !text.contains('!') && !text.is_empty() => {
            let escaped = |c| match c {
                '"' | '\\' | '$' | '`' => format!("\\{c}"),
                c => String::from(c),
            };
            format!("\"{}\"", text.chars().map(escaped).collect::<String>())
        }
        1 if ascii && !text.is_empty() => text.chars().flat_map(|c| ['\\', c]).collect(),
        _ => quoted(text),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn shells_run_exactly_the_words_that_were_judged(
        parts in prop::collection::vec((
            select(vec!["", "sudo ", "sudo -n ", "timeout 5 ", "nice -n 3 "]),
            select(runnable()),
            select(vec!["", " 2>&1", " 2>/dev/null", " > /dev/null", " </dev/null"]),
            select(vec![";", " | ", "\n", "|\n\n", ";\n", " ; "]),
        ), 1..5),
    ) {
        let mut line = String::new();
        for (at, (wrapper, example, redirection, separator)) in parts.iter().enumerate() {
            if at > 0 {
                line.push_str(parts[at - 1].3);
            }
            // A shell's own word is no program that sudo could run.
            let own = OWN.contains(&example.split(' ').next().unwrap_or_default());
            line.push_str(if own { "" } else { wrapper });
            line.push_str(example);
            line.push_str(redirection);
            let _ = separator;
        }
        prop_assert!(matches!(RULES.judge(line.as_bytes()), Judgement::Reads(_)), "{}", line);
        shells_agree(&line)?;
    }

    #[test]
    fn shells_see_words_in_every_writing_as_they_were_split(
        list in prop::collection::vec(("[^\\p{Cc}]{0,8}|[ -~]{0,12}", 0usize..3), 1..6),
    ) {
        let line: Vec<_> = list.iter().map(|(text, way)| written(text, *way)).collect();
        shells_agree(&format!("a {}", line.join(" ")))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn shells_see_whatever_is_accepted_as_it_was_split(
        tokens in prop::collection::vec(select(vec![
            "a ", "b ", "x", " ", "\t", "'", "'", "\"", "\"", "\\", "|", " | ", "&&", ";", "\n",
            "=", "%", "]", "-", ":", ",", "@", "2", "1", "2>&1", ">&2", ">/dev/null",
            "2> /dev/null", "&>/dev/null", "</dev/null", "\\'", "\\\"", "$", "#", "~", "{", "!",
            "''", "\"\"", "'|'", "\";\"", "\\;", "\\ ", "^", "é", "+",
        ]), 1..12),
    ) {
        let line = format!("a {}", tokens.concat());
        let known = |runs: &Vec<Vec<String>>| {
            runs.iter().all(|words| matches!(words[0].as_str(), "a" | "b"))
        };
        prop_assume!(split(&line).is_ok_and(|runs| known(&runs)));
        shells_agree(&line)?;
    }
}
