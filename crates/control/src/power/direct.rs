use std::sync::Arc;

use breakglass_model::OutputStream;
use breakglass_verbs::Verb;

use super::conduct::{Conclusion, conduct};
use crate::ssh::SshOptions;
use crate::ssh::lanes::{Lanes, PEOPLE};
use crate::ssh::pool::Urgency;
use crate::target::Target;

/// Runs `verb` on `target` over a connection of its own: no server, no log. Each line of the
/// gate goes to `on_line` as it comes.
pub async fn direct(
    target: &Target,
    ssh: &SshOptions,
    verb: Verb,
    mut on_line: impl FnMut(OutputStream, &str) + Send,
) -> Conclusion {
    let ssh = Arc::new(ssh.clone());
    let pins = ssh.pins();
    let lanes = Lanes::new(target.host.clone(), ssh, pins, PEOPLE);
    conduct(&lanes, verb, Urgency::Now, &mut on_line).await
}
