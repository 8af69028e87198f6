//! The command line's exit codes, and errors that say what to do next.

use crate::common::{breakglass, run};

#[test]
fn unknown_command_is_a_usage_error() {
    assert_eq!(run(&["destroy"]).0, Some(2));
}

#[test]
fn verb_without_a_server_names_the_missing_flags() {
    let (code, text) = run(&["status"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("--server") && text.contains("--direct"),
        "{text}"
    );
}

#[test]
fn unreachable_server_is_exit_four_and_suggests_direct() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "x".repeat(43)).unwrap();
    let token = token.to_str().unwrap();
    let (code, text) = run(&[
        "status",
        "--target",
        "devvm",
        "--server",
        "http://127.0.0.1:9",
        "--token-file",
        token,
    ]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("--direct"), "{text}");
}

#[test]
fn direct_works_even_if_a_variable_names_a_server() {
    let output = breakglass()
        .args(["status", "--direct", "--config", "/nowhere.toml"])
        .env("BREAKGLASS_SERVER", "http://127.0.0.1:9")
        .env("BREAKGLASS_TOKEN_FILE", "/nowhere")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("/nowhere.toml"), "{text}");
    assert!(!text.contains("--server"), "{text}");
}

#[test]
fn invalid_configuration_reports_every_error_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "listen = \"nowhere\"\ncolour = \"red\"\n").unwrap();
    let (code, text) = run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{text}");
    for part in ["config.toml", "listen", "colour", "targets"] {
        assert!(text.contains(part), "{part} is missing from: {text}");
    }
}

#[test]
fn help_has_the_exit_codes_and_the_drill() {
    let (code, text) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("Exit codes") && text.contains("breakglass drill"),
        "{text}"
    );
}

#[test]
fn bridge_prints_the_agents_version_or_the_reason() {
    let greeting =
        r#"{"id":1,"result":{"protocolVersion":1,"agentInfo":{"name":"a","version":"7"}}}"#;
    let script = format!("echo '{greeting}'; exec sleep 60");
    let agent = ["acp", "--version", "--", "sh", "-c", &script];
    let (code, text) = run(&agent);
    assert_eq!((code, text.trim()), (Some(0), "a 7 (ACP 1)"));
    let (code, text) = run(&["acp", "--version", "--", "no-such-agent"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is no no-such-agent"), "{text}");
}
