//! The server's side of a running sandbox: takes the connections that are made inside, and has what is
//! left inside ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Connected;
use super::handover::{Outside, Packet};

/// How long a sweep inside may take; many processes that fork all the while are ended with the sandbox.
const SWEEP_LIMIT: Duration = Duration::from_secs(3);

/// A running sandbox. Its connections are taken for as long as this is held.
#[derive(Debug)]
pub(crate) struct Inside {
    outside: Arc<Outside>,
    swept: watch::Receiver<u64>,
    _taking: JoinSet<()>,
}

impl Inside {
    /// Takes each connection that is made inside, and gives it to `connected`.
    pub(crate) fn watch(outside: Outside, connected: Connected) -> Inside {
        let outside = Arc::new(outside);
        let (count, swept) = watch::channel(0);
        let mut taking = JoinSet::new();
        let packets = Arc::clone(&outside);
        taking.spawn(async move {
            while let Ok(Some(packet)) = packets.next().await {
                match packet {
                    Packet::Connection(way, stream) => connected(way, stream),
                    Packet::Swept => count.send_modify(|count| *count += 1),
                }
            }
        });
        Inside {
            outside,
            swept,
            _taking: taking,
        }
    }

    /// Has everything inside ended but the CLI; returns when that is done, or takes too long.
    pub(crate) async fn sweep(&self) {
        let mut swept = self.swept.clone();
        let before = *swept.borrow_and_update();
        let sweeping = async {
            if self.outside.sweep().await.is_ok() {
                let _ = swept.wait_for(|count| *count > before).await;
            }
        };
        if timeout(SWEEP_LIMIT, sweeping).await.is_err() {
            tracing::warn!("what the agent left running in its sandbox could not be ended in time");
        }
    }
}
