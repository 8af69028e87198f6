//! How the first process of a sandbox that root made becomes the agent's account.

use std::fs;
use std::io;

use rustix::process::{
    DumpableBehavior, Gid, Signal, Uid, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{
    UnshareFlags, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    unshare_unsafe,
};

use crate::Account;
use crate::privileges::drop_privileges;

/// Takes on `account` for good, in its own user namespace if the kernel allows one. To be called while the
/// process has one thread.
///
/// # Errors
/// The operating system's error.
pub(super) fn take_on(account: Account) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    set_no_new_privs(true)?;
    // The change of ids cleared it, and without it the maps below belong to root.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    // Everything else protects without it, too.
    let _ = enter_user_namespace(account);
    drop_privileges(None)?;
    // The change of ids cleared it. The parent is `bwrap`, which dies with the server.
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Enters a user namespace in which this account is the only one.
#[allow(unsafe_code)]
fn enter_user_namespace(account: Account) -> io::Result<()> {
    // SAFETY: the call is unsafe only for unsharing file descriptors, which this one does not.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER)? };
    let Account { uid, gid } = account;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}
