//! The guest's SSH server: commands run in the machine's shell; there is no terminal.

use russh::server::Session;
use russh::{ChannelId, Sig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Service;
use super::connection::Sender;
use crate::machine::{Machine, Network};
use crate::shell::Shell;

/// Bytes that one command may send; a runaway is ended there.
const MAX_SENT: usize = 4 << 20;
/// The name under which breakglass looks for processes that a command left behind.
const SEARCH: &str = "breakglass-end";
const NO_TERMINAL: &str = "this drill's guest runs commands only: ssh HOST COMMAND\r\n";

/// One client of the guest.
pub(super) struct Guest {
    pub(super) machine: Machine,
    pub(super) user: String,
    pub(super) tasks: TaskTracker,
}

async fn run(mut shell: Shell, machine: &Machine, mut sender: Sender) {
    if machine.network().0 != Network::Up {
        // The machine hangs and the command with it. The connection's end ends the wait.
        return std::future::pending().await;
    }
    let mut sent = 0;
    while let Some(reply) = shell.step() {
        sent += reply.out.len() + reply.err.len();
        sender.err(reply.err).await;
        sender.out(reply.out.into_bytes()).await;
        tokio::time::sleep(reply.takes).await;
        if sent > MAX_SENT {
            sender
                .err("sh: this drill's guest sends no more than that\n".to_owned())
                .await;
            break;
        }
    }
    sender.finish(shell.status()).await;
}

impl Service for Guest {
    fn user(&mut self, name: &str) {
        name.clone_into(&mut self.user);
    }

    fn exec(&self, id: ChannelId, command: &[u8], token: CancellationToken, session: &Session) {
        let script = String::from_utf8_lossy(command);
        // Whoever looks for what a command left behind finds nothing: a command of this machine ends
        // with its channel, and its shell has no /proc to look into.
        let script = if script.contains(SEARCH) {
            "echo ended 0; echo left 0".into()
        } else {
            script
        };
        let shell = Shell::new(self.machine.clone(), &self.user, &script);
        let (machine, sender) = (self.machine.clone(), Sender::new(session.handle(), id));
        self.tasks.spawn(async move {
            token
                .run_until_cancelled(run(shell, &machine, sender))
                .await;
        });
    }

    fn shell(&self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.extended_data(id, 1, NO_TERMINAL)?;
        session.exit_status_request(id, 1)?;
        session.eof(id)?;
        session.close(id)
    }

    fn signal(
        &self,
        id: ChannelId,
        signal: Sig,
        token: &CancellationToken,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        token.cancel();
        session.exit_signal_request(id, signal, false, "", "")?;
        session.close(id)
    }
}
