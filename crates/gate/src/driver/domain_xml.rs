//! The parts of libvirt's domain definitions that the gate reads, line by line as libvirt writes
//! them: drives, the action at a reset, and settings that a new QEMU process would apply.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::deadline::with_timeout;

/// Maximum number of drives to check.
const DRIVES_MAX: usize = 64;
/// Maximum number of staged settings to report.
const STAGED_MAX: usize = 50;

/// The first file or device of the definition's drives that certainly does not exist.
pub(super) fn missing_drive(definition: &str, timeout: Duration) -> Option<String> {
    let sources = definition.lines().map(str::trim).filter_map(drive_source);
    let sources: Vec<PathBuf> = sources.map(PathBuf::from).take(DRIVES_MAX).collect();
    let is_missing =
        |path: &PathBuf| fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let find = move || Ok(sources.into_iter().find(is_missing));
    let found = with_timeout(timeout, "the drives", find).ok().flatten();
    found.map(|path| path.display().to_string())
}

/// The path in `<source file='/disk.img'/>`, unless a start succeeds without it.
fn drive_source(line: &str) -> Option<&str> {
    let attributes = line.strip_prefix("<source ")?;
    let is_optional = attributes.contains("startupPolicy=");
    let path = ["file='", "dev='"]
        .iter()
        .find_map(|key| attributes.split_once(key));
    let path = path?.1.split('\'').next()?;
    (!is_optional && path.starts_with('/') && !path.contains('&')).then_some(path)
}

/// Whether a reset ends QEMU, according to the definition of the running domain.
pub(super) fn reset_ends_qemu(running: &str) -> bool {
    let mut lines = running.lines().map(str::trim);
    lines.any(|line| line.starts_with("<on_reboot>") && line != "<on_reboot>restart</on_reboot>")
}

/// The settings on one line each (memory, processors, …) that are different in `next` than in
/// `running`. Devices are not compared: those of a running guest have many attributes that no
/// definition has.
pub(super) fn staged(running: &str, next: &str) -> Vec<String> {
    let is_applied = |setting: &str| running.lines().any(|line| line.trim() == setting);
    let is_setting = |line: &&str| line.starts_with("  <") && line.contains("</");
    let settings = next.lines().filter(is_setting).map(str::trim);
    let staged = settings.filter(|setting| !is_applied(setting));
    staged.map(name_and_value).take(STAGED_MAX).collect()
}

/// `<memory unit='KiB'>262144</memory>` as `memory: 262144`.
fn name_and_value(element: &str) -> String {
    let (tag, rest) = element.split_once('>').unwrap_or((element, ""));
    let name = tag.trim_start_matches('<').split(' ').next();
    let value = rest.split('<').next();
    format!(
        "{}: {}",
        name.unwrap_or_default(),
        value.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_need_a_new_qemu_process_are_staged() {
        let current = "<domstatus>\n  <domain type='qemu' id='1'>\n    <memory unit='KiB'>196608</memory>\n\
                       \x20   <vcpu placement='static'>1</vcpu>\n  </domain>\n</domstatus>\n";
        let next = "<domain type='qemu'>\n  <memory unit='KiB'>262144</memory>\n\
                    \x20 <vcpu placement='static'>1</vcpu>\n  <devices>\n    <emulator>/x</emulator>\n";
        assert_eq!(staged(current, next), ["memory: 262144"]);
    }
}
