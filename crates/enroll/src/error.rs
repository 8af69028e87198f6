//! Why enrolling stopped; what was done before stays, and the same command goes on from there.

/// A sentence each: what happened, to what, what to do next.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// What was asked for can't be.
    #[error("{0}")]
    Usage(String),
    /// A machine did not let the operator do it, or is set up for something else.
    #[error("{0}")]
    Refused(String),
    /// A machine was not reached.
    #[error("{0}")]
    Unreachable(String),
    /// A step failed.
    #[error("{0}")]
    Failed(String),
}

pub(crate) type Result<T> = std::result::Result<T, EnrollError>;

/// A file here that could not be read, made or moved.
pub(crate) fn file(path: &std::path::Path, what: &str) -> impl Fn(std::io::Error) -> EnrollError {
    let told = format!("{} can't be {what}", path.display());
    move |error| EnrollError::Failed(format!("{told}: {error}; mend that, then enroll again"))
}
