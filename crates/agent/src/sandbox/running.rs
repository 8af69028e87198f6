use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::handover::{Outside, Packet};
use super::options::Connected;

/// Maximum duration of a sweep; processes that keep forking end with the sandbox.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(3);

/// The server's side of a running sandbox. Receives its connections until it is dropped.
#[derive(Debug)]
pub(crate) struct RunningSandbox {
    outside: Arc<Outside>,
    sweeps: watch::Receiver<u64>,
    _receiver: JoinSet<()>,
}

impl RunningSandbox {
    /// Passes each connection that is made inside to `connected`.
    pub(crate) fn serve(outside: Outside, connected: Connected) -> RunningSandbox {
        let outside = Arc::new(outside);
        let (count, sweeps) = watch::channel(0);
        let packets = Arc::clone(&outside);
        let mut receiver = JoinSet::new();
        receiver.spawn(async move {
            while let Ok(Some(packet)) = packets.next().await {
                match packet {
                    Packet::Connection(destination, stream) => connected(destination, stream),
                    Packet::Swept => count.send_modify(|count| *count += 1),
                }
            }
        });
        RunningSandbox {
            outside,
            sweeps,
            _receiver: receiver,
        }
    }

    /// Kills everything inside but the CLI. Returns when that is done, or after [`SWEEP_TIMEOUT`].
    pub(crate) async fn sweep(&self) {
        let mut sweeps = self.sweeps.clone();
        let before = *sweeps.borrow_and_update();
        let sweeping = async {
            if self.outside.order_sweep().await.is_ok() {
                let _ = sweeps.wait_for(|count| *count > before).await;
            }
        };
        if timeout(SWEEP_TIMEOUT, sweeping).await.is_err() {
            tracing::warn!("leftover processes in the agent's sandbox were not killed in time");
        }
    }
}
