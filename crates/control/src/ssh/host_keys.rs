//! Decides whether to trust a host key. Pinned keys are in an OpenSSH `known_hosts` file, so that `ssh`,
//! `ssh-keyscan` and operators can use the same file.

use parking_lot::Mutex;
use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::error::SshError;
use crate::target::Endpoint;

/// Which host keys are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Only the keys in the file.
    Pin,
    /// The first key of a host is written to the file and pinned from then on.
    TrustFirst,
    /// Any key: anyone who intercepts the connection is trusted.
    AcceptAny,
}

/// The pinned keys, shared by all connections.
#[derive(Debug)]
pub(crate) struct HostKeys {
    policy: HostKeyPolicy,
    file: PathBuf,
    /// Locked while the file is read and written, so that two first connections don't both pin.
    file_lock: Mutex<()>,
}

impl HostKeys {
    pub(crate) fn new(policy: HostKeyPolicy, file: PathBuf) -> HostKeys {
        HostKeys {
            policy,
            file,
            file_lock: Mutex::new(()),
        }
    }

    /// Whether to trust `shown`. A key of another algorithm than the pinned one is a changed key, not
    /// a first one: otherwise an attacker in between could offer such a key.
    pub(crate) fn check(&self, endpoint: &Endpoint, shown: &PublicKey) -> Result<(), SshError> {
        if self.policy == HostKeyPolicy::AcceptAny {
            return Ok(());
        }
        let _guard = self.file_lock.lock();
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
                .pin(endpoint, shown)
                .map_err(|error| self.file_error(&error)),
            (None, _) => Err(SshError::HostKeyUnknown {
                endpoint: endpoint.clone(),
                shown: fingerprint(shown),
                file,
            }),
        }
    }

    /// The algorithms of the pinned keys. They are requested first, so that a host with several keys
    /// presents the one that can be compared.
    pub(crate) fn algorithms(&self, endpoint: &Endpoint) -> Vec<Algorithm> {
        let pinned = self.pinned(endpoint).unwrap_or_default();
        pinned.iter().map(|(_, key)| key.algorithm()).collect()
    }

    /// The pinned keys, each with its line in the file.
    fn pinned(&self, endpoint: &Endpoint) -> Result<Vec<(usize, PublicKey)>, SshError> {
        match fs::metadata(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.file_error(&error)),
            Ok(_) => {}
        }
        known_host_keys_path(&endpoint.host, endpoint.port, &self.file)
            .map_err(|error| self.file_error(&error))
    }

    fn pin(&self, endpoint: &Endpoint, key: &PublicKey) -> io::Result<()> {
        let name = known_hosts_name(endpoint);
        let key = key.to_openssh().map_err(io::Error::other)?;
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        let lacks_newline =
            fs::read(&self.file).is_ok_and(|text| !text.ends_with(b"\n") && !text.is_empty());
        let newline = if lacks_newline { "\n" } else { "" };
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)?;
        file.write_all(format!("{newline}{name} {key}\n").as_bytes())?;
        file.sync_all()
    }

    fn file_error(&self, cause: &dyn std::fmt::Display) -> SshError {
        SshError::HostKeyFile {
            file: self.file.display().to_string(),
            cause: cause.to_string(),
        }
    }
}

/// An endpoint's name as OpenSSH writes it: with the port only if it is not 22.
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
    fn pin_policy_refuses_an_unpinned_host_and_writes_nothing() {
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
    fn trust_first_pins_the_first_key_of_each_port() {
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
    fn key_of_another_algorithm_is_a_changed_key_with_a_remedy() {
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
    fn file_without_a_final_newline_stays_valid_after_pinning() {
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
    fn invalid_file_is_an_error_and_pins_nothing() {
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
