use std::time::Duration;

use breakglass_model::OutputStream;

use super::exec::RemoteCommand;
use super::pool::ConnectionPool;
use super::warm::Priority;
use super::{SshError, SshOptions};
use crate::target::Endpoint;

/// One endpoint and its warm connection, on their own: for measurements and tests of the client.
pub struct Session(ConnectionPool);

impl Session {
    /// Dials nothing yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, options: SshOptions) -> Session {
        Session(ConnectionPool::standalone(endpoint, options))
    }

    /// Runs a fixed command to its end and returns its exit code, if it had one. `on_line` must not wait.
    ///
    /// # Errors
    /// When the endpoint can't be reached, or the command did not end within `timeout`.
    pub async fn run(
        &self,
        command: &'static str,
        timeout: Duration,
        mut on_line: impl FnMut(OutputStream, &str) + Send,
    ) -> Result<Option<u32>, SshError> {
        let command = RemoteCommand {
            command,
            timeout,
            priority: Priority::Interactive,
        };
        self.0.exec(command, &mut on_line).await
    }
}
