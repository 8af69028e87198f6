//! The verb `status`: over HTTP, against an exec on the same kind of warm connection, and
//! against one `ssh` process a call. Real sshd, real gate.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use breakglass_control::ssh::{Session, load_key};
use breakglass_control::{Endpoint, HostKeyPolicy, SshOptions};
use breakglass_rig::gate::GateHost;

use crate::server::{Deployment, Server};
use crate::stats;

const ROUNDS: usize = 30;
const PATH: &str = "/api/targets/devvm/verbs/status?wait=true";

pub(crate) fn run() {
    let mut deployment = Deployment::without_target();
    let public = std::fs::read_to_string(deployment.key_file().with_extension("pub")).unwrap();
    let host = GateHost::running(public.trim());
    let (port, user) = (host.sshd.port, host.sshd.user());
    let address = format!("{{ host = \"127.0.0.1\", port = {port}, user = \"{user}\" }}");
    deployment.point_at(&format!("guest = {address}\nhost = {address}"));
    let server = Server::start(&deployment);
    let http = || {
        let answer = server.ask("POST", PATH, "");
        assert!(answer.contains("\"verdict\":\"running\""), "{answer}");
    };

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let key = Arc::new(load_key(&deployment.key_file()).unwrap());
    let mut options = SshOptions::new(key, deployment.dir().join("session_known_hosts"));
    options.host_keys = HostKeyPolicy::TrustFirst;
    let endpoint = Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
        user: user.clone(),
    };
    let session = Session::new(endpoint, options);
    let exec = || {
        let run = session.run("status", Duration::from_secs(20), |_, _| {});
        assert_eq!(runtime.block_on(run).unwrap(), Some(0));
    };
    let (ours, warm) = stats::paired(ROUNDS, || stats::time(http), || stats::time(exec));
    print("exec on a warm connection", ours, warm, "≤ 1.1×");

    let ssh = || ssh_process(&deployment, port, &user);
    let (ours, process) = stats::paired(ROUNDS, || stats::time(http), || stats::time(ssh));
    print("one ssh process a call", ours, process, "≤ 0.5×");
}

fn print(against: &str, ours: f64, theirs: f64, goal: &str) {
    let ratio = Some(ours / theirs);
    let against = format!("{against}: {theirs:.1} ms");
    stats::print(
        "verb `status` over HTTP",
        &format!("{ours:.1} ms"),
        &against,
        ratio,
        goal,
    );
}

fn ssh_process(deployment: &Deployment, port: u16, user: &str) {
    let status = Command::new("ssh")
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
        ])
        .args([
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "IdentitiesOnly=yes",
        ])
        .arg("-i")
        .arg(deployment.key_file())
        .args([
            "-p",
            &port.to_string(),
            &format!("{user}@127.0.0.1"),
            "status",
        ])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}
