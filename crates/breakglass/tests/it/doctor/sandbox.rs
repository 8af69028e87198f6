//! The check of the agent's sandbox: tested from inside, and red with the name of a hole.

use std::process::Command;

use super::deployment::{Deployment, Said};
use crate::common::breakglass;

/// `breakglass doctor` with the test's own `bwrap` first on the PATH.
fn doctor_with_bwrap(deployment: &Deployment, script: &str) -> Said {
    std::fs::create_dir_all(deployment.path("bin")).unwrap();
    deployment.write("bin/bwrap", &format!("#!/bin/bash\n{script}\n"), 0o755);
    let path = std::env::var("PATH").unwrap();
    let mut command: Command = breakglass();
    command.env("PATH", format!("{}:{path}", deployment.shown("bin")));
    command.args(["doctor", "--json", "--config"]);
    Said::by({
        command.arg(deployment.path("config.toml"));
        command
    })
}

/// A `bwrap` that omits one flag.
fn without(flag: &str) -> String {
    format!(
        "all=(); for word; do [ \"$word\" = {flag} ] || all+=(\"$word\"); done\nexec /usr/bin/bwrap \"${{all[@]}}\""
    )
}

#[test]
fn working_sandbox_is_green_with_its_attempts_and_destinations() {
    let deployment = Deployment::new();
    deployment.edit("[agent]\n", "[agent]\negress = [\"proxy.example:8443\"]\n");
    let said = deployment.doctor();
    said.is(&[], "");
    let evidence = said.check("agent.sandbox")["evidence"].to_string();
    for word in [
        "attempts from inside",
        "were refused",
        "devvm",
        "pve",
        "api.anthropic.com:443",
        "proxy.example:8443",
    ] {
        assert!(evidence.contains(word), "{evidence}");
    }
}

#[test]
fn sandbox_with_a_hole_is_red_and_the_hole_is_named() {
    let deployment = Deployment::new();
    let said = doctor_with_bwrap(&deployment, &without("--unshare-net"));
    let check = said.check("agent.sandbox");
    assert_eq!(check["state"], "red", "{check}");
    let evidence = check["evidence"].as_str().unwrap();
    assert!(
        evidence.contains("the agent can send to an address outside"),
        "{evidence}"
    );
    assert_eq!(said.code, Some(1));
}

#[test]
fn missing_sandbox_is_amber_with_reason_and_autonomy_ceiling() {
    let deployment = Deployment::new();
    let said = doctor_with_bwrap(&deployment, "echo no namespaces here >&2; exit 1");
    let remedies = said.is(&[("agent.sandbox", "amber")], "agent.sandbox");
    assert_eq!(remedies.len(), 1);
    let evidence = said.check("agent.sandbox")["evidence"].as_str().unwrap();
    assert!(evidence.contains("no namespaces here"), "{evidence}");
    assert!(
        evidence.contains("asks before it changes anything"),
        "{evidence}"
    );
    deployment.edit("[agent]\n", "[agent]\nsandbox = \"none\"\n");
    let said = deployment.doctor();
    said.is(&[("agent.sandbox", "amber")], "agent.sandbox");
    let evidence = said.check("agent.sandbox")["evidence"].as_str().unwrap();
    assert!(evidence.contains("by the configuration"), "{evidence}");
}

#[test]
fn running_server_tests_its_sandbox() {
    let deployment = Deployment::new();
    let serving = deployment.serve();
    serving.examined();
    assert_eq!(serving.states(["agent.sandbox"]), ["green"]);
}
