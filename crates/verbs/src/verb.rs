//! The closed table of verbs: the only words that the gate accepts, and what each of them changes.

use std::fmt;

/// One word that the gate accepts, for the only guest that its policy file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Reports the guest's run state and verdict. Changes nothing.
    Status,
    /// Captures the evidence that a mutating verb would destroy. Changes nothing.
    Forensics,
    /// Samples the vital signs of guest and host as JSON. Changes nothing.
    Vitals,
    /// Returns the guest's screen as PNG. Changes nothing.
    Screenshot,
    /// Starts a stopped guest.
    Start,
    /// Ends the guest's QEMU process.
    Stop,
    /// Warm reset: the QEMU process stays, so staged config does not apply.
    Reset,
    /// Full stop and start: a fresh QEMU process, so staged config applies.
    Cycle,
}

/// Name, whether the verb changes the guest, and description.
type Row = (&'static str, bool, &'static str);

impl Verb {
    /// Every verb, in the order in which refusals and help list them.
    pub const ALL: [Verb; 8] = [
        Verb::Status,
        Verb::Forensics,
        Verb::Vitals,
        Verb::Screenshot,
        Verb::Start,
        Verb::Stop,
        Verb::Reset,
        Verb::Cycle,
    ];

    /// The verb whose name is exactly `word`: no trimming, no case folding, no prefix.
    #[must_use]
    pub fn parse(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    #[rustfmt::skip] // One row each.
    const fn row(self) -> Row {
        match self {
            Verb::Status => ("status", false, "Reports the guest's run state. Changes nothing."),
            Verb::Forensics => ("forensics", false, "Captures the evidence on the host. Changes nothing."),
            Verb::Vitals => ("vitals", false, "Samples the vital signs of guest and host. Changes nothing."),
            Verb::Screenshot => ("screenshot", false, "Shows the guest's screen. Changes nothing."),
            Verb::Start => ("start", true, "Starts the guest. Nothing is lost."),
            Verb::Stop => ("stop", true, "Ends the guest's QEMU process. Unsaved work in the guest is lost, and it stays off."),
            Verb::Reset => ("reset", true, "Warm reset, like the reset button. Unsaved work is lost; the QEMU process stays, so \
                staged config does not apply and an I/O stall in QEMU is not cured."),
            Verb::Cycle => ("cycle", true, "Full stop and start: a fresh QEMU process. Unsaved work is lost; staged config \
                applies; cures an I/O stall."),
        }
    }

    /// The verb's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Whether the verb changes the guest. Mutating verbs run one at a time per target, always
    /// after forensics.
    #[must_use]
    pub const fn is_mutating(self) -> bool {
        self.row().1
    }

    /// What the verb does and what it destroys, for the operator who is about to send it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        self.row().2
    }

    /// All verbs as one comma-separated line, for refusals.
    #[must_use]
    pub fn allowed() -> String {
        Verb::ALL.map(Verb::as_str).join(", ")
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A complete line that the gate accepts: a verb, optionally followed by ` --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// The verb to carry out.
    pub verb: Verb,
    /// Whether the last line is a JSON object instead of the plain verdict.
    pub json: bool,
}

impl Request {
    /// The request whose wire form is exactly `line`. Only the sixteen entries of the table parse.
    #[must_use]
    pub fn parse(line: &str) -> Option<Request> {
        let (word, json) = match line.strip_suffix(" --json") {
            Some(word) => (word, true),
            None => (line, false),
        };
        Verb::parse(word).map(|verb| Request { verb, json })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.verb, if self.json { " --json" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_entry_parses_to_itself() {
        for verb in Verb::ALL {
            for json in [false, true] {
                let request = Request { verb, json };
                assert_eq!(Request::parse(&request.to_string()), Some(request));
            }
        }
    }

    #[test]
    fn no_other_string_of_up_to_three_bytes_parses() {
        let alphabet: Vec<u8> = (0..=127).collect();
        for &a in &alphabet {
            for &b in &alphabet {
                for &c in &alphabet {
                    for len in 0..=3 {
                        let line = String::from_utf8(vec![a, b, c][..len].to_vec()).unwrap();
                        assert_eq!(Request::parse(&line), None, "{line:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn verb_with_anything_before_or_after_it_does_not_parse() {
        let extras = [
            " ",
            "\n",
            "\t",
            "\0",
            ";",
            "&",
            "|",
            "$",
            "`",
            "-",
            "--json",
            " --json --json",
            " --JSON",
            "  --json",
            " 102",
            " 103",
            "\r",
            "\u{a0}",
            "é",
            "s",
            "S",
        ];
        for verb in Verb::ALL {
            for extra in extras {
                assert_eq!(
                    Request::parse(&format!("{verb}{extra}")),
                    None,
                    "{verb}{extra:?}"
                );
                assert_eq!(
                    Request::parse(&format!("{extra}{verb}")),
                    None,
                    "{extra:?}{verb}"
                );
            }
            assert_eq!(Request::parse(&verb.as_str().to_uppercase()), None);
        }
    }
}
