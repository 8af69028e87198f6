//! Sizes and times as programs read and print them.

use std::time::Duration;

/// `5`, `0.5`, `5s`, `2m` as a duration.
pub(in crate::shell) fn seconds(word: &str) -> Option<Duration> {
    let (number, factor) = match word.strip_suffix('m') {
        Some(minutes) => (minutes, 60.0),
        None => (word.trim_end_matches('s'), 1.0),
    };
    let value: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(value * factor).ok()
}

/// `0`, `10M`, `1G` in bytes.
pub(super) fn bytes(word: &str) -> Option<u64> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = word[digits.len()..].chars().next().unwrap_or(' ');
    let power = "KMGT".find(unit.to_ascii_uppercase());
    let shift = power.map_or(0, |power| 10 * (power + 1));
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Bytes as `df -h`, `du -h` and `ls -h` round them: up, with one decimal below ten.
pub(super) fn human(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = bytes * 10;
    while tenths >= 10_240 && unit < 5 {
        tenths = tenths.div_ceil(1024);
        unit += 1;
    }
    let letter = ["", "K", "M", "G", "T", "P"][unit];
    match tenths {
        _ if unit == 0 => bytes.to_string(),
        0..=99 => format!("{}.{}{letter}", tenths / 10, tenths % 10),
        _ => format!("{}{letter}", tenths.div_ceil(10)),
    }
}

/// Tenths of a percent as `12.3`.
pub(super) fn percent(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A duration as `systemctl status` prints it.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}min {}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {}min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}
