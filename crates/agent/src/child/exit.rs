use std::process::ExitStatus;

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Its status, if it was available in time.
    pub(crate) status: Option<ExitStatus>,
    /// The last lines of its standard error.
    pub(crate) last_words: String,
    /// Why the status is not known, if there is a reason besides a timeout; part of a sentence.
    pub(crate) unknown_because: Option<String>,
}

impl Exit {
    pub(crate) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The status, or `otherwise` if nothing is known.
    pub(crate) fn status_text(&self, otherwise: &str) -> String {
        match (&self.unknown_because, self.status) {
            (Some(reason), _) => reason.clone(),
            (None, Some(status)) => status.to_string(),
            (None, None) => otherwise.to_owned(),
        }
    }

    /// The status and the last lines of standard error; `otherwise` if no status is known.
    pub(crate) fn describe(&self, otherwise: &str) -> String {
        let status = self.status_text(otherwise);
        match self.last_words.as_str() {
            "" => status,
            words => format!("{status}; its last words: {words}"),
        }
    }
}
