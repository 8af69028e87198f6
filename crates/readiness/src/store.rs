//! Checks of the data directory: it can be written, the incident log is intact, and there is enough free space.

use std::path::Path;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::CHECK_TIMEOUT;
use super::check::Check;
use breakglass_config::LOG_FILE;

/// Below this free space, an incident may not fit: amber.
const AMBER_FREE_MIB: u64 = 512;
/// Below this free space, the next incident does not fit: red.
const RED_FREE_MIB: u64 = 64;

/// All checks of the data directory.
pub(crate) async fn checks(data_dir: &Path) -> [Check; 3] {
    [writable(data_dir), log(data_dir).await, space(data_dir)]
}

fn writable(dir: &Path) -> Check {
    let shown = dir.display();
    let tried = std::fs::create_dir_all(dir).and_then(|()| {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(b"breakglass doctor")?;
        file.as_file().sync_all()
    });
    match tried {
        Ok(()) => Check::green("store", format!("{shown} can be written.")),
        Err(error) => {
            let remedy = format!("make {shown} writable for this account, or change data_dir");
            Check::red(
                "store",
                format!("{shown} cannot be written: {error}."),
                remedy,
            )
        }
    }
}

/// Verifies every incident's chain, as `breakglass audit verify` does.
async fn log(data_dir: &Path) -> Check {
    let path = data_dir.join(LOG_FILE);
    if !path.exists() {
        return Check::green("record", "There is no incident log yet.");
    }
    let command = format!("breakglass audit verify --data-dir {}", data_dir.display());
    let (reply, report) = oneshot::channel();
    let log_file = path.clone();
    // It blocks, so it has its own thread, which ends at the end of the file.
    let started = std::thread::Builder::new()
        .name("doctor-verify".to_owned())
        .spawn(move || reply.send(breakglass_log::verify(&log_file)));
    let report = match started {
        Ok(_) => timeout(CHECK_TIMEOUT, report)
            .await
            .ok()
            .and_then(Result::ok),
        Err(_) => None,
    };
    let Some(report) = report else {
        let evidence = format!(
            "The log could not be verified within {} s.",
            CHECK_TIMEOUT.as_secs()
        );
        return Check::amber(
            "record",
            evidence,
            format!("verify it without a time limit: {command}"),
        );
    };
    let remedy = format!(
        "{command} names the broken incidents; keep {} as evidence: stop the server and move the file away, and \
         the server starts with a new log",
        path.display()
    );
    match report {
        Ok(report) if report.is_sound() => {
            let count = report.incidents.len();
            let events: u64 = report
                .incidents
                .iter()
                .map(|incident| incident.events)
                .sum();
            Check::green(
                "record",
                format!("All {events} events of {count} incidents are intact."),
            )
        }
        Ok(_) => Check::red(
            "record",
            "The hash chain of the incident log is broken.",
            remedy,
        ),
        Err(error) => Check::red("record", format!("{error}."), remedy),
    }
}

fn space(dir: &Path) -> Check {
    let shown = dir.display();
    let stats = match rustix::fs::statvfs(dir) {
        Ok(stats) => stats,
        Err(error) => {
            let evidence = format!("The free space in {shown} is unknown: {error}.");
            return Check::amber("space", evidence, format!("check it with: df {shown}"));
        }
    };
    let mib = stats.f_bavail.saturating_mul(stats.f_frsize) >> 20;
    let evidence = format!("{mib} MiB are free in {shown}.");
    let remedy = format!("free space on the file system of {shown}, or move data_dir");
    match mib {
        ..RED_FREE_MIB => Check::red("space", evidence, remedy),
        RED_FREE_MIB..AMBER_FREE_MIB => Check::amber("space", evidence, remedy),
        _ => Check::green("space", evidence),
    }
}
