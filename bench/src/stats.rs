//! Medians and ratios, and one way to print them.

use std::time::{Duration, Instant};

/// Milliseconds of one run of `what`.
pub(crate) fn time(what: impl FnOnce()) -> f64 {
    let started = Instant::now();
    what();
    millis(started.elapsed())
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The value below which `share` of the samples lie.
pub(crate) fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = ((samples.len() - 1) as f64 * share).round() as usize;
    samples[index]
}

/// The middle value.
pub(crate) fn median(samples: &mut [f64]) -> f64 {
    percentile(samples, 0.5)
}

/// Runs the two in turn, `rounds` times after one round of warm-up; gives both medians.
pub(crate) fn paired(
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> (f64, f64) {
    ours();
    theirs();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        a.push(ours());
        b.push(theirs());
    }
    (median(&mut a), median(&mut b))
}

/// One line of the table.
pub(crate) fn print(name: &str, ours: &str, against: &str, ratio: Option<f64>, goal: &str) {
    let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}×"));
    println!("| {name} | {ours} | {against} | {ratio} | {goal} |");
}
