//! How the first process of a sandbox that root has made becomes the agent's account.

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
use crate::child::forget_privileges;

/// Takes on `account` for good, in a user namespace where the kernel lets it make one. Called while there is
/// one thread.
///
/// # Errors
/// What the operating system says.
pub(super) fn become_one(account: Account) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    set_no_new_privs(true)?;
    // The change took it away, and without it the maps below are root's.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    // All other walls stand without it, too.
    let _ = namespace(account);
    forget_privileges(None)?;
    // The kernel forgot it when the account changed. The parent is `bwrap`, which the server holds.
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// A user namespace in which this account is the only one.
#[allow(unsafe_code)]
fn namespace(account: Account) -> io::Result<()> {
    // SAFETY: no file descriptors are unshared, which is what makes the call unsafe.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER)? };
    let Account { uid, gid } = account;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}
