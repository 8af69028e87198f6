//! Forensics: what the next verb would destroy, kept on the host first.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use breakglass_verbs::Verb;

use crate::driver::Driver;
use crate::output::Output;
use crate::serve::Context;
use crate::text;
use crate::utc;

/// Lines of each probe that are streamed when they can't be kept on the host.
const STREAMED: usize = 40;
/// Characters of a streamed line.
const LINE: usize = 160;

/// One piece of evidence, or why it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was asked, fit for a file name: `qmp-query-status`.
    pub name: String,
    /// What came, bounded by the driver; or a sentence that says why nothing did.
    pub found: Result<String, String>,
}

impl Probe {
    /// A probe under its name.
    #[must_use]
    pub fn new(name: &str, found: Result<String, String>) -> Probe {
        Probe {
            name: name.to_owned(),
            found,
        }
    }
}

/// Runs the driver's probes, keeps them in a directory of their own and streams a summary.
///
/// Returns whether the evidence is kept. What fails is told and blocks nothing: the operator's
/// power must work on a host with a full disk too.
pub(crate) fn capture(
    verb: Verb,
    context: &Context<'_>,
    driver: &mut dyn Driver,
    out: &mut dyn Output,
) -> bool {
    let bundle = create(context.forensics_dir, verb, context.limits.keep_bundles);
    if let Err(error) = &bundle {
        out.error(&format!(
            "forensics can't be kept in {}: {error}; streamed instead",
            context.forensics_dir.display()
        ));
    }
    let mut kept = bundle.is_ok();
    driver.probes(&mut |probe| {
        out.line(&summary(&probe));
        let stored = bundle.as_ref().map_or(Ok(()), |dir| store(dir, &probe));
        if let Err(error) = &stored {
            out.error(&format!("forensics: {} can't be kept: {error}", probe.name));
        }
        kept &= stored.is_ok();
        if bundle.is_err() || stored.is_err() {
            stream(&probe, out);
        }
    });
    if let Ok(dir) = &bundle {
        out.line(&format!("forensics: in {} on the host", dir.display()));
    }
    kept
}

fn summary(probe: &Probe) -> String {
    match &probe.found {
        Ok(found) => {
            let first = text::visible(found.lines().next().unwrap_or("(empty)"), LINE);
            format!("forensics: {}: {} bytes: {first}", probe.name, found.len())
        }
        Err(why) => format!(
            "forensics: {}: missing: {}",
            probe.name,
            text::visible(why, LINE)
        ),
    }
}

fn stream(probe: &Probe, out: &mut dyn Output) {
    for line in probe
        .found
        .iter()
        .flat_map(|found| found.lines())
        .take(STREAMED)
    {
        out.line(&format!(
            "forensics: {}: {}",
            probe.name,
            text::visible(line, LINE)
        ));
    }
}

/// A new directory `<utc>-<verb>` for its owner's eyes only; the oldest ones make room.
fn create(root: &Path, verb: Verb, keep: usize) -> io::Result<PathBuf> {
    let private = |recursive| {
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(recursive);
        builder
    };
    private(true).create(root)?;
    prune(root, keep.saturating_sub(1))?;
    let name = format!("{}-{verb}", utc::compact(SystemTime::now()));
    let candidates = (1..=9).map(|n| {
        root.join(if n == 1 {
            name.clone()
        } else {
            format!("{name}-{n}")
        })
    });
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for dir in candidates {
        result = private(false).create(&dir).map(|()| dir);
        if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    result
}

fn prune(root: &Path, keep: usize) -> io::Result<()> {
    let mut bundles: Vec<PathBuf> = fs::read_dir(root)?
        .filter_map(|entry| entry.ok())
        .filter(|entry| is_bundle(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    // The names begin with the time.
    bundles.sort_unstable();
    let old = bundles.len().saturating_sub(keep);
    bundles.iter().take(old).try_for_each(fs::remove_dir_all)
}

/// Whether `name` is one that [`create`] gives: nothing else in there is ever removed.
fn is_bundle(name: &str) -> bool {
    let (time, verb) = name.split_at_checked(17).unwrap_or((name, ""));
    time.strip_suffix("Z-")
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'T'))
        && Verb::ALL
            .iter()
            .any(|known| verb.starts_with(known.as_str()))
}

fn store(dir: &Path, probe: &Probe) -> io::Result<()> {
    let name: String = probe
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(dir.join(name + ".txt"))?;
    match &probe.found {
        Ok(found) => file.write_all(found.as_bytes()),
        Err(why) => writeln!(file, "missing: {why}"),
    }
}
