use std::sync::Arc;

use breakglass_journal::OutputStream;
use breakglass_verbs::Verb;

use super::conduct::{Conclusion, conduct};
use crate::ssh::SshOptions;
use crate::ssh::pool::{Link, Urgency};
use crate::target::Target;

/// Runs `verb` on `target` over a connection of its own: no server, no log. Each line of the
/// gate goes to `on_line` as it comes.
pub async fn direct(
    target: &Target,
    ssh: &SshOptions,
    verb: Verb,
    mut on_line: impl FnMut(OutputStream, &str) + Send,
) -> Conclusion {
    let link = Link::new(target.host.clone(), Arc::new(ssh.clone()), ssh.pins());
    conduct(&link, verb, Urgency::Now, &mut on_line).await
}
