//! The three things that can be asked for, each able to go on where it broke off.

use std::sync::Arc;

use breakglass_control::SshOptions;

use super::error::{EnrollError, Result};
use super::keys::{self, KeyFiles, Pair};
use super::machine::{Keys, Machine};
use super::order::Order;
use super::plan::Change;
use super::{Tell, Told};
use breakglass_readiness::{State, machines};

/// The name for what is done on this machine.
const HERE: &str = "here";

/// Key, guest, host and pins as they should be.
///
/// # Errors
/// Why it stopped; the same again goes on.
pub async fn enroll(order: &Order, tell: &mut Tell<'_>) -> Result<()> {
    let files = KeyFiles::beside(&order.config.ssh.key_file);
    let pair = match keys::load(&files.file)? {
        Some(pair) => Some(pair),
        None => make(order, &files.file, tell)?,
    };
    if files.new.exists() {
        let said = format!(
            "{} is a rotation that broke off; --rotate goes on with it",
            files.new.display()
        );
        tell(Told::note(HERE, said));
    }
    let old = match &pair {
        Some(pair) => files.before(&pair.public)?,
        None => None,
    };
    let keys = Keys {
        pair: pair.as_ref(),
        old: old.as_slice(),
        drop: true,
    };
    settle_all(order, keys, tell).await?;
    if order.is_whole() && !order.dry {
        keys::forget(&files.old)?;
    }
    Ok(())
}

/// A new key in the place of the one that works: beside it on all machines, proven, then alone.
///
/// # Errors
/// Why it stopped. Up to the proof the key before stays the one that works.
pub async fn rotate(order: &Order, tell: &mut Tell<'_>) -> Result<()> {
    let files = KeyFiles::beside(&order.config.ssh.key_file);
    let Some(current) = keys::load(&files.file)? else {
        let said = format!(
            "there is no key in {} to rotate; enroll without --rotate first",
            files.file.display()
        );
        return Err(EnrollError::Usage(said));
    };
    if files.before(&current.public)?.is_some() && !files.new.exists() {
        tell(Told::note(
            HERE,
            "the last rotation broke off after its proof; this ends it",
        ));
        return enroll(order, tell).await;
    }
    let new = match keys::load(&files.new)? {
        Some(new) => Some(new),
        None => make(order, &files.new, tell)?,
    };
    let beside = Keys {
        pair: new.as_ref(),
        old: std::slice::from_ref(&current.public),
        // A dry run tells all in one look.
        drop: order.dry,
    };
    settle_all(order, beside, tell).await?;
    let promoted = Change::Promote(files.file.display().to_string());
    let Some(new) = new.as_ref().filter(|_| !order.dry) else {
        tell(Told::change(HERE, Change::Prove));
        tell(Told::change(HERE, promoted));
        return Ok(());
    };
    prove(order, new).await?;
    tell(Told::change(HERE, Change::Prove));
    files.promote(&current.public)?;
    tell(Told::change(HERE, promoted));
    let alone = Keys {
        drop: true,
        ..beside
    };
    settle_all(order, alone, tell).await?;
    keys::forget(&files.old)?;
    tell(Told::note(
        HERE,
        "a server that runs still holds the key before: restart it",
    ));
    Ok(())
}

/// Takes back what enroll set up; the private key goes last.
///
/// # Errors
/// Why it stopped; the key is there for another try.
pub async fn remove(order: &Order, tell: &mut Tell<'_>) -> Result<()> {
    let files = KeyFiles::beside(&order.config.ssh.key_file);
    let Some(current) = keys::load(&files.file)? else {
        let said = format!(
            "there is no key in {}, by which its lines are known; remove what is left by hand: \
             docs/enroll.md",
            files.file.display()
        );
        return Err(EnrollError::Usage(said));
    };
    let new = keys::load(&files.new)?.map(|pair| pair.public);
    // A rotation that broke off has left one of the two.
    let old: Vec<_> = new
        .into_iter()
        .chain(files.before(&current.public)?)
        .collect();
    let keys = Keys {
        pair: Some(&current),
        old: &old,
        drop: true,
    };
    for target in &order.targets {
        for machine in Machine::both(order, target) {
            machine.clear(keys, tell).await?;
        }
    }
    let pins = order.config.ssh.known_hosts.display();
    tell(Told::note(HERE, format!("left: the host keys in {pins}")));
    if !order.is_whole() {
        tell(Told::note(
            HERE,
            "left: the private key, which opens the other targets",
        ));
        return Ok(());
    }
    if !order.dry {
        files.delete()?;
    }
    let path = files.file.display().to_string();
    tell(Told::change(HERE, Change::DeleteKey(path)));
    Ok(())
}

async fn settle_all(order: &Order, keys: Keys<'_>, tell: &mut Tell<'_>) -> Result<()> {
    for target in &order.targets {
        for machine in Machine::both(order, target) {
            machine.settle(keys, tell).await?;
        }
    }
    Ok(())
}

/// Makes the key, or in a dry run says that it would.
pub(crate) fn make(
    order: &Order,
    path: &std::path::Path,
    tell: &mut Tell<'_>,
) -> Result<Option<Pair>> {
    let made = match order.dry {
        true => None,
        false => Some(keys::make(path)?),
    };
    tell(Told::change(
        HERE,
        Change::MakeKey(path.display().to_string()),
    ));
    if rustix::process::geteuid().is_root() && !order.dry {
        let said = format!(
            "{} belongs to root; a server of another account needs it: chown",
            path.display()
        );
        tell(Told::note(HERE, said));
    }
    Ok(made)
}

/// The doctor's own trials of guest and gate, with the new key.
async fn prove(order: &Order, new: &Pair) -> Result<()> {
    let key = Arc::clone(&new.private);
    let options: SshOptions = breakglass_config::ssh_options(&order.config, key);
    for target in &order.targets {
        let checks = machines(target, Some(&options)).await;
        // A wrong clock says nothing of the key.
        let mut failed = checks
            .iter()
            .filter(|check| check.state == State::Red && !check.name.ends_with(".clock"));
        if let Some(check) = failed.next() {
            let remedy = check.remedy.as_deref().unwrap_or_default();
            return Err(EnrollError::Failed(format!(
                "the new key is not proven, so the one before stays: {}: {} {remedy}; then run it again",
                check.name, check.evidence
            )));
        }
    }
    Ok(())
}
