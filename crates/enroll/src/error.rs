//! Errors of enrolment. Finished changes stay; the same command continues from there.

/// Each error is one sentence: what happened, to what, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The request is invalid.
    #[error("{0}")]
    Usage(String),
    /// A machine refused the operator, or has another setup.
    #[error("{0}")]
    Refused(String),
    /// A machine is unreachable.
    #[error("{0}")]
    Unreachable(String),
    /// A step failed.
    #[error("{0}")]
    Failed(String),
}

pub(crate) type Result<T> = std::result::Result<T, EnrollError>;

/// The error for a local file; `action` is a participle, as in "read".
pub(crate) fn file(path: &std::path::Path, action: &str) -> impl Fn(std::io::Error) -> EnrollError {
    let problem = format!("{} cannot be {action}", path.display());
    move |error| EnrollError::Failed(format!("{problem}: {error}; fix that, then enroll again"))
}
