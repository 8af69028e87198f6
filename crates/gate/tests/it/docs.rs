//! The policy in the documentation is valid.
use std::fs;
use std::path::Path;

use breakglass_gate::Policy;

#[test]
fn documented_policy_is_valid_and_shows_the_defaults() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gate.md");
    let page = fs::read_to_string(page).unwrap();
    let shown = page.split("```toml\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let least = "driver = \"qm\"\nguest = 102\n";
    assert_eq!(
        Policy::parse(shown, "docs/gate.md"),
        Policy::parse(least, "least")
    );
    assert!(Policy::parse(shown, "docs/gate.md").is_ok());
}
