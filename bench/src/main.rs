//! Measures every figure of docs/figures.md in one run: ours and the alternative in turn, on the same machine
//! in the same minute, so that the ratios are comparable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark must not print a figure that it could not measure; it panics instead"
)]

mod bastion;
mod decode;
mod fanout;
mod gate;
mod page;
mod raw;
mod replay;
mod sandbox;
mod server;
mod start;
mod stats;
mod turn;
mod verb;

/// A figure by name, and the function that measures and prints it.
type Figure = (&'static str, fn());

const FIGURES: [Figure; 10] = [
    ("verb", verb::run),
    ("bastion", bastion::run),
    ("turn", turn::run),
    ("sandbox", sandbox::run),
    ("start", start::run),
    ("replay", replay::run),
    ("fanout", fanout::run),
    ("decode", decode::run),
    ("page", page::run),
    ("gate", gate::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (name, run) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
        }
    }
}
