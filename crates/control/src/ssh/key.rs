//! Reads, makes and writes the private key.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{self, PrivateKey};

/// Why a private key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("the private key {path} can't be read: {source}; check the path and its owner")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The key has a passphrase.
    #[error(
        "the private key {path} has a passphrase, which a server can't type; make a key without one: ssh-keygen -t ed25519 -N '' -f {path}"
    )]
    Encrypted {
        /// The file.
        path: String,
    },
    /// Not a private key, or one of an unsupported kind.
    #[error(
        "{path} contains no usable private key ({cause}); make an Ed25519 key in OpenSSH's format: ssh-keygen -t ed25519 -N '' -f {path}"
    )]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
}

/// Reads a private key in OpenSSH's format.
///
/// # Errors
/// When the file can't be read, has a passphrase, or contains no supported key.
pub fn load_key(path: &Path) -> Result<PrivateKey, KeyError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| KeyError::Unreadable {
        path: name.clone(),
        source,
    })?;
    let unusable = |cause: &dyn std::fmt::Display| KeyError::Unusable {
        path: name.clone(),
        cause: cause.to_string(),
    };
    let key = match keys::decode_secret_key(&text, None) {
        Ok(key) => key,
        Err(keys::Error::KeyIsEncrypted) => return Err(KeyError::Encrypted { path: name }),
        Err(error) => return Err(unusable(&error)),
    };
    if key.algorithm().is_rsa() {
        return Err(unusable(&"RSA keys are not supported"));
    }
    Ok(key)
}

/// A warning if others than its owner can read the file.
#[must_use]
pub fn key_warning(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("the private key {path} can be read by others (mode {mode:03o}); chmod 600 {path}")
    })
}

/// A new Ed25519 key.
///
/// # Errors
/// When the system provides no random bytes.
pub fn generate_key() -> io::Result<PrivateKey> {
    let mut seed = [0u8; Ed25519Keypair::BYTE_SIZE / 2];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, "breakglass").map_err(io::Error::other)
}

/// Writes `key` to a new file that only its owner can read.
///
/// # Errors
/// When the file exists or can't be written.
pub fn write_key(key: &PrivateKey, path: &Path) -> io::Result<()> {
    let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn written_key_reads_back_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = generate_key().unwrap();
        write_key(&key, &path).unwrap();
        assert_eq!(load_key(&path).unwrap().public_key(), key.public_key());
        assert_eq!(key_warning(&path), None);
    }

    #[test]
    fn key_that_others_can_read_gets_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_key(&generate_key().unwrap(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let warning = key_warning(&path).unwrap();
        assert!(
            warning.contains("mode 640") && warning.contains("chmod 600"),
            "{warning}"
        );
    }

    #[test]
    fn error_for_a_key_with_a_passphrase_names_the_command_for_one_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "secret", "-f"])
            .arg(&path)
            .status();
        assert!(made.expect("apt-get install openssh-client").success());
        let error = load_key(&path).unwrap_err();
        assert!(matches!(error, KeyError::Encrypted { .. }), "{error}");
    }

    #[test]
    fn missing_file_and_invalid_key_are_different_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(matches!(load_key(&path), Err(KeyError::Unreadable { .. })));
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(load_key(&path), Err(KeyError::Unusable { .. })));
    }
}
