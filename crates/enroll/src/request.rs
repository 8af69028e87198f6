//! What was asked for, checked before anything is touched.

use std::path::{Path, PathBuf};

use breakglass_control::Target;
use sha2::{Digest as _, Sha256};

use super::error::{EnrollError, Result, file};
use super::source::Source;
use breakglass_config::Config;
use breakglass_model::Side;

/// Everything that a run needs to know.
#[derive(Debug)]
pub struct Order {
    /// The configuration.
    pub config: Config,
    /// Of the configuration's, the ones that are meant.
    pub targets: Vec<Target>,
    /// From where the key may be used; empty: from here, and from wherever it may be already.
    pub from: Vec<Source>,
    /// As whom the operator logs in, as his own ssh takes it.
    pub guest_login: Option<String>,
    /// The same for the host.
    pub host_login: Option<String>,
    /// The operator's own ssh configuration, where it is not the usual one.
    pub ssh_config: Option<PathBuf>,
    /// The gate to install on the host.
    pub gate: Option<Gate>,
    /// The guest that the gate serves.
    pub guest: Option<GuestId>,
    /// Look and tell, and change nothing.
    pub dry: bool,
}

impl Order {
    /// The operator's login on one of the target's machines.
    pub fn login(&self, target: &Target, side: Side) -> String {
        let (given, endpoint, user) = match side {
            Side::Guest => (&self.guest_login, &target.guest, String::new()),
            Side::Host => (
                &self.host_login,
                &target.host,
                format!("{}@", target.host.user),
            ),
        };
        let host = match endpoint.host.contains(':') {
            true => format!("[{}]", endpoint.host),
            false => endpoint.host.clone(),
        };
        let usual = format!("ssh://{user}{host}:{}", endpoint.port);
        given.clone().unwrap_or(usual)
    }

    /// Whether all targets of the key are meant.
    pub fn is_whole(&self) -> bool {
        self.targets.len() == self.config.targets.len()
    }
}

/// A gate's file that is to be installed.
#[derive(Debug)]
pub struct Gate {
    /// The file here.
    pub path: PathBuf,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// Of its contents; lower-case hex.
    pub sha256: String,
    /// Whether it takes the place of another one that is there.
    pub replaces: bool,
}

impl Gate {
    /// Reads the file that was named, or where none was, the one beside this program, which only fills
    /// a gap.
    pub fn read(named: Option<&Path>) -> Result<Option<Gate>> {
        let beside = || {
            let own = std::env::current_exe().ok()?;
            let gate = own.parent()?.join("breakglass-gate");
            gate.is_file().then_some(gate)
        };
        let Some(path) = named.map(Path::to_owned).or_else(beside) else {
            return Ok(None);
        };
        let bytes = std::fs::read(&path).map_err(file(&path, "read"))?;
        if !bytes.starts_with(b"\x7fELF") {
            let said = format!(
                "{} is no program; build the gate with scripts/gate.sh",
                path.display()
            );
            return Err(EnrollError::Usage(said));
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

/// The one guest of a gate, by its hypervisor's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestId {
    /// A number of Proxmox.
    Qm(u32),
    /// A domain of libvirt.
    Virsh(String),
}

impl GuestId {
    /// The guest `id` of `driver`, which is `qm` or `virsh`.
    ///
    /// # Errors
    /// If the driver can have no such guest.
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
                (
                    number.map(GuestId::Qm),
                    "a number from 100, as Proxmox has it",
                )
            }
        };
        guest.ok_or_else(|| {
            EnrollError::Usage(format!(
                "--guest-id {id}: no such guest can be; write {wanted}"
            ))
        })
    }

    /// The driver's name in the policy.
    pub fn driver(&self) -> &'static str {
        match self {
            GuestId::Qm(_) => "qm",
            GuestId::Virsh(_) => "virsh",
        }
    }

    /// The guest's id as the driver writes it.
    pub fn id(&self) -> String {
        match self {
            GuestId::Qm(id) => id.to_string(),
            GuestId::Virsh(name) => name.clone(),
        }
    }

    /// As the policy file writes it.
    pub fn in_policy(&self) -> String {
        match self {
            GuestId::Qm(id) => id.to_string(),
            GuestId::Virsh(name) => format!("\"{name}\""),
        }
    }
}
