use breakglass_model::OutputStream;
use breakglass_verbs::Verb;

use crate::invoke::{VerbResult, invoke};
use crate::ssh::SshOptions;
use crate::ssh::pool::ConnectionPool;
use crate::ssh::warm::Priority;
use crate::target::Target;

/// Runs `verb` on `target` over a connection of its own, without any server or log. Passes each line of the
/// gate's output to `on_line` as it arrives.
pub async fn direct(
    target: &Target,
    ssh: &SshOptions,
    verb: Verb,
    mut on_line: impl FnMut(OutputStream, &str) + Send,
) -> VerbResult {
    let pool = ConnectionPool::standalone(target.host.clone(), ssh.clone());
    invoke(&pool, verb, Priority::Interactive, &mut on_line).await
}
