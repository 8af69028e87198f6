use serde::{Deserialize, Serialize};

/// The names by which the agent reaches the two machines of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetNames {
    /// The guest, as in `ssh GUEST …`; also the target's name in the log. Letters, digits, `-`.
    pub guest: String,
    /// The host, as in `ssh HOST VERB`.
    pub host: String,
}
