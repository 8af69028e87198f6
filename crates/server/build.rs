//! Compresses the built page (`web/dist`) and writes it as a table of assets for `web.rs`.
//!
//! This happens at build time, so that serving is a copy. A checkout without the page still builds:
//! the page is then one sentence with the build instructions.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

const PAGE_NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>breakglass</title>\
                       <p>The page is not built. Run <code>just web</code>, then build again.\n";

fn main() -> io::Result<()> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &dist, &mut files)?;
    }
    if !files.iter().any(|(path, _)| path == "/") {
        println!(
            "cargo::warning=web/dist has no index.html, so the page is a placeholder. Run: just web"
        );
        files.push(("/".to_owned(), PAGE_NOT_BUILT.as_bytes().to_vec()));
    }
    files.sort();
    let mut table = String::from("static ASSETS: &[Asset] = &[\n");
    for (index, (path, bytes)) in files.iter().enumerate() {
        entry(&mut table, &out, index, path, bytes)?;
    }
    table.push_str("];\n");
    fs::write(out.join("assets.rs"), table)
}

/// Collects every file below `dir`, except source maps, with its URL path.
fn collect(root: &Path, dir: &Path, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let name = path
            .strip_prefix(root)
            .map_err(io::Error::other)?
            .to_string_lossy();
        let served = if name == "index.html" {
            "/".to_owned()
        } else {
            format!("/{name}")
        };
        if !served.ends_with(".map") && !name.starts_with('.') {
            files.push((served, fs::read(&path)?));
        }
    }
    Ok(())
}

/// Writes the asset's files, and its entry in the table.
fn entry(table: &mut String, out: &Path, index: usize, path: &str, bytes: &[u8]) -> io::Result<()> {
    let store = |kind: &str, bytes: &[u8]| -> io::Result<String> {
        let file = out.join(format!("asset-{index}.{kind}"));
        fs::write(&file, bytes)?;
        Ok(format!("include_bytes!({:?})", file.display().to_string()))
    };
    let store_if_smaller = |kind: &str, packed: Vec<u8>| -> io::Result<String> {
        if packed.len() >= bytes.len() {
            return Ok("None".to_owned());
        }
        store(kind, &packed).map(|include| format!("Some({include})"))
    };
    let hash: String = Sha256::digest(bytes)[..8]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let plain = store("plain", bytes)?;
    let br = store_if_smaller("br", brotli(bytes)?)?;
    let gz = store_if_smaller("gz", gzip(bytes)?)?;
    writeln!(
        table,
        "Asset {{ path: {path:?}, kind: {:?}, hash: {hash:?}, immutable: {}, plain: {plain}, \
         brotli: {br}, gzip: {gz} }},",
        kind(path),
        path.starts_with("/assets/"),
    )
    .map_err(io::Error::other)
}

fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = brotli::CompressorWriter::new(Vec::new(), 4096, 11, 22);
    packed.write_all(bytes)?;
    packed.flush()?;
    Ok(packed.into_inner())
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes)?;
    packed.finish()
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "" | "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
