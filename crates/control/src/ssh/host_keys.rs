//! Which key a host may show. The pins are an OpenSSH `known_hosts` file, so that `ssh`,
//! `ssh-keyscan` and people work with the same file.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::error::SshError;
use crate::target::Endpoint;

/// What is done about a host's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Only keys in the file.
    Pin,
    /// The first key seen is written to the file and pinned from then on.
    TrustFirst,
    /// Any key: whoever stands in between is let in.
    AcceptAny,
}

/// The pins, shared by all connections.
#[derive(Debug)]
pub(crate) struct HostKeys {
    policy: HostKeyPolicy,
    file: PathBuf,
    /// Held while the file is read and written, so that two first sights don't both learn.
    writing: Mutex<()>,
}

impl HostKeys {
    pub(crate) fn new(policy: HostKeyPolicy, file: PathBuf) -> HostKeys {
        HostKeys {
            policy,
            file,
            writing: Mutex::new(()),
        }
    }

    /// Lets `shown` pass, or says why not. A key of another algorithm than the pinned one is a
    /// changed key, never a first sight: else whoever stands in between would offer that.
    pub(crate) fn check(&self, endpoint: &Endpoint, shown: &PublicKey) -> Result<(), SshError> {
        if self.policy == HostKeyPolicy::AcceptAny {
            return Ok(());
        }
        let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let pinned = self.pinned(endpoint)?;
        if pinned
            .iter()
            .any(|(_, key)| key.key_data() == shown.key_data())
        {
            return Ok(());
        }
        let file = self.file.display().to_string();
        match (pinned.first(), self.policy) {
            (Some((line, pinned)), _) => Err(SshError::HostKeyChanged {
                endpoint: endpoint.clone(),
                pinned: fingerprint(pinned).into(),
                shown: fingerprint(shown).into(),
                file: file.into(),
                line: *line,
            }),
            (None, HostKeyPolicy::TrustFirst) => self
                .learn(endpoint, shown)
                .map_err(|error| self.broken(&error)),
            (None, _) => Err(SshError::HostKeyUnknown {
                endpoint: endpoint.clone(),
                shown: fingerprint(shown),
                file,
            }),
        }
    }

    /// The algorithms of the pinned keys: asked for first, so that a host with several keys
    /// shows the one that can be compared.
    pub(crate) fn algorithms(&self, endpoint: &Endpoint) -> Vec<Algorithm> {
        let pinned = self.pinned(endpoint).unwrap_or_default();
        pinned.iter().map(|(_, key)| key.algorithm()).collect()
    }

    /// The pinned keys, each with its line in the file.
    fn pinned(&self, endpoint: &Endpoint) -> Result<Vec<(usize, PublicKey)>, SshError> {
        match fs::metadata(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.broken(&error)),
            Ok(_) => {}
        }
        known_host_keys_path(&endpoint.host, endpoint.port, &self.file)
            .map_err(|error| self.broken(&error))
    }

    fn learn(&self, endpoint: &Endpoint, key: &PublicKey) -> io::Result<()> {
        let name = known_hosts_name(endpoint);
        let key = key.to_openssh().map_err(io::Error::other)?;
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        let unfinished =
            fs::read(&self.file).is_ok_and(|text| !text.ends_with(b"\n") && !text.is_empty());
        let newline = if unfinished { "\n" } else { "" };
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)?;
        file.write_all(format!("{newline}{name} {key}\n").as_bytes())?;
        file.sync_all()
    }

    fn broken(&self, cause: &dyn std::fmt::Display) -> SshError {
        SshError::HostKeyFile {
            file: self.file.display().to_string(),
            cause: cause.to_string(),
        }
    }
}

/// An endpoint's name as OpenSSH writes it: the port only where it is not 22.
#[must_use]
pub fn known_hosts_name(endpoint: &Endpoint) -> String {
    match endpoint.port {
        22 => endpoint.host.clone(),
        port => format!("[{}]:{port}", endpoint.host),
    }
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::generate_key;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            host: "192.0.2.1".into(),
            port,
            user: "root".into(),
        }
    }

    fn key() -> PublicKey {
        generate_key().unwrap().public_key().clone()
    }

    fn ecdsa() -> PublicKey {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ecdsa", "-N", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.expect("apt-get install openssh-client").success());
        PublicKey::read_openssh_file(path.with_extension("pub")).unwrap()
    }

    #[test]
    fn pin_refuses_a_host_without_a_pinned_key_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let keys = HostKeys::new(HostKeyPolicy::Pin, file.clone());
        let refused = keys.check(&endpoint(22), &key());
        assert!(
            matches!(refused, Err(SshError::HostKeyUnknown { .. })),
            "{refused:?}"
        );
        assert!(!file.exists());
    }

    #[test]
    fn trust_first_learns_once_and_pins_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/known_hosts");
        let keys = HostKeys::new(HostKeyPolicy::TrustFirst, file.clone());
        let first = key();
        for port in [22, 2222] {
            assert_eq!(keys.check(&endpoint(port), &first), Ok(()));
            assert_eq!(keys.check(&endpoint(port), &first), Ok(()));
            let other = keys.check(&endpoint(port), &key());
            assert!(
                matches!(other, Err(SshError::HostKeyChanged { .. })),
                "{other:?}"
            );
        }
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("\n[192.0.2.1]:2222 ssh-ed25519 "), "{text}");
    }

    #[test]
    fn a_key_of_another_algorithm_is_a_changed_key_and_the_error_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let keys = HostKeys::new(HostKeyPolicy::TrustFirst, dir.path().join("known_hosts"));
        let (pinned, shown) = (key(), ecdsa());
        keys.check(&endpoint(2222), &key()).unwrap();
        keys.check(&endpoint(22), &pinned).unwrap();
        let error = keys.check(&endpoint(22), &shown).unwrap_err().to_string();
        assert!(
            error.contains(&fingerprint(&pinned)) && error.contains(&fingerprint(&shown)),
            "{error}"
        );
        let place = format!("line 2 of {}", dir.path().join("known_hosts").display());
        assert!(error.contains(&place), "{error}");
        assert_eq!(keys.algorithms(&endpoint(22)), [Algorithm::Ed25519]);
    }

    #[test]
    fn a_file_without_a_last_newline_is_not_garbled_by_learning() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let first = key();
        fs::write(
            &file,
            format!("192.0.2.9 {}", first.to_openssh().unwrap().trim()),
        )
        .unwrap();
        let keys = HostKeys::new(HostKeyPolicy::TrustFirst, file);
        keys.check(&endpoint(22), &key()).unwrap();
        let other = Endpoint {
            host: "192.0.2.9".into(),
            ..endpoint(22)
        };
        assert_eq!(keys.check(&other, &first), Ok(()));
    }

    #[test]
    fn a_garbled_file_refuses_instead_of_learning() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        fs::write(&file, "192.0.2.1 ssh-ed25519 notbase64!\n").unwrap();
        let keys = HostKeys::new(HostKeyPolicy::TrustFirst, file);
        let refused = keys.check(&endpoint(22), &key());
        assert!(
            matches!(refused, Err(SshError::HostKeyFile { .. })),
            "{refused:?}"
        );
    }
}
