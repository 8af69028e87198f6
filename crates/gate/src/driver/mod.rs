//! What the gate needs of a hypervisor: evidence, forensics and three changes.

pub(crate) mod evidence;
pub(crate) mod proc;
pub(crate) mod qm;
pub(crate) mod qmp;

use breakglass_verbs::Verb;

pub use evidence::{Evidence, Monitor, Process, Qemu};

use crate::output::Output;
use crate::probe::Probe;

/// One guest on one hypervisor. Every call returns within its own deadline, whatever hangs.
///
/// A driver only acts and looks. What the evidence means, what comes next in a cycle and what is
/// told to the operator is decided by the gate, the same for every driver.
pub trait Driver: Send {
    /// Claims the guest for a mutating verb until the driver is dropped.
    ///
    /// # Errors
    /// A sentence that says who holds it and since when. The default claims nothing.
    fn claim(&mut self, _verb: Verb) -> Result<(), String> {
        Ok(())
    }

    /// Everything that can be seen of the guest now.
    fn evidence(&mut self) -> Evidence;

    /// Process and monitor only: what is asked again and again while waiting for a change.
    fn glance(&mut self) -> Evidence {
        self.evidence()
    }

    /// Captures what a mutating verb would destroy, and hands over each probe as soon as it ended,
    /// also those that got nothing (with the reason).
    fn probes(&mut self, sink: &mut dyn FnMut(Probe));

    /// Starts the guest; tells what it does on `out`.
    ///
    /// # Errors
    /// When the hypervisor's tool failed or ran out of time. That is a hint, not the verdict.
    fn start(&mut self, out: &mut dyn Output) -> Result<(), Failure>;

    /// Ends the guest's QEMU process; tells what it does on `out`. Success on a stopped guest.
    ///
    /// # Errors
    /// As [`Driver::start`].
    fn stop(&mut self, out: &mut dyn Output) -> Result<(), Failure>;

    /// Warm reset within the same QEMU process; tells what it does on `out`.
    ///
    /// # Errors
    /// As [`Driver::start`].
    fn reset(&mut self, out: &mut dyn Output) -> Result<(), Failure>;
}

/// Why a change did not go through, by the word of the tool that was asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// What happened, as a sentence for the operator.
    pub message: String,
    /// Whether the same command is known to work when it is given once more.
    pub passing: bool,
    /// The lock that forbade it, by name (`backup`), where it was one.
    pub lock: Option<String>,
}

impl Failure {
    /// A failure that neither passes by itself nor is due to a lock.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            passing: false,
            lock: None,
        }
    }
}
