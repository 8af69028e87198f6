//! The agent's sandbox as the doctor sees it: tried from inside, and red by name where something gets out.

use std::process::Command;

use super::deployment::{Deployment, Said};
use crate::common::breakglass;

/// The doctor where a `bwrap` of the test's own comes first.
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

/// A `bwrap` that leaves one flag out.
fn without(flag: &str) -> String {
    format!(
        "all=(); for word; do [ \"$word\" = {flag} ] || all+=(\"$word\"); done\nexec /usr/bin/bwrap \"${{all[@]}}\""
    )
}

#[test]
fn a_sandbox_that_holds_is_green_with_how_often_it_was_tried_and_what_it_reaches() {
    let deployment = Deployment::new();
    deployment.edit("[agent]\n", "[agent]\negress = [\"proxy.example:8443\"]\n");
    let said = deployment.doctor();
    said.is(&[], "");
    let evidence = said.check("agent.sandbox")["evidence"].to_string();
    for word in [
        "attempts from inside",
        "none got out",
        "devvm",
        "pve",
        "api.anthropic.com:443",
        "proxy.example:8443",
    ] {
        assert!(evidence.contains(word), "{evidence}");
    }
}

#[test]
fn a_sandbox_with_a_hole_is_red_and_names_it() {
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
fn without_a_sandbox_the_check_is_amber_and_says_why_and_what_the_agent_may_do() {
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
fn a_running_server_tries_its_sandbox_too() {
    let deployment = Deployment::new();
    let serving = deployment.serve();
    serving.examined();
    assert_eq!(serving.states(["agent.sandbox"]), ["green"]);
}
