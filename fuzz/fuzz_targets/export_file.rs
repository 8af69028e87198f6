//! A file that somebody sends as an exported incident: no bytes make the proof of it panic, and none
//! that were not chained by a record pass it.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("breakglass-fuzz-export-{}", std::process::id());
    std::env::temp_dir().join(name)
});

fuzz_target!(|data: &[u8]| {
    if let Err(error) = std::fs::write(&*FILE, data) {
        panic!("{}: {error}", FILE.display());
    }
    if let Ok(found) = breakglass_log::verify_export(&FILE) {
        assert!(found.fault.is_some() || found.events == 0);
    }
});
