//! Prompts that are one tap on the page: the operator's own, or the built-in ones.

use std::collections::HashSet;
use std::path::Path;

use breakglass_model::visible;
use schemars::JsonSchema;
use serde::Serialize;
use ts_rs::TS;

use super::error::{Origin, Report};
use super::section::Section;
use super::tree::{self, Node, Value};

const BUILT_IN: &str = include_str!("../../../agents/presets.toml");
/// The most in a file.
const MOST: usize = 24;
/// The longest label, in characters.
const LABEL: usize = 40;
/// The longest text, in characters.
const TEXT: usize = 2_000;
/// The largest file, in bytes: as many texts as may be, in any script.
const FILE: u64 = 256 * 1024;

/// A prompt that is one tap on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[ts(export)]
pub struct Preset {
    /// What the button says: one line of at most 40 characters, different from every other.
    pub label: String,
    /// What the agent is asked: at most 2,000 characters.
    pub text: String,
}

/// Those that there are where the configuration names none.
pub(crate) fn built_in() -> Vec<Preset> {
    // A test holds that it reports nothing.
    read(Path::new("presets.toml"), BUILT_IN, &mut Report::default())
}

/// Those of the file that `presets` names, or the built-in ones.
pub(crate) fn presets(section: &mut Section<'_>) -> Option<Vec<Preset>> {
    let (path, text) = section.file_up_to("presets", FILE)?.value;
    Some(read(&path, &text, section.report()))
}

fn read(path: &Path, source: &str, report: &mut Report) -> Vec<Preset> {
    let node = Node {
        value: Value::Table(tree::parse(path, source, report)),
        origin: Origin::Missing(Some(path.to_owned())),
    };
    let mut root = Section::new(String::new(), node, report);
    if !root.has("presets") {
        let remedy = "write a [[presets]] section with a label and a text for each, or remove \
                      agent.presets to have the built-in ones";
        root.error("presets", "is missing", remedy);
    }
    let mut taken = HashSet::new();
    let presets = root.sections("presets", |section| preset(section, &mut taken));
    if presets.len() > MOST {
        let problem = format!("has {} entries", presets.len());
        root.error("presets", problem, "keep the 24 that are asked most often");
    }
    root.finish();
    presets.into_iter().flatten().collect()
}

fn preset(section: &mut Section<'_>, taken: &mut HashSet<String>) -> Option<Preset> {
    for key in ["label", "text"] {
        if !section.has(key) {
            section.error(key, "is missing", "give each preset a label and a text");
        }
    }
    let remedy = "write one line of at most 40 characters that no other preset has";
    let label = section.parsed("label", remedy, |text| label(text, taken));
    let remedy = "write at most 2,000 characters, all of which show; lines may be broken";
    let text = section.parsed("text", remedy, |text| fits(text, TEXT));
    Some(Preset {
        label: label?,
        text: text?,
    })
}

fn label(text: &str, taken: &mut HashSet<String>) -> Result<String, String> {
    let label = fits(text, LABEL)?;
    if label.contains(['\n', '\t']) {
        return Err(format!("{label:?} is more than one line"));
    }
    // The page shows each with a capital.
    let fresh = taken.insert(label.to_lowercase());
    fresh
        .then(|| label.clone())
        .ok_or_else(|| format!("{label:?} is there twice"))
}

/// The text without what is around it, if it is short enough and all of it shows.
fn fits(text: &str, most: usize) -> Result<String, String> {
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    let length = text.chars().count();
    if length > most {
        return Err(format!("has {length} characters"));
    }
    let shown = visible(text);
    if shown != text {
        return Err(format!("has a character that does not show: {shown:?}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(source: &str) -> (Vec<Preset>, Vec<String>) {
        let mut report = Report::default();
        let presets = read(Path::new("/etc/x.toml"), source, &mut report);
        let errors = report.errors.iter().map(ToString::to_string).collect();
        (presets, errors)
    }

    fn entry(label: &str, text: &str) -> String {
        format!("[[presets]]\nlabel = \"{label}\"\ntext = \"{text}\"\n")
    }

    #[test]
    fn the_built_in_presets_are_whole_and_hold_the_runbooks() {
        let (presets, errors) = load(BUILT_IN);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(built_in(), presets);
        for label in ["Triage", "QEMU wedged?"] {
            let preset = presets.iter().find(|it| it.label == label).unwrap();
            for part in [
                "Change nothing before",
                "runbooks",
                "one question at a time",
            ] {
                assert!(preset.text.contains(part), "{label}: {part}");
            }
        }
    }

    #[test]
    fn what_is_as_long_as_it_may_be_is_taken_in_every_script() {
        let whole: String = (0..MOST)
            .map(|n| entry(&format!("{n:ж>40}"), &"ж".repeat(TEXT)))
            .collect();
        let (presets, errors) = load(&whole);
        assert_eq!((presets.len(), errors), (MOST, Vec::new()));
        assert!((whole.len() as u64) < FILE);
    }

    #[test]
    fn lines_and_spaces_around_a_text_are_no_part_of_it() {
        let source = "[[presets]]\r\nlabel = \" a \"\r\ntext = \"\"\"\r\none\r\ntwo\r\n\"\"\"\r\n";
        let (presets, errors) = load(source);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!((&*presets[0].label, &*presets[0].text), ("a", "one\ntwo"));
    }

    #[test]
    fn a_list_that_is_there_and_empty_is_a_list_of_none() {
        assert_eq!(load("presets = []\n"), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_entry_and_remedy() {
        let good = entry("a", "b");
        let many: String = (0..=MOST).map(|n| entry(&n.to_string(), "b")).collect();
        let rows = [
            ("", "/etc/x.toml: presets: is missing; write a [[presets]]"),
            ("presets = 1", "/etc/x.toml:1: presets: is a number"),
            ("presets = [1]", "/etc/x.toml:1: presets[0]: is a number"),
            ("[[presets]", "/etc/x.toml:1: (syntax)"),
            ("[[preset]]\nlabel = \"a\"", "did you mean presets?"),
            (&many, "presets: has 25 entries; keep the 24"),
            (
                &format!("{good}colour = 1"),
                "presets[0].colour: is not a known key",
            ),
            ("[[presets]]\nlabel = \"a\"", "presets[0].text: is missing"),
            ("[[presets]]\ntext = \"a\"", "presets[0].label: is missing"),
            (
                &entry(" ", "b"),
                "/etc/x.toml:2: presets[0].label: is empty",
            ),
            (&entry("a", ""), "/etc/x.toml:3: presets[0].text: is empty"),
            (
                &format!("{good}{}", entry("A", "c")),
                "/etc/x.toml:5: presets[1].label: \"A\" is there twice",
            ),
            (
                &entry(&"l".repeat(41), "b"),
                "presets[0].label: has 41 characters; write one line",
            ),
            (
                &entry("a", &"t".repeat(2001)),
                "presets[0].text: has 2001 characters; write at most",
            ),
            (
                &entry("a\\nb", "b"),
                "presets[0].label: \"a\\nb\" is more than one line",
            ),
            (
                &entry("a", "b\\u001b[2J"),
                "presets[0].text: has a character that does not show: \"b␛[2J\"",
            ),
            (
                &entry("a\\u202e", "b"),
                "presets[0].label: has a character that does not show: \"a<U+202E>\"",
            ),
        ];
        for (source, said) in rows {
            let (_, errors) = load(source);
            assert!(
                errors.iter().any(|it| it.contains(said)),
                "{said}: {errors:?}"
            );
        }
    }
}
