//! Presets: prompts that the page sends with one tap, from the operator's file or built in.

use std::collections::HashSet;
use std::path::Path;

use breakglass_model::visible;
use schemars::JsonSchema;
use serde::Serialize;
use ts_rs::TS;

use super::error::{Origin, Problems};
use super::reader::SectionReader;
use super::tree::{self, Node, Value};

const BUILT_IN: &str = include_str!("../../../agents/presets.toml");
/// Maximum number of presets in a file.
const PRESETS_MAX: usize = 24;
/// Maximum length of a label, in characters.
const LABEL_MAX_CHARS: usize = 40;
/// Maximum length of a text, in characters.
const TEXT_MAX_CHARS: usize = 2_000;
/// Maximum size of the file: the maximum number of texts of the maximum length, in any script.
const FILE_MAX_BYTES: u64 = 256 * 1024;

/// A prompt that the page sends with one tap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[ts(export)]
pub struct Preset {
    /// The button's label: one line of at most 40 characters, different from every other.
    pub label: String,
    /// The prompt: at most 2,000 characters.
    pub text: String,
}

/// The presets that are used if the configuration names no file.
pub(crate) fn built_in() -> Vec<Preset> {
    // A test verifies that this reports no problem.
    read(
        Path::new("presets.toml"),
        BUILT_IN,
        &mut Problems::default(),
    )
}

/// Reads the file that `presets` names; `None` if the key is not set.
pub(crate) fn presets(section: &mut SectionReader<'_>) -> Option<Vec<Preset>> {
    let (path, text) = section.file_up_to("presets", FILE_MAX_BYTES)?.value;
    Some(read(&path, &text, section.problems()))
}

fn read(path: &Path, source: &str, problems: &mut Problems) -> Vec<Preset> {
    let node = Node {
        value: Value::Table(tree::parse(path, source, problems)),
        origin: Origin::Missing(Some(path.to_owned())),
    };
    let mut root = SectionReader::new(String::new(), node, problems);
    if !root.has("presets") {
        let remedy = "write a [[presets]] section with a label and a text for each, or remove \
                      agent.presets to use the built-in ones";
        root.error("presets", "is missing", remedy);
    }
    let mut labels = HashSet::new();
    let presets = root.sections("presets", |section| preset(section, &mut labels));
    if presets.len() > PRESETS_MAX {
        let problem = format!("has {} entries", presets.len());
        root.error("presets", problem, "keep the 24 that are used most often");
    }
    root.finish();
    presets.into_iter().flatten().collect()
}

fn preset(section: &mut SectionReader<'_>, labels: &mut HashSet<String>) -> Option<Preset> {
    for key in ["label", "text"] {
        if !section.has(key) {
            section.error(key, "is missing", "give each preset a label and a text");
        }
    }
    let remedy = "write one line of at most 40 characters that no other preset has";
    let label = section.parsed("label", remedy, |text| label(text, labels));
    let remedy = "write at most 2,000 visible characters; line breaks are allowed";
    let text = section.parsed("text", remedy, |text| checked(text, TEXT_MAX_CHARS));
    Some(Preset {
        label: label?,
        text: text?,
    })
}

fn label(text: &str, labels: &mut HashSet<String>) -> Result<String, String> {
    let label = checked(text, LABEL_MAX_CHARS)?;
    if label.contains(['\n', '\t']) {
        return Err(format!("{label:?} is more than one line"));
    }
    // The page capitalises every label, so they must differ in more than case.
    if !labels.insert(label.to_lowercase()) {
        return Err(format!("{label:?} is used twice"));
    }
    Ok(label)
}

/// The trimmed text, if it has at most `max_chars` characters and all of them are visible.
fn checked(text: &str, max_chars: usize) -> Result<String, String> {
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    let length = text.chars().count();
    if length > max_chars {
        return Err(format!("has {length} characters"));
    }
    let shown = visible(text);
    if shown != text {
        return Err(format!("contains an invisible character: {shown:?}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(source: &str) -> (Vec<Preset>, Vec<String>) {
        let mut problems = Problems::default();
        let presets = read(Path::new("/etc/x.toml"), source, &mut problems);
        let errors = problems.errors.iter().map(ToString::to_string).collect();
        (presets, errors)
    }

    fn entry(label: &str, text: &str) -> String {
        format!("[[presets]]\nlabel = \"{label}\"\ntext = \"{text}\"\n")
    }

    #[test]
    fn built_in_presets_are_complete_and_mention_the_runbooks() {
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
    fn texts_of_maximum_length_are_accepted_in_every_script() {
        let whole: String = (0..PRESETS_MAX)
            .map(|n| entry(&format!("{n:ж>40}"), &"ж".repeat(TEXT_MAX_CHARS)))
            .collect();
        let (presets, errors) = load(&whole);
        assert_eq!((presets.len(), errors), (PRESETS_MAX, Vec::new()));
        assert!((whole.len() as u64) < FILE_MAX_BYTES);
    }

    #[test]
    fn surrounding_whitespace_is_removed_from_texts() {
        let source = "[[presets]]\r\nlabel = \" a \"\r\ntext = \"\"\"\r\none\r\ntwo\r\n\"\"\"\r\n";
        let (presets, errors) = load(source);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!((&*presets[0].label, &*presets[0].text), ("a", "one\ntwo"));
    }

    #[test]
    fn empty_list_means_no_presets() {
        assert_eq!(load("presets = []\n"), (Vec::new(), Vec::new()));
    }

    #[test]
    fn errors_name_file_line_entry_and_remedy() {
        let good = entry("a", "b");
        let many: String = (0..=PRESETS_MAX)
            .map(|n| entry(&n.to_string(), "b"))
            .collect();
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
                "/etc/x.toml:5: presets[1].label: \"A\" is used twice",
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
                "presets[0].text: contains an invisible character: \"b␛[2J\"",
            ),
            (
                &entry("a\\u202e", "b"),
                "presets[0].label: contains an invisible character: \"a<U+202E>\"",
            ),
        ];
        for (source, expected) in rows {
            let (_, errors) = load(source);
            assert!(
                errors.iter().any(|it| it.contains(expected)),
                "{expected}: {errors:?}"
            );
        }
    }
}
