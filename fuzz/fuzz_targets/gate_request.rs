//! Input from a client or a broken policy file: nothing panics, and every line that parses as a
//! request is, byte for byte, an entry of the table.
#![no_main]

use breakglass_gate::{DriverKind, Policy};
use breakglass_verbs::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Some(request) = Request::parse(&text) {
        assert_eq!(request.to_string(), text);
    }
    match Policy::parse(&text, "gate.toml") {
        Ok(Policy {
            driver: DriverKind::Qm,
            guest,
            ..
        }) => {
            assert!(guest.bytes().all(|byte| byte.is_ascii_digit()));
        }
        // virsh can't mistake the name for an option, nor can a path use it as a parent directory.
        Ok(policy) => assert!(
            policy
                .guest
                .starts_with(|c: char| c.is_ascii_alphanumeric())
        ),
        Err(errors) => assert!(!errors.0.is_empty()),
    }
});
