//! The SSH client: one warm, watched connection per endpoint.
//!
//! ```text
//! lanes ─┬─ pool (warm connection, re-dialled) ── dial (TCP, host key, authentication)
//!        └─ exec                                   └─ host_keys (known_hosts, policy)
//! upstream ── lanes of the agent's own, apart from everybody else's
//! probe ── dial: a connection of its own, for trials
//! penalty: how often may be dialled in vain before an sshd shuts this machine out
//! ```
//! The client library stalls a whole connection while one of its channels is not read. So
//! channels never leave `exec`, whose loop always reads and whose sinks never wait.

mod dial;
mod dials;
pub(crate) mod error;
pub(crate) mod exec;
mod frame;
mod host_keys;
mod key;
pub(crate) mod lanes;
mod penalty;
pub(crate) mod pool;
mod probe;
mod session;
pub(crate) mod upstream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use dials::Dials;
pub use error::SshError;
pub use frame::{Framed, Script};
pub(crate) use host_keys::HostKeys;
pub use host_keys::{HostKeyPolicy, known_hosts_name};
pub use key::{KeyError, generate_key, key_warning, load_key, write_key};
pub use lanes::OpenSession;
pub use probe::{Answer, Probe};
pub use russh::keys::{PrivateKey, PublicKey};
pub use session::Session;
pub use upstream::{Marks, Upstream};

/// How guest and host are reached.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// The one key.
    pub key: Arc<PrivateKey>,
    /// What is done about a host's key.
    pub host_keys: HostKeyPolicy,
    /// Where host keys are pinned, in OpenSSH's format.
    pub known_hosts: PathBuf,
    /// Longest wait for a connection that is ready to run commands.
    pub connect_timeout: Duration,
    /// How often a quiet connection is probed; three unanswered probes end it.
    pub keepalive: Duration,
    /// What counts the dials.
    pub dials: Dials,
}

impl SshOptions {
    /// Pinned host keys from `known_hosts`, 10 s to connect, a probe every 5 s.
    #[must_use]
    pub fn new(key: Arc<PrivateKey>, known_hosts: impl Into<PathBuf>) -> SshOptions {
        SshOptions {
            key,
            host_keys: HostKeyPolicy::Pin,
            known_hosts: known_hosts.into(),
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(5),
            dials: Dials::of(&[]),
        }
    }

    pub(crate) fn pins(&self) -> Arc<HostKeys> {
        Arc::new(HostKeys::new(self.host_keys, self.known_hosts.clone()))
    }
}
