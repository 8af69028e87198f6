//! The configuration parser with arbitrary text.

use std::ffi::OsString;
use std::fs;

use breakglass_config::Config;
use proptest::prelude::*;

/// Text that is valid TOML more often than noise is: the reference file with a part replaced.
fn nearly_a_configuration() -> impl Strategy<Value = String> {
    let reference = include_str!("../../../../docs/config.toml");
    let plain: String = reference
        .lines()
        .map(|line| format!("{}\n", uncommented(line)))
        .collect();
    let length = plain.chars().count();
    (0..length, 0..40usize, ".{0,12}").prop_map(move |(start, cut, put)| {
        let before: String = plain.chars().take(start).collect();
        let after: String = plain.chars().skip(start + cut).collect();
        format!("{before}{put}{after}")
    })
}

/// The line, as a setting if it is a commented-out one.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix("# ") {
        Some(rest) if rest.split(' ').nth(1) == Some("=") => rest,
        _ => line,
    }
}

/// The result is a configuration, or errors with text.
fn load(text: &str, variables: Vec<(OsString, OsString)>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("breakglass.toml");
    fs::write(&file, text).unwrap();
    if let Err(errors) = Config::load(Some(&file), variables) {
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| !error.to_string().is_empty()));
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_configuration_parser_panic(text in "\\PC{0,200}|[\\[\\]={}\"a-z_.0-9\n #]{0,200}") {
        load(&text, Vec::new());
    }

    #[test]
    fn no_change_to_the_reference_file_makes_the_parser_panic(text in nearly_a_configuration()) {
        load(&text, Vec::new());
    }

    #[test]
    fn no_environment_variable_makes_the_parser_panic(name in "[A-Z_0-9]{0,40}", value in ".{0,40}") {
        load("", vec![(format!("BREAKGLASS_{name}").into(), value.into())]);
    }
}

#[test]
fn example_overlay_trusts_only_the_ingress_controller() {
    let overlay = include_str!("../../../../deploy/kubernetes/overlays/example/config.toml");
    let overlay: toml::Table = overlay.parse().unwrap();
    let listed = overlay["auth"]["trusted_proxies"].as_array().unwrap();
    assert!(!listed.is_empty());
    for proxy in listed {
        let proxy = proxy.as_str().unwrap();
        assert!(
            proxy.parse::<std::net::IpAddr>().is_ok(),
            "{proxy} is a network"
        );
    }
}
