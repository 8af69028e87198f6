//! The request of an enrolment, checked before anything is changed.

use std::path::{Path, PathBuf};

use breakglass_control::Target;
use sha2::{Digest as _, Sha256};

use super::error::{EnrollError, Result, file};
use super::source::Source;
use breakglass_config::Config;
use breakglass_model::Side;

/// All parameters of an enrolment.
#[derive(Debug)]
pub struct EnrollRequest {
    /// The configuration.
    pub config: Config,
    /// The targets to enrol, all or some of the configuration's.
    pub targets: Vec<Target>,
    /// The sources from which the key is accepted; empty: this machine, and the existing sources.
    pub from: Vec<Source>,
    /// The operator's login on the guest, in the syntax of ssh.
    pub guest_login: Option<String>,
    /// The operator's login on the host.
    pub host_login: Option<String>,
    /// The operator's ssh configuration, if it is not the default one.
    pub ssh_config: Option<PathBuf>,
    /// The gate to install on the host.
    pub gate: Option<Gate>,
    /// The guest that the gate serves.
    pub guest: Option<GuestId>,
    /// Whether to report the changes only.
    pub dry_run: bool,
}

impl EnrollRequest {
    /// The operator's login on one of the target's machines.
    pub fn login(&self, target: &Target, side: Side) -> String {
        let (login, endpoint, user) = match side {
            Side::Guest => (&self.guest_login, &target.guest, String::new()),
            Side::Host => (
                &self.host_login,
                &target.host,
                format!("{}@", target.host.user),
            ),
        };
        let host = bracketed(&endpoint.host);
        let default = format!("ssh://{user}{host}:{}", endpoint.port);
        login.clone().unwrap_or(default)
    }

    /// Whether the request covers all targets of the configuration.
    pub fn covers_all_targets(&self) -> bool {
        self.targets.len() == self.config.targets.len()
    }
}

/// The gate's file to install.
#[derive(Debug)]
pub struct Gate {
    /// The local path.
    pub path: PathBuf,
    /// The content.
    pub bytes: Vec<u8>,
    /// The SHA-256 of the content, in lower-case hex.
    pub sha256: String,
    /// Whether it replaces an installed gate.
    pub replaces: bool,
}

impl Gate {
    /// Reads the named file. Without a name, reads the gate next to this program, which does not replace an installed
    /// one.
    pub fn read(named: Option<&Path>) -> Result<Option<Gate>> {
        let next_to_program = || {
            let own = std::env::current_exe().ok()?;
            let gate = own.parent()?.join("breakglass-gate");
            gate.is_file().then_some(gate)
        };
        let Some(path) = named.map(Path::to_owned).or_else(next_to_program) else {
            return Ok(None);
        };
        let bytes = std::fs::read(&path).map_err(file(&path, "read"))?;
        if !bytes.starts_with(b"\x7fELF") {
            let message = format!(
                "{} is not a program; build the gate with scripts/gate.sh",
                path.display()
            );
            return Err(EnrollError::Usage(message));
        }
        let sha256 = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Some(Gate {
            path,
            bytes,
            sha256,
            replaces: named.is_some(),
        }))
    }
}

/// The guest of a gate, as its hypervisor identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestId {
    /// The VM id of Proxmox.
    Qm(u32),
    /// The domain name of libvirt.
    Virsh(String),
}

impl GuestId {
    /// The guest `id` of `driver`, which is `qm` or `virsh`.
    ///
    /// # Errors
    /// If the id is invalid for the driver.
    pub fn new(driver: &str, id: &str) -> Result<GuestId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let (guest, wanted) = match driver {
            "virsh" => {
                let fits =
                    id.bytes().all(plain) && id.starts_with(|c: char| c.is_ascii_alphanumeric());
                (
                    fits.then(|| GuestId::Virsh(id.to_owned())),
                    "a domain's name",
                )
            }
            _ => {
                let number = id.parse::<u32>().ok().filter(|number| *number >= 100);
                (number.map(GuestId::Qm), "a number from 100, as in Proxmox")
            }
        };
        guest.ok_or_else(|| {
            EnrollError::Usage(format!("--guest-id {id} is invalid; write {wanted}"))
        })
    }

    /// The driver's name in the policy.
    pub fn driver(&self) -> &'static str {
        match self {
            GuestId::Qm(_) => "qm",
            GuestId::Virsh(_) => "virsh",
        }
    }

    /// The guest's id as text.
    pub fn id(&self) -> String {
        match self {
            GuestId::Qm(id) => id.to_string(),
            GuestId::Virsh(name) => name.clone(),
        }
    }

    /// The guest's id as a TOML value for the policy.
    pub fn in_policy(&self) -> String {
        match self {
            GuestId::Qm(id) => id.to_string(),
            GuestId::Virsh(name) => format!("\"{name}\""),
        }
    }
}

/// The host for a URL or for scp: an IPv6 address gets brackets.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}
