//! Small read-only diagnoses of the guest that need no model.

use std::fmt;

/// One diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// How full the file systems are.
    Disk,
    /// How much memory is left.
    Memory,
    /// Which units have failed.
    Services,
    /// What the kernel complains about.
    Kernel,
    /// How busy the processors are.
    Load,
}

impl Check {
    /// Every check, in the order in which the page lists them.
    pub const ALL: [Check; 5] = [
        Check::Disk,
        Check::Memory,
        Check::Services,
        Check::Kernel,
        Check::Load,
    ];

    /// The check whose name is exactly `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Check> {
        Check::ALL.into_iter().find(|check| check.as_str() == word)
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Check::Disk => "disk",
            Check::Memory => "memory",
            Check::Services => "services",
            Check::Kernel => "kernel",
            Check::Load => "load",
        }
    }

    /// What it looks at, for the person about to press it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Check::Disk => "How full the guest's file systems are.",
            Check::Memory => "How much memory the guest has left, and whether it waits for more.",
            Check::Services => "Which of the guest's services have failed.",
            Check::Kernel => "Out of memory, hung tasks and I/O errors in the guest's kernel log.",
            Check::Load => "How busy the guest's processors are.",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
