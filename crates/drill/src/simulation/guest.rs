//! The guest's SSH service: commands run in the simulated shell; there is no terminal.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::ChannelWriter;
use super::client::Service;
use crate::machine::{Machine, Network};
use crate::shell::Shell;

/// Maximum bytes that one command may send.
const SENT_MAX_BYTES: usize = 4 << 20;
/// The name of the script with which the bastion ends processes that a command left behind.
const END_SCRIPT_NAME: &str = "breakglass-end";
/// The script's answer: a simulated command ends with its channel, so no process is left.
const END_SCRIPT_ANSWER: &str = "echo ended 0; echo left 0";
const NO_TERMINAL: &str = "the drill's guest runs commands only: ssh HOST COMMAND\r\n";

/// One client of the guest.
pub(super) struct Guest {
    pub(super) machine: Machine,
    pub(super) user: String,
    pub(super) tasks: TaskTracker,
}

impl Service for Guest {
    const ENDS_ON_SIGNAL: bool = true;

    fn log_in(&mut self, user: &str) {
        user.clone_into(&mut self.user);
    }

    fn run(&self, command: Option<&[u8]>, mut output: ChannelWriter, session: CancellationToken) {
        let Some(command) = command else {
            self.tasks.spawn(async move {
                output.err(NO_TERMINAL.to_owned()).await;
                output.finish(1).await;
            });
            return;
        };
        let mut script = String::from_utf8_lossy(command);
        if script.contains(END_SCRIPT_NAME) {
            script = END_SCRIPT_ANSWER.into();
        }
        let machine = self.machine.clone();
        let shell = Shell::new(machine.clone(), &self.user, &script);
        self.tasks.spawn(async move {
            let running = run(shell, &machine, output);
            session.run_until_cancelled(running).await;
        });
    }
}

async fn run(mut shell: Shell, machine: &Machine, mut output: ChannelWriter) {
    if machine.network().0 != Network::Up {
        // The machine hangs, and so does the command until its connection ends.
        return std::future::pending().await;
    }
    let mut sent = 0;
    while let Some(reply) = shell.step() {
        sent += reply.out.len() + reply.err.len();
        output.err(reply.err).await;
        output.out(reply.out.into_bytes()).await;
        tokio::time::sleep(reply.duration).await;
        if sent > SENT_MAX_BYTES {
            let message = "sh: the drill's guest sends no more output than that\n";
            output.err(message.to_owned()).await;
            break;
        }
    }
    output.finish(shell.status()).await;
}
