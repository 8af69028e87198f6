//! How a process gives up its privileges.
#![allow(unsafe_code)]

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::account::Account;

/// Makes the command run without any capability, and as `account` if there is one.
pub fn without_privileges(command: &mut std::process::Command, account: Option<Account>) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: the closure makes direct system calls that change the only thread of the forked child. It
    // allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || drop_privileges(account));
    }
}

/// Drops every capability from every set, so that even root's agent has no more rights than the owner of root's
/// files, and takes on `account`. Async-signal-safe.
pub(crate) fn drop_privileges(account: Option<Account>) -> io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // Fails after the kernel's last capability, or at once without the right to do it: then the permitted
        // set is emptied below, and with `no_new_privs` an exec adds nothing to it.
        if remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    if let Some(account) = account {
        let uid = Uid::from_raw(account.uid);
        let gid = Gid::from_raw(account.gid);
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    Ok(())
}
