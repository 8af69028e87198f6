//! Stands between the server and an agent that speaks ACP; see [`breakglass_acp`].

use breakglass_acp::Arguments;

use super::{Exit, Failure};

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let carried = breakglass_acp::run(arguments);
    carried.map_err(|why| Failure::new(Exit::Failed, why))?;
    Ok(Exit::Done)
}
