//! The three commands: enroll, rotate and remove. Each continues where an interrupted run stopped.

use std::sync::Arc;

use breakglass_control::SshOptions;

use super::error::{EnrollError, Result};
use super::keys::{self, KeyFiles, KeyPair};
use super::machine::{Keys, Machine};
use super::plan::Change;
use super::request::EnrollRequest;
use super::{OnProgress, Progress};
use breakglass_readiness::{State, check_target};

/// The name of this machine in messages.
const HERE: &str = "here";

/// Brings key, guests, hosts and pinned host keys into the desired state.
///
/// # Errors
/// The reason why it stopped. Calling it again continues.
pub async fn enroll(request: &EnrollRequest, on_progress: &mut OnProgress<'_>) -> Result<()> {
    let files = KeyFiles::of(&request.config.ssh.key_file);
    let pair = match keys::load(&files.file)? {
        Some(pair) => Some(pair),
        None => create_key(request, &files.file, on_progress)?,
    };
    if files.new.exists() {
        let note = format!(
            "{} is from an interrupted rotation; --rotate continues it",
            files.new.display()
        );
        on_progress(Progress::note(HERE, note));
    }
    let old = match &pair {
        Some(pair) => files.previous(&pair.public)?,
        None => None,
    };
    let keys = Keys {
        pair: pair.as_ref(),
        old: old.as_slice(),
        drop: true,
    };
    enroll_all(request, keys, on_progress).await?;
    if request.covers_all_targets() && !request.dry_run {
        keys::remove_if_exists(&files.old)?;
    }
    Ok(())
}

/// Replaces the key: adds a new one next to it on all machines, tests it, then removes the old one.
///
/// # Errors
/// The reason why it stopped. Until the test succeeds, the old key stays in use.
pub async fn rotate(request: &EnrollRequest, on_progress: &mut OnProgress<'_>) -> Result<()> {
    let files = KeyFiles::of(&request.config.ssh.key_file);
    let Some(current) = keys::load(&files.file)? else {
        let message = format!(
            "there is no key in {} to rotate; enroll without --rotate first",
            files.file.display()
        );
        return Err(EnrollError::Usage(message));
    };
    if files.previous(&current.public)?.is_some() && !files.new.exists() {
        on_progress(Progress::note(
            HERE,
            "the last rotation was interrupted after its test; this finishes it",
        ));
        return enroll(request, on_progress).await;
    }
    let new = match keys::load(&files.new)? {
        Some(new) => Some(new),
        None => create_key(request, &files.new, on_progress)?,
    };
    let both = Keys {
        pair: new.as_ref(),
        old: std::slice::from_ref(&current.public),
        // A dry run reports all changes at once.
        drop: request.dry_run,
    };
    enroll_all(request, both, on_progress).await?;
    let promoted = Change::Promote(files.file.display().to_string());
    let Some(new) = new.as_ref().filter(|_| !request.dry_run) else {
        on_progress(Progress::change(HERE, Change::Prove));
        on_progress(Progress::change(HERE, promoted));
        return Ok(());
    };
    prove(request, new).await?;
    on_progress(Progress::change(HERE, Change::Prove));
    files.promote(&current.public)?;
    on_progress(Progress::change(HERE, promoted));
    let new_only = Keys { drop: true, ..both };
    enroll_all(request, new_only, on_progress).await?;
    keys::remove_if_exists(&files.old)?;
    on_progress(Progress::note(
        HERE,
        "a running server still uses the old key: restart it",
    ));
    Ok(())
}

/// Removes everything that enrolment set up; the private key last.
///
/// # Errors
/// The reason why it stopped. The key still exists, for another attempt.
pub async fn remove(request: &EnrollRequest, on_progress: &mut OnProgress<'_>) -> Result<()> {
    let files = KeyFiles::of(&request.config.ssh.key_file);
    let Some(current) = keys::load(&files.file)? else {
        let message = format!(
            "there is no key in {}, so its lines cannot be identified; remove what remains by hand: \
             docs/enroll.md",
            files.file.display()
        );
        return Err(EnrollError::Usage(message));
    };
    let new = keys::load(&files.new)?.map(|pair| pair.public);
    // An interrupted rotation has left one of the two.
    let old: Vec<_> = new
        .into_iter()
        .chain(files.previous(&current.public)?)
        .collect();
    let keys = Keys {
        pair: Some(&current),
        old: &old,
        drop: true,
    };
    for target in &request.targets {
        for machine in Machine::both(request, target) {
            machine.remove(keys, on_progress).await?;
        }
    }
    let pins = request.config.ssh.known_hosts.display();
    on_progress(Progress::note(
        HERE,
        format!("kept: the host keys in {pins}"),
    ));
    if !request.covers_all_targets() {
        on_progress(Progress::note(
            HERE,
            "kept: the private key, which the other targets accept",
        ));
        return Ok(());
    }
    if !request.dry_run {
        files.delete()?;
    }
    let path = files.file.display().to_string();
    on_progress(Progress::change(HERE, Change::DeleteKey(path)));
    Ok(())
}

async fn enroll_all(
    request: &EnrollRequest,
    keys: Keys<'_>,
    on_progress: &mut OnProgress<'_>,
) -> Result<()> {
    for target in &request.targets {
        for machine in Machine::both(request, target) {
            machine.enroll(keys, on_progress).await?;
        }
    }
    Ok(())
}

/// Creates the key; in a dry run, only reports that.
pub(crate) fn create_key(
    request: &EnrollRequest,
    path: &std::path::Path,
    on_progress: &mut OnProgress<'_>,
) -> Result<Option<KeyPair>> {
    let created = if request.dry_run {
        None
    } else {
        Some(keys::create(path)?)
    };
    on_progress(Progress::change(
        HERE,
        Change::MakeKey(path.display().to_string()),
    ));
    if rustix::process::geteuid().is_root() && !request.dry_run {
        let note = format!(
            "{} belongs to root; if the server has another account, change the owner with chown",
            path.display()
        );
        on_progress(Progress::note(HERE, note));
    }
    Ok(created)
}

/// Runs the readiness checks of guest and gate with the new key.
async fn prove(request: &EnrollRequest, new: &KeyPair) -> Result<()> {
    let key = Arc::clone(&new.private);
    let options: SshOptions = breakglass_config::ssh_options(&request.config, key);
    for target in &request.targets {
        let checks = check_target(target, Some(&options)).await;
        // A wrong clock does not concern the key.
        let mut failed = checks
            .iter()
            .filter(|check| check.state == State::Red && !check.name.ends_with(".clock"));
        if let Some(check) = failed.next() {
            let remedy = check.remedy.as_deref().unwrap_or_default();
            return Err(EnrollError::Failed(format!(
                "the new key failed its test, so the old one stays in use: {}: {} {remedy}; then run this again",
                check.name, check.evidence
            )));
        }
    }
    Ok(())
}
