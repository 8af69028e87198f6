//! The agent's report: what it found, what it did, how the machine is now.

use super::tool::Ran;

/// The findings and actions so far, for the report and for later questions.
#[derive(Debug, Default)]
pub(super) struct Report {
    found: Vec<String>,
    done: Vec<String>,
    now: Vec<String>,
}

impl Report {
    pub(super) fn found(&mut self, finding: impl Into<String>) {
        self.found.push(finding.into());
    }

    pub(super) fn done(&mut self, action: impl Into<String>) {
        self.done.push(action.into());
    }

    pub(super) fn now(&mut self, state: impl Into<String>) {
        self.now.push(state.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.done.is_empty()
    }

    /// Adds the outcome of a change, which `did` names in the past tense. Returns whether the change
    /// was tried, so that its result is worth a check.
    pub(super) fn change(&mut self, did: &str, ran: &Ran) -> bool {
        if let Some(reason) = ran.refusal() {
            self.done(format!("nothing. Not {did}: {reason}"));
            self.now("**not repaired**: say what I may do instead, or ask me again and allow it");
            return false;
        }
        self.done(match ran.code {
            Some(0) => did.to_owned(),
            Some(_) => format!("{did}; **not all of it worked**, see the output"),
            None => format!(
                "tried, and not known to be {did}: the command was ended before its end, perhaps while \
                 its question waited"
            ),
        });
        true
    }

    /// The report as Markdown.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (title, lines) in [
            ("Found", &self.found),
            ("Done", &self.done),
            ("Now", &self.now),
        ] {
            if !lines.is_empty() {
                text.push_str(&format!("**{title}**\n- {}\n\n", lines.join("\n- ")));
            }
        }
        if text.is_empty() {
            return "Nothing to report.".to_owned();
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: Option<i32>, stderr: &str) -> Ran {
        Ran {
            stderr: stderr.to_owned(),
            code,
            ..Ran::default()
        }
    }

    #[test]
    fn a_denied_or_unfinished_change_is_never_reported_as_done() {
        let text = |ran: &Ran| {
            let mut report = Report::default();
            report.change("emptied `/x`", ran);
            report.text()
        };
        assert_eq!(text(&ran(Some(0), "")), "**Done**\n- emptied `/x`");
        let denied = text(&ran(
            Some(126),
            "breakglass: the operator denied it: keep it",
        ));
        assert!(
            denied.contains("nothing. Not emptied `/x`: the operator denied it: keep it"),
            "{denied}"
        );
        assert!(denied.contains("**not repaired**"), "{denied}");
        let ended = text(&ran(None, ""));
        assert!(ended.contains("not known to be emptied `/x`"), "{ended}");
    }
}
