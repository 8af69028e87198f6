use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use ts_rs::TS;

/// A read-only diagnosis of the guest that needs no model.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[ts(export)]
pub enum Diagnosis {
    /// How full the file systems are.
    Disk,
    /// How much memory is left.
    Memory,
    /// Which units have failed.
    Services,
    /// Errors in the kernel's log.
    Kernel,
    /// How busy the processors are.
    Load,
}

impl Diagnosis {
    /// All of them, in the order in which the page lists them.
    pub const ALL: &[Diagnosis] = Diagnosis::VARIANTS;

    /// The diagnosis whose name is exactly `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Diagnosis> {
        word.parse().ok()
    }

    /// Its name in configuration, interface and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// What it reads, for the person about to run it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Diagnosis::Disk => "How full the guest's file systems are.",
            Diagnosis::Memory => {
                "How much memory the guest has left, and whether its tasks wait for more."
            }
            Diagnosis::Services => "Which of the guest's services have failed.",
            Diagnosis::Kernel => {
                "Out of memory, hung tasks and I/O errors in the guest's kernel log."
            }
            Diagnosis::Load => "How busy the guest's processors are.",
        }
    }
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
