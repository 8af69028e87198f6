//! Real virtual machines to save, and real faults for them.
//!
//! ```text
//!  Guest    under plain QEMU, its files named as Proxmox names them      (102.pid, .qmp, .qga, .serial0)
//!  Proxmox  the same under the stand-in for `qm`
//!  Libvirt  the same under a libvirtd of its own           (domain `victim`)
//!  LabHost  one of the last two to connect to: sshd ─▶ gate ─▶ qm or virsh
//! ```
//!
//! Each has its directory, ports and processes to itself, and `Drop` ends what it started. All
//! emulation is done in software, so a build machine without KVM will do. Needs root and the
//! packages of `scripts/lab-packages.sh`.

mod guest;
mod host;
mod images;
mod libvirt;
mod login;
mod machine;
mod proxmox;
mod qmp;

pub use guest::Guest;
pub use host::{Answer, LabHost};
pub use images::{Images, images};
pub use libvirt::{Libvirt, PanicDevice};
pub use login::Login;
pub use machine::{Hypervisor, Machine, alive, until};
pub use proxmox::Proxmox;
