//! Everything that belongs to one target: its connections, its vital signs, its watchers' wake-up calls.

use std::sync::Arc;
use std::time::Duration;

use breakglass_model::Side;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ssh::pool::{ConnectionPool, OPERATOR_POOL};
use crate::ssh::upstream::Upstream;
use crate::ssh::{HostKeys, SshOptions};
use crate::target::Target;
use crate::vitals::VitalsState;

/// One target with everything that belongs to it.
pub(crate) struct TargetHandle {
    pub(crate) config: Target,
    pub(crate) guest: ConnectionPool,
    pub(crate) host: ConnectionPool,
    /// Locked while an operation finds or opens its incident, and while an incident is closed.
    pub(crate) placement: tokio::sync::Mutex<()>,
    /// The agent's own connections to the guest.
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) vitals: VitalsState,
    guest_watcher: Notify,
    host_watcher: Notify,
    /// When a mutating verb last ended.
    last_change: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for TargetHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetHandle")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl TargetHandle {
    pub(crate) fn new(
        config: Target,
        ssh: &Arc<SshOptions>,
        host_keys: &Arc<HostKeys>,
    ) -> TargetHandle {
        let pool = |side| {
            let endpoint = config.endpoint(side).clone();
            ConnectionPool::new(
                endpoint,
                Arc::clone(ssh),
                Arc::clone(host_keys),
                OPERATOR_POOL,
            )
        };
        let upstream = Upstream::new(config.guest.clone(), Arc::clone(ssh), Arc::clone(host_keys));
        TargetHandle {
            guest: pool(Side::Guest),
            host: pool(Side::Host),
            placement: tokio::sync::Mutex::default(),
            upstream: Arc::new(upstream),
            vitals: VitalsState::new(&config.name),
            guest_watcher: Notify::new(),
            host_watcher: Notify::new(),
            last_change: Mutex::default(),
            config,
        }
    }

    /// A handle for tests of pure code; nothing is dialled.
    #[cfg(test)]
    pub(crate) fn unconnected(name: &str) -> Arc<TargetHandle> {
        let endpoint = crate::target::Endpoint {
            host: "192.0.2.1".into(),
            port: 22,
            user: "root".into(),
        };
        let key = Arc::new(crate::ssh::generate_key().unwrap());
        let ssh = Arc::new(SshOptions::new(key, "/nonexistent"));
        let config = Target::new(name, endpoint.clone(), endpoint);
        let host_keys = ssh.host_keys();
        Arc::new(TargetHandle::new(config, &ssh, &host_keys))
    }

    /// Wakes the watcher of one side; see [`TargetHandle::wake`].
    pub(crate) fn watcher(&self, side: Side) -> &Notify {
        match side {
            Side::Guest => &self.guest_watcher,
            Side::Host => &self.host_watcher,
        }
    }

    /// Makes both watchers probe now.
    pub(crate) fn wake(&self) {
        self.guest_watcher.notify_one();
        self.host_watcher.notify_one();
    }

    /// A mutating verb has ended.
    pub(crate) fn record_change(&self) {
        *self.last_change.lock() = Some(Instant::now());
    }

    /// Time since a mutating verb last ended.
    pub(crate) fn since_change(&self) -> Option<Duration> {
        self.last_change.lock().map(|at| at.elapsed())
    }
}
