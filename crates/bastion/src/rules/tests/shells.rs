//! The shells themselves say how a line is split: what the rules call reading is run by all of them, and
//! must run exactly the programs and words that were judged.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use breakglass_rig::shells::{self, Case, SHELLS, Shell, Shells};
use proptest::prelude::*;
use proptest::sample::select;

use super::{RULES, examples};
use crate::rules::{Judgement, words};

/// The programs that `line` runs by our reading.
fn case(line: String) -> Case {
    let commands = words::split(line.as_bytes()).unwrap();
    Case {
        line,
        pattern: commands.iter().flatten().any(|word| word.glob),
        programs: commands
            .into_iter()
            .map(|command| command.into_iter().map(|word| word.text).collect())
            .collect(),
    }
}

#[test]
fn every_shell_runs_what_only_reads_as_it_was_judged() {
    // A generator of bytes, always with the same beginning: the fuzz target has other lines each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    let shells = Shells::new(&shells::PROGRAMS);
    let reads = |line: &String| matches!(RULES.judge(line.as_bytes()), Judgement::Reads(_));
    let mut cases: Vec<_> = (0..6_000)
        .map(|_| shells::line(&mut next))
        .filter(reads)
        .map(case)
        .filter(|case| case.fits(&shells::PROGRAMS))
        .collect();
    assert!(cases.len() > 500, "{}", cases.len());
    cases.sort_by(|a, b| a.line.cmp(&b.line));
    cases.dedup_by(|a, b| a.line == b.line);
    let differences: Vec<_> = cases
        .chunks(500)
        .flat_map(|some| shells.differences(some))
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn every_shell_puts_the_same_files_in_for_a_pattern() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("{}/{name}", place.path().display());
    for name in ["a.log", "b c.log", "x.txt", ".log"] {
        fs::write(path(name), "").unwrap();
    }
    let line = format!("ls -l {} x", path("*.log"));
    assert!(matches!(RULES.judge(line.as_bytes()), Judgement::Reads(_)));
    let words = ["ls", "-l", &path("a.log"), &path("b c.log"), "x"].map(str::to_owned);
    let case = Case {
        line,
        pattern: false,
        programs: vec![words.into()],
    };
    let differences = Shells::new(&["ls"]).differences(&[case]);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Words that a shell runs itself, in one shell or another.
const OWN: [&str; 12] = [
    "echo", "cd", "test", "true", "false", "pwd", "command", "ulimit", "sleep", "cat", "realpath",
    "which",
];

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
    let more = ["sudo", "timeout", "nice"].map(str::to_owned);
    for name in programs.chain(more) {
        // Several rules may be about one program.
        let _ = symlink(&stub, directory.path().join(name));
    }
    Stubs { directory }
});

impl Stubs {
    /// The words of each program that `shell` ran for `line` as sshd has it run, sorted. One that comes
    /// late is waited for, if it is among the `expected`: not every shell waits for all of a pipeline.
    fn run(&self, shell: Shell, line: &str, expected: &[Vec<String>]) -> Vec<Vec<String>> {
        let (seen, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let output = shell
            .command(place.path(), self.directory.path(), true)
            .args(["-c", line])
            .env("SEEN", seen.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(!errors.contains("syntax"), "{shell:?} {line:?}: {errors}");
        assert!(
            fs::read_dir(place.path()).unwrap().next().is_none(),
            "{shell:?} {line:?}"
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let runs = noted(seen.path());
            if runs == expected || runs.len() > expected.len() || Instant::now() > deadline {
                return runs;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn noted(place: &Path) -> Vec<Vec<String>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        text.split_terminator('\0')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut runs: Vec<_> = fs::read_dir(place).unwrap().map(read).collect();
    runs.retain(|words| {
        words
            .first()
            .is_some_and(|name| !OWN.contains(&name.as_str()))
    });
    runs.sort();
    runs
}

/// Examples that run stubs: no pattern that may match, no program by its path.
fn runnable() -> Vec<String> {
    let mut lines = examples();
    lines.retain(|line| {
        let case = case(line.clone());
        !case.pattern && case.programs.iter().all(|words| !words[0].contains('/'))
    });
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shells_run_exactly_the_words_of_every_example_in_a_pipeline(
        parts in prop::collection::vec((
            select(vec!["", "sudo ", "sudo -n ", "timeout 5 ", "nice -n 3 "]),
            select(runnable()),
            select(vec!["", " 2>&1", " 2>/dev/null", " > /dev/null", " </dev/null"]),
            select(vec![";", " | ", "\n", "|\n\n", ";\n", " ; "]),
        ), 1..5),
    ) {
        let mut line = String::new();
        for (at, (wrapper, example, redirection, separator)) in parts.iter().enumerate() {
            // A shell's own word is no program that sudo could run.
            let own = OWN.contains(&example.split(' ').next().unwrap_or_default());
            line.push_str(if own { "" } else { wrapper });
            line.push_str(example);
            line.push_str(redirection);
            line.push_str(if at + 1 < parts.len() { separator } else { "" });
        }
        prop_assert!(matches!(RULES.judge(line.as_bytes()), Judgement::Reads(_)), "{}", line);
        let mut expected = case(line.clone()).programs;
        expected.retain(|words| !OWN.contains(&words[0].as_str()));
        expected.sort();
        for shell in SHELLS {
            prop_assert_eq!(&STUBS.run(shell, &line, &expected), &expected, "{:?} {:?}", shell, line);
        }
    }
}
