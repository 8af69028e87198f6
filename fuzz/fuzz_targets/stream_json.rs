//! Input: the output of a CLI of any version, or of another program in its place. No bytes make the decoder
//! panic, and the excerpt of a line does not depend on how the line is cut.
#![no_main]

use breakglass_agent::wire::{Excerpt, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let mut pieces = Excerpt::default();
        line.chunks(7).for_each(|piece| pieces.push(piece));
        let whole = Excerpt::of(line);
        assert_eq!(format!("{:?}", pieces.line()), format!("{:?}", whole.line()));
        let _ = decode(line);
    }
});
