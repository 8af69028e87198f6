//! What a CLI of any version, or something that answers in its place, can print: no bytes make the
//! decoder panic, and what a line means depends on its bytes alone.
#![no_main]

use breakglass_agent::wire::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(meant) = decode(line) else { continue };
        let copy = line.to_vec();
        let again = decode(&copy).expect("a line that was read is read again");
        assert_eq!(format!("{meant:?}"), format!("{again:?}"));
        // The CLI may end its lines as it likes.
        let padded = [line, b" \r"].concat();
        let padded = decode(&padded).expect("blanks after a line change nothing");
        assert_eq!(format!("{meant:?}"), format!("{padded:?}"));
    }
});
