//! Commands of the agent: no bytes make the rules panic, and no change can be appended to a read-only line
//! unnoticed.
#![no_main]

use std::sync::LazyLock;

use breakglass_bastion::{Judgement, Rules};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Rules> =
    LazyLock::new(|| Rules::built_in().unwrap_or_else(|error| panic!("{error}")));

fuzz_target!(|data: &[u8]| {
    if let Judgement::Reads(rules) = RULES.judge(data) {
        assert!(!rules.is_empty());
        for tail in [
            &b"; rm x"[..],
            b"\nrm x",
            b" > x",
            b" $(rm x)",
            b"`rm x`",
            b" & rm x",
            b" \\",
        ] {
            let line = [data, tail].concat();
            assert!(matches!(RULES.judge(&line), Judgement::Changes(_)));
        }
    }
});
