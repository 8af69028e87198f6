//! The size of the first visit.

use crate::server::{Deployment, Server};
use crate::stats;

/// Files that a browser requests at the first visit, besides those in `index.html`.
const FIXED: [&str; 2] = ["/", "/manifest.webmanifest"];

pub(crate) fn run() {
    let deployment = Deployment::without_target();
    let server = Server::start(&deployment);
    let index = server.get_text("/");
    let named = index
        .split('"')
        .filter(|part| part.starts_with("/assets/") || part.starts_with("./assets/"));
    let paths: Vec<String> = FIXED
        .iter()
        .map(|path| (*path).to_owned())
        .chain(named.map(|path| path.trim_start_matches('.').to_owned()))
        .collect();
    let total: usize = paths.iter().map(|path| server.encoded_length(path)).sum();
    let kilobytes = format!("{:.1} kB", total as f64 / 1000.0);
    stats::print(
        "page, compressed bytes of the first visit",
        &kilobytes,
        "–",
        None,
        "≤ 60 kB",
    );
}
