//! What a CLI of any version, or something that answers in its place, can print: no bytes make the
//! decoder panic, and its quick way says what its careful way says.
#![no_main]

use breakglass_agent::wire::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let meant = decode(line).map(|line| format!("{line:?}"));
        // A line that does not begin as the CLI begins it is always read the careful way.
        let padded = [b" ", line, b" "].concat();
        if let Ok(careful) = decode(&padded) {
            assert_eq!(meant.ok(), Some(format!("{careful:?}")));
        }
    }
});
