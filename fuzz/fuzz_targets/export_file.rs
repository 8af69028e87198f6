//! A file that claims to be an exported incident: no bytes make the verification panic, and it accepts only
//! bytes that a log has chained.
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
