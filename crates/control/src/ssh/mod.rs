//! The SSH client: warm, shared connections to guests and hosts.
//!
//! ```text
//! exec ── pool (connections to one endpoint) ── warm (one connection, re-dialled) ── dial ── host_keys
//!   └── channel (reads the output)
//! upstream ── a pool for the agent's commands alone
//! probe ── dial: a connection of its own
//! penalty: how many logins may fail before an sshd shuts this machine out
//! ```
//! The client library stalls a whole connection while one of its channels is not read. So `exec` never hands
//! out its channels: it always reads them, and its sinks never wait.

pub mod channel;
mod dial;
mod dial_metrics;
pub(crate) mod error;
pub(crate) mod exec;
mod framed;
mod host_keys;
mod key;
mod penalty;
pub(crate) mod pool;
mod probe;
mod session;
pub(crate) mod upstream;
pub(crate) mod warm;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use dial_metrics::DialMetrics;
pub use error::SshError;
pub use framed::{Framed, Script};
pub(crate) use host_keys::HostKeys;
pub use host_keys::{HostKeyPolicy, known_hosts_name};
pub use key::{KeyError, generate_key, key_warning, load_key, write_key};
pub use pool::OpenSession;
pub use probe::{CommandOutput, Probe};
pub use russh::keys::{PrivateKey, PublicKey};
pub use session::Session;
pub use upstream::{MarkSupport, Upstream};

/// Settings for connections to guests and hosts.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// The one key.
    pub key: Arc<PrivateKey>,
    /// Which host keys are accepted.
    pub host_keys: HostKeyPolicy,
    /// The file of pinned host keys, in OpenSSH's format.
    pub known_hosts: PathBuf,
    /// Timeout for a connection that is ready to run commands.
    pub connect_timeout: Duration,
    /// Interval of keepalive messages on a quiet connection; three unanswered ones end it.
    pub keepalive: Duration,
    /// Counts the dials.
    pub metrics: DialMetrics,
}

impl SshOptions {
    /// Default of [`SshOptions::connect_timeout`], in the configuration too.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Default of [`SshOptions::keepalive`], in the configuration too.
    pub const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(5);

    /// Accepts host keys pinned in `known_hosts` only, with the default times.
    #[must_use]
    pub fn new(key: Arc<PrivateKey>, known_hosts: impl Into<PathBuf>) -> SshOptions {
        SshOptions {
            key,
            host_keys: HostKeyPolicy::Pin,
            known_hosts: known_hosts.into(),
            connect_timeout: SshOptions::DEFAULT_CONNECT_TIMEOUT,
            keepalive: SshOptions::DEFAULT_KEEPALIVE,
            metrics: DialMetrics::new(&[]),
        }
    }

    pub(crate) fn host_keys(&self) -> Arc<HostKeys> {
        Arc::new(HostKeys::new(self.host_keys, self.known_hosts.clone()))
    }
}
