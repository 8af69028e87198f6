use std::sync::Arc;
use std::time::Duration;

use breakglass_model::OutputStream;

use super::exec::{Exit, Order};
use super::lanes::{Lanes, PEOPLE};
use super::pool::Urgency;
use super::{SshError, SshOptions};
use crate::target::Endpoint;

/// One endpoint and its warm connection, on their own: for measurements and tests of the client.
pub struct Session {
    lanes: Lanes,
}

impl Session {
    /// Dials nothing yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, options: SshOptions) -> Session {
        let pins = options.pins();
        Session {
            lanes: Lanes::new(endpoint, Arc::new(options), pins, PEOPLE),
        }
    }

    /// Runs a fixed command to its end, at most `limit`, and gives its exit code, if it had one.
    /// `on_line` must not wait.
    ///
    /// # Errors
    /// When the endpoint can't be reached, or the command did not end in time.
    pub async fn run(
        &self,
        command: &'static str,
        limit: Duration,
        mut on_line: impl FnMut(OutputStream, &str) + Send,
    ) -> Result<Option<u32>, SshError> {
        let order = Order {
            command,
            deadline: limit,
            urgency: Urgency::Now,
        };
        match self.lanes.exec(order, &mut on_line).await? {
            Exit::Code(code) => Ok(Some(code)),
            Exit::Abnormal => Ok(None),
        }
    }
}
