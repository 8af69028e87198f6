//! What a client or a broken policy file can feed the gate: nothing panics, and whatever parses as
//! a request is, byte for byte, an entry of the table.
#![no_main]

use breakglass_gate::{Kind, Policy};
use breakglass_verbs::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Some(request) = Request::parse(&text) {
        assert_eq!(request.to_string(), text);
    }
    match Policy::parse(&text, "gate.toml") {
        Ok(Policy {
            kind: Kind::Qm,
            guest,
            ..
        }) => {
            assert!(guest.bytes().all(|byte| byte.is_ascii_digit()));
        }
        // Nothing that virsh could take for an option, or a path for a parent.
        Ok(policy) => assert!(
            policy
                .guest
                .starts_with(|c: char| c.is_ascii_alphanumeric())
        ),
        Err(errors) => assert!(!errors.0.is_empty()),
    }
});
