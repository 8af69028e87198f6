//! Runs the bridge to an agent that speaks ACP; see [`breakglass_acp`].

use breakglass_acp::Arguments;

use super::{Exit, Failure};

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match breakglass_acp::run(arguments) {
        Ok(_) => Ok(Exit::Done),
        Err(message) => Err(Failure::new(Exit::Failed, message)),
    }
}
