//! Output of any CLI version or of another program in its place: no bytes make the decoder panic, its fast path and its
//! slow path agree, and the ids found in an unreadable line are the same wherever it is cut.
#![no_main]

use breakglass_agent::wire::{Outline, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let mut pieces = Outline::default();
        line.chunks(7).for_each(|piece| pieces.take(piece));
        let whole = Outline::of(line);
        assert_eq!(format!("{:?}", pieces.line()), format!("{:?}", whole.line()));
        let meant = decode(line).map(|line| format!("{line:?}"));
        // A line that does not begin as the CLI begins it is always read the careful way.
        let padded = [b" ", line, b" "].concat();
        if let Ok(careful) = decode(&padded) {
            assert_eq!(meant.ok(), Some(format!("{careful:?}")));
        }
    }
});
