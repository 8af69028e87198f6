//! Errors and warnings of the configuration, each with its origin, its key and its remedy.

use std::fmt;
use std::path::PathBuf;

/// The place in which a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
    },
    /// The name of an environment variable.
    Variable(String),
    /// No place: the key is missing. Contains the configuration file, if there is one.
    Missing(Option<PathBuf>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Missing(Some(path)) => write!(f, "{}", path.display()),
            Origin::Missing(None) => f.write_str("environment"),
        }
    }
}

/// One problem of the configuration, with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key}: {problem}; {remedy}")]
pub struct ConfigError {
    /// The file and line, or the variable.
    pub origin: Origin,
    /// The key, dotted: `auth.token_file`, `targets[0].name`.
    pub key: String,
    /// The problem, as the end of a sentence about the key.
    pub problem: String,
    /// The remedy, in the imperative.
    pub remedy: String,
}

/// A problem that does not prevent the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub ConfigError);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The problems found so far. Loading continues after an error, so that all are reported together.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<Warning>,
    /// Files that contain a secret: the origin of the setting, its key, and the file's path.
    pub secrets: Vec<(Origin, String, PathBuf)>,
    /// The folder of runbooks, in the same form.
    pub library: Option<(Origin, String, PathBuf)>,
    /// Whether the private key may be missing, because enrolment will create it.
    pub key_file_may_be_missing: bool,
}

impl Problems {
    pub(crate) fn error(
        &mut self,
        origin: &Origin,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors.push(ConfigError {
            origin: origin.clone(),
            key: key.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    pub(crate) fn warn(
        &mut self,
        origin: &Origin,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.warnings.push(Warning(ConfigError {
            origin: origin.clone(),
            key: key.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }));
    }
}
