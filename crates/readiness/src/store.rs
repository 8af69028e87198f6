//! The data directory: written to, read back, and how much room is left.

use std::path::Path;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::LIMIT;
use super::check::Check;
use breakglass_config::RECORD_FILE;

/// Less room than this, in MiB, and an incident may not fit.
const LITTLE: u64 = 512;
/// Less than this, and the next one does not.
const NONE: u64 = 64;

/// That it can be written, that the record in it holds, and the room left.
pub(crate) async fn checks(data_dir: &Path) -> [Check; 3] {
    [writable(data_dir), record(data_dir).await, space(data_dir)]
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
            let remedy = format!("make {shown} writable for this user, or change data_dir");
            Check::red(
                "store",
                format!("{shown} can't be written: {error}."),
                remedy,
            )
        }
    }
}

/// Verifies every incident's chain, as `breakglass audit verify` does.
async fn record(data_dir: &Path) -> Check {
    let path = data_dir.join(RECORD_FILE);
    if !path.exists() {
        return Check::green("record", "There is no record yet.");
    }
    let by_hand = format!("breakglass audit verify --data-dir {}", data_dir.display());
    let (reply, report) = oneshot::channel();
    let examined = path.clone();
    // A thread of its own, since it blocks; it ends by itself with the file.
    let begun = std::thread::Builder::new()
        .name("doctor-verify".to_owned())
        .spawn(move || reply.send(breakglass_log::verify(&examined)));
    let report = match begun {
        Ok(_) => timeout(LIMIT, report).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    let Some(report) = report else {
        let evidence = format!("Its chain was not verified within {} s.", LIMIT.as_secs());
        return Check::amber("record", evidence, format!("take the time: {by_hand}"));
    };
    let remedy = format!(
        "{by_hand} names what does not hold; keep {} for whoever looks into it, and begin a new \
         one by moving it away while the server is down",
        path.display()
    );
    match report {
        Ok(report) if report.is_sound() => {
            let (count, events) = (report.incidents.len(), report.incidents.iter());
            let events: u64 = events.map(|incident| incident.events).sum();
            Check::green(
                "record",
                format!("{events} events of {count} incidents hold."),
            )
        }
        Ok(_) => Check::red("record", "The chain of the record is broken.", remedy),
        Err(error) => Check::red("record", format!("{error}."), remedy),
    }
}

fn space(dir: &Path) -> Check {
    let shown = dir.display();
    let left = match rustix::fs::statvfs(dir) {
        Ok(left) => left,
        Err(error) => {
            let evidence = format!("The room left in {shown} is not known: {error}.");
            return Check::amber("space", evidence, format!("look at it: df {shown}"));
        }
    };
    let mib = left.f_bavail.saturating_mul(left.f_frsize) >> 20;
    let evidence = format!("{mib} MiB are left in {shown}.");
    let remedy = format!("free space on the file system of {shown}, or move data_dir");
    match mib {
        ..NONE => Check::red("space", evidence, remedy),
        NONE..LITTLE => Check::amber("space", evidence, remedy),
        _ => Check::green("space", evidence),
    }
}
