//! How the common shells parse a line: each of them runs many lines, in which every program is a
//! function that records its words.

mod lines;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

pub use lines::{PROGRAMS, line};

/// A shell: its words on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shell(pub &'static [&'static str]);

/// Every shell that must parse a line alike. In csh `2>&1` writes a file named 1, so no shell of
/// that family is included.
pub const SHELLS: [Shell; 8] = [
    Shell(&["dash"]),
    Shell(&["busybox", "ash"]),
    Shell(&["bash", "--norc"]),
    Shell(&["bash", "--norc", "--posix"]),
    Shell(&["zsh", "-f"]),
    Shell(&["ksh"]),
    Shell(&["mksh"]),
    // Without its built-in functions: its own `grep` adds `--color=auto`.
    Shell(&[
        "fish",
        "--no-config",
        "--init-command",
        "set fish_function_path",
    ]),
];

impl Shell {
    /// The shell with only `PATH`, `HOME` and a locale in its environment, in the directory `place`.
    #[must_use]
    pub fn command(self, place: &Path, path: &Path, utf8: bool) -> Command {
        let mut command = Command::new(installed("timeout"));
        command
            .arg(LONGEST)
            .arg(installed(self.0[0]))
            .args(&self.0[1..]);
        command.env_clear().env("PATH", path).env("HOME", path);
        command.env("LC_ALL", if utf8 { "C.UTF-8" } else { "C" });
        command.current_dir(place).stdin(Stdio::null());
        command
    }

    fn is_fish(self) -> bool {
        self.0[0] == "fish"
    }

    fn name(self) -> &'static str {
        self.0[0]
    }
}

fn installed(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|dir| dir.join(name));
    let found = files.find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: run scripts/setup.sh"))
}

/// A line, and the words of each program that it should run, in any order.
#[derive(Debug, Clone)]
pub struct Case {
    /// The line, without the characters U+0001 to U+0003.
    pub line: String,
    /// Each program's name and words.
    pub programs: Vec<Vec<String>>,
    /// Whether it has a pattern that no file matches: some shells treat it as text, and others don't run
    /// the program or the whole line.
    pub pattern: bool,
}

impl Case {
    /// Whether a program is skipped if the one before it succeeds.
    fn has_or(&self) -> bool {
        self.line.contains("||")
    }

    /// Whether it can be tested: it names only `programs`, and no pattern that files of this machine may
    /// match.
    #[must_use]
    pub fn fits(&self, programs: &[&str]) -> bool {
        let known = |name: &String| programs.contains(&name.as_str());
        let matches = |word: &String| word.contains('*') && !word.starts_with("/zz");
        self.programs
            .iter()
            .all(|words| words.first().is_some_and(known))
            && !(self.pattern && self.programs.iter().flatten().any(matches))
    }
}

/// Runs the shells; for one thread at a time.
pub struct Shells {
    /// Contains no program and no start-up files.
    nothing: TempDir,
    programs: Vec<String>,
    batches: AtomicUsize,
}

/// Timeout in seconds, after which a shell and its child processes are killed.
const LONGEST: &str = "300";

/// Separators between the words of a recorded call, after it, and for a newline in it, at which some
/// shells would split the write. No tested line contains them.
const WORD: char = '\u{1}';
const END: char = '\u{2}';
const NEWLINE: char = '\u{3}';

impl Shells {
    /// For lines that name only `programs`.
    #[must_use]
    pub fn new(programs: &[&str]) -> Shells {
        Shells {
            nothing: tempfile::tempdir().unwrap(),
            programs: programs.iter().map(|name| (*name).to_owned()).collect(),
            batches: AtomicUsize::new(0),
        }
    }

    /// Runs all `cases` in every shell. Returns one sentence for each difference from its case: another
    /// program or other words, a created file, a printed error.
    #[must_use]
    pub fn differences(&self, cases: &[Case]) -> Vec<String> {
        let utf8 = self
            .batches
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(2);
        let (plain, patterns): (Vec<_>, Vec<_>) = cases.iter().partition(|it| !it.pattern);
        let judge = |shell: Shell| {
            let mut found = self.narrowed(shell, &plain, utf8);
            found.extend(self.narrowed(shell, &patterns, utf8));
            found
        };
        thread::scope(|scope| {
            let asked: Vec<_> = SHELLS.map(|shell| scope.spawn(move || judge(shell))).into();
            asked
                .into_iter()
                .flat_map(|it| it.join().unwrap())
                .collect()
        })
    }

    /// If the shell differs in all cases together, those in which it differs one by one.
    fn narrowed(&self, shell: Shell, cases: &[&Case], utf8: bool) -> Vec<String> {
        let together = self.ask(shell, cases, utf8);
        if together.is_none() || cases.len() < 2 {
            return together.into_iter().collect();
        }
        let each = cases
            .iter()
            .filter_map(|case| self.ask(shell, &[case], utf8));
        let found: Vec<_> = each.take(10).collect();
        if found.is_empty() {
            together.into_iter().collect()
        } else {
            found
        }
    }

    fn ask(&self, shell: Shell, cases: &[&Case], utf8: bool) -> Option<String> {
        if cases.is_empty() {
            return None;
        }
        let scene = tempfile::tempdir().unwrap();
        let place = scene.path().join("place");
        fs::create_dir(&place).unwrap();
        let log = scene.path().join("log");
        fs::write(&log, "").unwrap();
        let script = scene.path().join("script");
        fs::write(&script, self.script(shell, cases, &log)).unwrap();
        let mut command = shell.command(&place, self.nothing.path(), utf8);
        let (noted, errors) = run(command.arg(&script));
        let noted = noted + &fs::read_to_string(&log).unwrap();
        let made: Vec<_> = fs::read_dir(&place)
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        let about = |what: String| Some(format!("{}: {what}", shell.name()));
        if !made.is_empty() {
            return about(format!("{made:?} made by {:?}", those(cases)));
        }
        if !errors.is_empty() && !cases.iter().any(|it| it.pattern) {
            return about(format!("{errors:?} printed by {:?}", those(cases)));
        }
        let mut noted = records(&noted);
        for (at, case) in cases.iter().enumerate() {
            let ran = noted.remove(&at).unwrap_or_default();
            if !as_said(case, &ran) {
                return about(format!(
                    "{:?} runs {ran:?} and not {:?}",
                    case.line, case.programs
                ));
            }
        }
        None
    }

    /// Defines the programs, then evaluates the lines one by one.
    fn script(&self, shell: Shell, cases: &[&Case], log: &Path) -> String {
        let mut script = prelude(shell, log);
        for name in &self.programs {
            let _ = if shell.is_fish() {
                writeln!(
                    script,
                    "function {name}; note {name} $argv; return $status_of; end"
                )
            } else {
                writeln!(
                    script,
                    "{name}() {{ note {name} \"$@\"; return $status_of; }}"
                )
            };
        }
        for (at, case) in cases.iter().enumerate() {
            // First all succeed; if it matters, then all fail, so that each program runs once.
            let ways = if case.has_or() { 0..=1 } else { 0..=0 };
            for status in ways {
                let line = quoted(shell, &case.line);
                let _ = match (shell.is_fish(), case.pattern) {
                    (true, _) => {
                        writeln!(script, "set at {at}; set status_of {status}; eval {line}")
                    }
                    (_, true) => writeln!(script, "at={at}; status_of={status}; ( eval {line} )"),
                    (_, false) => writeln!(script, "at={at}; status_of={status}; eval {line}"),
                };
            }
        }
        script
    }
}

/// The command that writes a program's words to its own descriptor, in one write.
fn prelude(shell: Shell, log: &Path) -> String {
    if shell.is_fish() {
        let log = log.display();
        return format!(
            "function note\n  begin; printf '%s' $at; printf '{WORD}%s' $argv; \
             printf '{END}'; end >>{log}\nend\n"
        );
    }
    let print = if shell.0[0] == "mksh" {
        "print -rn --"
    } else {
        "printf %s"
    };
    format!(
        "exec 9>&1 >/dev/null\nnewline='\n'\nnote() {{ record=$at; for word in \"$@\"; do\n\
         while :; do case $word in *\"$newline\"*) \
         word=${{word%%\"$newline\"*}}{NEWLINE}${{word#*\"$newline\"}};; *) break;; esac; done\n\
         record=\"$record{WORD}$word\"; done; {print} \"$record{END}\" >&9; }}\n"
    )
}

fn quoted(shell: Shell, line: &str) -> String {
    let text = if shell.is_fish() {
        line.replace('\\', "\\\\").replace('\'', "\\'")
    } else {
        line.replace('\'', "'\\''")
    };
    format!("'{text}'")
}

/// Reads both streams to their end, when all its child processes have ended.
fn run(command: &mut Command) -> (String, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        errors.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut noted = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut noted)
        .unwrap();
    child.wait().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&noted), text(&reader.join().unwrap()))
}

fn those<'a>(cases: &[&'a Case]) -> Vec<&'a str> {
    cases
        .iter()
        .map(|case| case.line.as_str())
        .take(20)
        .collect()
}

fn records(noted: &str) -> HashMap<usize, Vec<Vec<String>>> {
    let mut records: HashMap<usize, Vec<_>> = HashMap::new();
    for record in noted.split_terminator(END) {
        let mut words = record.split(WORD).map(|word| word.replace(NEWLINE, "\n"));
        // A record without a number belongs to no line, and is missing in its own.
        let at = words
            .next()
            .and_then(|at| at.parse().ok())
            .unwrap_or(usize::MAX);
        records.entry(at).or_default().push(words.collect());
    }
    records
}

fn as_said(case: &Case, ran: &[Vec<String>]) -> bool {
    let sorted = |runs: &[Vec<String>], once: bool| {
        let mut runs = runs.to_vec();
        runs.sort();
        if once {
            runs.dedup();
        }
        runs
    };
    let once = case.has_or();
    if case.pattern {
        return ran.iter().all(|words| case.programs.contains(words));
    }
    sorted(ran, once) == sorted(&case.programs, once)
}
