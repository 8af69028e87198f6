//! Checks that the command line accepts every command in the documents.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Placeholders in the documents, and values for them.
const PLACEHOLDERS: [(&str, &str); 2] = [
    ("INCIDENT", "01a20a48-ff12-76e4-b170-59185cf2be2e"),
    ("GUEST_ID", "102"),
];

fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let pages = docs.map(|entry| entry.unwrap().path());
    let all = pages.chain([root.join("README.md")]);
    all.filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The lines in fences of shell code, with continued lines joined.
fn shell_lines(document: &str) -> Vec<String> {
    let mut fences = document.split("```");
    let mut lines = Vec::new();
    fences.next();
    while let (Some(fence), _) = (fences.next(), fences.next()) {
        if let Some(text) = fence.strip_prefix("sh\n") {
            let joined = text.replace("\\\n", " ");
            lines.extend(joined.lines().map(|line| line.trim().to_owned()));
        }
    }
    lines
}

/// The words of a call of breakglass, without the shell's part of the line.
fn call(line: &str) -> Option<Vec<String>> {
    let line = line
        .strip_prefix("cargo run --release -- ")
        .map_or_else(|| line.to_owned(), |rest| format!("breakglass {rest}"));
    if !line.starts_with("breakglass ") {
        return None;
    }
    let ends = |word: &&str| !["|", ">", "&&", ";"].contains(word) && !word.starts_with('#');
    let words = line.split_whitespace().take_while(ends);
    let plain = words.map(|word| {
        let found = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        found.map_or(word, |(_, value)| value).to_owned()
    });
    Some(plain.collect())
}

#[test]
fn every_command_line_in_the_documents_is_accepted() {
    let mut tried = 0;
    for (path, text) in documents() {
        for words in shell_lines(&text).iter().filter_map(|line| call(line)) {
            tried += 1;
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{}: {words:?}: {error}", path.display());
            }
        }
    }
    assert!(tried >= 8, "only {tried} were found");
}

#[test]
fn every_subcommand_that_the_documents_name_exists() {
    for (path, text) in documents() {
        let named = text.split('`').skip(1).step_by(2);
        for span in named.filter_map(|span| span.strip_prefix("breakglass ")) {
            let word = span.split_whitespace().next().unwrap_or_default();
            let command = Cli::command();
            let known = command.find_subcommand(word).is_some() || word.starts_with('-');
            assert!(known, "{}: `breakglass {span}`", path.display());
        }
    }
}
