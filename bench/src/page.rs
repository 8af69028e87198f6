//! What the first visit costs on a slow link.

use crate::server::{Deployment, Server};
use crate::stats;

/// What a browser asks for at the first visit, besides what `index.html` names.
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
