use std::io;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};

/// The public host keys of both SSH servers, made anew for each run, for pinning.
#[derive(Debug, Clone)]
pub struct HostKeys {
    /// The guest's.
    pub guest: PublicKey,
    /// The host's (the gate's).
    pub host: PublicKey,
}

/// A fresh ed25519 key.
///
/// # Errors
/// When the system has no randomness to give.
pub(super) fn fresh() -> io::Result<PrivateKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        io::Error::other(format!(
            "the system has no randomness for a host key: {error}"
        ))
    })?;
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
}
