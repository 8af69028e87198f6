use std::fmt;
use std::path::PathBuf;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file, on a line counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// In an environment variable, by name.
    Variable(String),
    /// Nowhere: it is missing, and this is where it belongs.
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

/// One thing that is wrong with the configuration, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key}: {problem}; {remedy}")]
pub struct ConfigError {
    /// The file and line, or the variable.
    pub origin: Origin,
    /// The key, dotted: `auth.token_file`, `targets[0].name`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// One thing that works and will bite later; the same shape as an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub ConfigError);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything found so far; loading goes on after an error so that all come at once.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<Warning>,
    /// Files with a secret in them: where each was named, its key and its path.
    pub secrets: Vec<(Origin, String, PathBuf)>,
    /// The folder of runbooks, likewise.
    pub library: Option<(Origin, String, PathBuf)>,
    /// Whether the private key may be missing, since it is about to be made.
    pub before_the_key: bool,
}

impl Report {
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
