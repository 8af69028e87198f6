//! Real virtual machines with real faults.
//!
//! ```text
//!  Guest    under plain QEMU, its files named as Proxmox names them      (102.pid, .qmp, .qga, .serial0)
//!  Proxmox  the same under the stand-in for `qm`
//!  Libvirt  the same under a libvirtd of its own           (domain `victim`)
//!  LabHost  one of the last two behind SSH: sshd ─▶ gate ─▶ qm or virsh
//! ```
//!
//! Each has its own directory, ports and processes, and `Drop` ends everything that it started.
//! Emulation is in software, so no KVM is needed. Needs root and the
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
