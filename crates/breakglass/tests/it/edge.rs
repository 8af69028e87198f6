//! Which peers may name the operator in a header: a server in a network of its own, and a
//! proxy beside it.

use std::path::Path;
use std::process::{Child, Command};

use crate::common::serve::{TOKEN, keygen};
use crate::common::{Ended, breakglass, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// Every address that a proxy could have is trusted: the pod's network, loopback, link-local.
const TRUSTED: &str = r#"["10.42.0.0/16", "127.0.0.0/8", "fd00:42::/32", "::1/128", "fe80::/10"]"#;
const USER: &str = "x-authentik-username: ann";

/// A pod: a network of its own, with a server in it, and a second network, joined by a cable.
struct Pod {
    server: Ended,
    edge: Ended,
    _dir: TempDir,
}

impl Pod {
    fn start() -> Pod {
        Pod::with("enabled = false\n")
    }

    /// A pod whose agent runs in a container beside the server, as in Kubernetes.
    fn with_runner() -> Pod {
        Pod::with("runner = \"{dir}/runner.sock\"\n[limits]\nconnections = 16\n")
    }

    /// `agent` is that section of the configuration.
    fn with(agent: &str) -> Pod {
        assert!(
            rustix::process::geteuid().is_root(),
            "a network of its own takes root: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), agent);
        let server = in_new_network(
            "ip link set lo up; ip addr add 10.42.3.4/32 dev lo; exec \"$@\"",
            breakglass()
                .arg("serve")
                .arg("--config")
                .arg(dir.path().join("config.toml")),
        );
        let edge = in_new_network(
            "ip link set lo up; exec \"$@\"",
            Command::new("sleep").arg("300"),
        );
        let pod = Pod {
            server,
            edge,
            _dir: dir,
        };
        pod.lay_cable();
        wait_until("the server answers", || {
            let asked = pod.curl(&pod.server, &["http://127.0.0.1:8080/health"]);
            asked.contains("ok").then_some(())
        });
        pod
    }

    /// The server's end has 10.42.8.1 and fd00:42:8::1, the proxy's end 10.42.8.2 and so on, and the
    /// guest's address too.
    fn lay_cable(&self) {
        let [server, edge] = [&self.server, &self.edge].map(|end| end.0.id().to_string());
        run(Command::new("ip").args([
            "link", "add", "eth0", "netns", &server, "type", "veth", "peer", "name", "eth0",
            "netns", &edge,
        ]));
        for (end, last) in [(&self.server, 1), (&self.edge, 2)] {
            self.ip(
                end,
                &["addr", "add", &format!("10.42.8.{last}/24"), "dev", "eth0"],
            );
            let v6 = format!("fd00:42:8::{last}/64");
            self.ip(end, &["addr", "add", &v6, "dev", "eth0", "nodad"]);
            self.ip(end, &["link", "set", "eth0", "up"]);
        }
        self.ip(&self.edge, &["addr", "add", "10.42.8.99/24", "dev", "eth0"]);
    }

    fn ip(&self, end: &Ended, args: &[&str]) {
        run(enter(end).arg("ip").args(args));
    }

    fn curl(&self, end: &Ended, args: &[&str]) -> String {
        let mut curl = enter(end);
        curl.args(["curl", "-sS", "-g", "--noproxy", "*", "--max-time", "20"]);
        let output = curl.args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The response to a request with the user header from `from` to `to`.
    fn ask(&self, end: &Ended, from: &str, to: &str, more: &[&str]) -> Value {
        let url = format!("http://{to}:8080/api/me");
        let args = [&["--interface", from, "-H", USER, &url], more].concat();
        let said = self.curl(end, &args);
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{from} to {to}: {said:?}"))
    }

    fn believes_the_edge(&self) {
        for (from, to) in [
            ("10.42.8.2", "10.42.8.1"),
            ("fd00:42:8::2", "[fd00:42:8::1]"),
        ] {
            let said = self.ask(&self.edge, from, to, &[]);
            assert_eq!(said["identity"], "ann", "{from}: {said}");
        }
    }

    fn is_refused(&self, from: &str, to: &str) {
        let said = self.ask(&self.server, from, to, &[]);
        let why = said["detail"].as_str().unwrap_or_default();
        assert_eq!(said["status"], 401, "{from} to {to}: {said}");
        assert!(why.contains("own addresses"), "{from} to {to}: {said}");
    }
}

fn write_files(dir: &Path, agent: &str) {
    keygen(&dir.join("key"));
    std::fs::write(dir.join("token"), TOKEN).unwrap();
    std::fs::write(dir.join("known_hosts"), "").unwrap();
    let shown = dir.display();
    let agent = agent.replace("{dir}", &shown.to_string());
    let config = format!(
        "listen = \"[::]:8080\"\nmetrics_listen = \"[::]:9090\"\ndata_dir = \"{shown}/data\"\n\
         [auth]\ntoken_file = \"{shown}/token\"\ntrusted_proxies = {TRUSTED}\n\
         [ssh]\nkey_file = \"{shown}/key\"\nknown_hosts = \"{shown}/known_hosts\"\n\
         [agent]\n{agent}[[targets]]\nname = \"devvm\"\nguest = {{ host = \"10.42.8.99\", user = \"ann\" }}\n\
         host = {{ host = \"10.43.0.1\", user = \"root\" }}\n"
    );
    std::fs::write(dir.join("config.toml"), config).unwrap();
}

/// Starts `program` in a new network namespace, after `prelude`.
fn in_new_network(prelude: &str, program: &Command) -> Ended {
    let mut shell = Command::new("unshare");
    shell.args(["--net", "sh", "-ec", prelude, "sh"]);
    shell.arg(program.get_program()).args(program.get_args());
    shell.env_remove("BREAKGLASS_SERVER");
    let ended = Ended(shell.stdout(std::process::Stdio::null()).spawn().unwrap());
    let ours = network_of(std::process::id());
    wait_until("the network is there", || {
        let now = network_of(ended.0.id());
        (now.is_some() && now != ours && is_up(&ended.0)).then_some(())
    });
    ended
}

fn network_of(process: u32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

fn is_up(child: &Child) -> bool {
    let devices = std::fs::read_to_string(format!("/proc/{}/net/if_inet6", child.id()));
    devices.is_ok_and(|devices| devices.contains(" lo"))
}

fn enter(end: &Ended) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", end.0.id()));
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn local_addresses_are_never_proxies_and_the_neighbouring_proxy_is() {
    let pod = Pod::start();
    for (from, to) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.9", "127.0.0.1"),
        ("::1", "[::1]"),
        ("10.42.3.4", "10.42.3.4"),
        // A local address other than the destination.
        ("10.42.8.1", "10.42.3.4"),
        ("10.42.3.4", "127.0.0.1"),
        ("127.0.0.1", "10.42.8.1"),
        ("fd00:42:8::1", "[fd00:42:8::1]"),
        ("fd00:42:8::1", "[::1]"),
    ] {
        pod.is_refused(from, to);
    }
    pod.believes_the_edge();
}

#[test]
fn address_added_later_counts_as_local() {
    let pod = Pod::start();
    pod.ip(&pod.server, &["addr", "add", "10.42.77.7/32", "dev", "lo"]);
    pod.ip(
        &pod.server,
        &["addr", "add", "fd00:42:77::7/128", "dev", "lo", "nodad"],
    );
    pod.is_refused("10.42.77.7", "127.0.0.1");
    pod.is_refused("fd00:42:77::7", "[::1]");
    // A whole network routed to this machine, without an address on an interface.
    pod.ip(
        &pod.server,
        &["route", "add", "local", "10.42.78.0/24", "dev", "lo"],
    );
    pod.is_refused("10.42.78.5", "10.42.3.4");
}

#[test]
fn link_local_addresses_of_the_server_are_never_proxies() {
    let pod = Pod::start();
    let listed = enter(&pod.server)
        .args([
            "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link",
        ])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let address = listed.split_whitespace().nth(3).unwrap();
    let address = address.split('/').next().unwrap();
    wait_until("the address may be used", || {
        let args = [
            "-sf",
            "--interface",
            "eth0",
            &format!("http://[{address}%25eth0]:8080/health"),
        ];
        pod.curl(&pod.server, &args).contains("ok").then_some(())
    });
    pod.is_refused("eth0", &format!("[{address}%25eth0]"));
}

#[test]
fn local_addresses_are_recognised_with_nonlocal_bind() {
    let pod = Pod::start();
    for family in ["ipv4", "ipv6"] {
        let setting = format!("net.{family}.ip_nonlocal_bind=1");
        run(enter(&pod.server).args(["sysctl", "-qw", &setting]));
    }
    pod.is_refused("10.42.8.1", "10.42.3.4");
    pod.is_refused("fd00:42:8::1", "[::1]");
    pod.believes_the_edge();
}

#[test]
fn guest_in_a_trusted_network_is_no_proxy_and_the_token_works_from_anywhere() {
    let pod = Pod::start();
    let said = pod.ask(&pod.edge, "10.42.8.99", "10.42.8.1", &[]);
    assert_eq!(said["status"], 401, "{said}");
    assert!(
        said["detail"].as_str().unwrap().contains("a guest's"),
        "{said}"
    );
    let bearer = format!("authorization: Bearer {TOKEN}");
    for (end, from, to) in [
        (&pod.edge, "10.42.8.99", "10.42.8.1"),
        (&pod.server, "127.0.0.1", "127.0.0.1"),
    ] {
        let said = pod.ask(end, from, to, &["-H", &bearer]);
        assert_eq!(said["identity"], "operator", "{from}: {said}");
    }
}

#[test]
fn readiness_is_red_if_a_trusted_network_contains_a_local_address() {
    let pod = Pod::start();
    let examined = enter(&pod.server)
        .arg(breakglass().get_program())
        .args(["doctor", "--json", "--config"])
        .arg(pod._dir.path().join("config.toml"))
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&examined.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "config.trusted_proxies");
    let check = check.unwrap();
    assert_eq!(check["state"], "red", "{check}");
    assert!(
        check["evidence"].as_str().unwrap().contains("10.42."),
        "{check}"
    );
    assert!(
        check["remedy"].as_str().unwrap().contains("of its own"),
        "{check}"
    );
}

/// curl options that print only the status.
const STATUS: [&str; 4] = ["-o", "/dev/null", "-w", "%{http_code}"];

#[test]
fn with_a_runner_local_addresses_get_the_page_and_token_access_but_no_metrics() {
    let pod = Pod::with_runner();
    let bearer = format!("authorization: Bearer {TOKEN}");
    let status = |end: &Ended, args: &[&str]| pod.curl(end, &[&STATUS[..], args].concat());
    // Like a connection of `kubectl port-forward`.
    for (path, header, expected) in [
        (":8080/health", "a: b", "200"),
        (":8080/", "a: b", "200"),
        (":8080/api/me", &*bearer, "200"),
        (":8080/api/me", USER, "401"),
        (":8080/metrics", "a: b", "401"),
        (":8080/metrics", &bearer, "200"),
        (":9090/metrics", "a: b", "403"),
        (":9090/metrics", &bearer, "403"),
        (":9090/other", "x-forwarded-for: 10.42.8.2", "403"),
    ] {
        for address in ["127.0.0.1", "10.42.8.1", "[::1]", "[fd00:42:8::1]"] {
            let url = format!("http://{address}{path}");
            let said = status(&pod.server, &["-H", header, &url]);
            assert_eq!(said, expected, "{url} with {header}");
        }
    }
    for address in ["10.42.8.1", "[fd00:42:8::1]"] {
        let url = format!("http://{address}:9090/metrics");
        assert_eq!(status(&pod.edge, &[&url]), "200", "{url}");
    }
}

#[test]
fn token_guesses_from_many_local_addresses_count_as_one_peer() {
    let pod = Pod::with_runner();
    let wrong = format!("authorization: Bearer {}", TOKEN.replace('a', "b"));
    let guess = |end: &Ended, from: &str, to: &str| {
        let url = format!("http://{to}:8080/api/me");
        let args = ["--interface", from, "-H", &wrong, &url];
        pod.curl(end, &[&STATUS[..], &args].concat())
    };
    for last in 1..=10 {
        let from = format!("127.0.0.{last}");
        assert_eq!(guess(&pod.server, &from, "127.0.0.1"), "401", "{from}");
    }
    for from in ["127.0.0.11", "10.42.8.1", "10.42.3.4"] {
        assert_eq!(guess(&pod.server, from, "10.42.8.1"), "429", "{from}");
    }
    assert_eq!(guess(&pod.server, "fd00:42:8::1", "[::1]"), "429");
    assert_eq!(guess(&pod.edge, "10.42.8.2", "10.42.8.1"), "401");
    let bearer = format!("authorization: Bearer {TOKEN}");
    let said = pod.ask(&pod.server, "127.0.0.1", "127.0.0.1", &["-H", &bearer]);
    assert_eq!(said["identity"], "operator", "{said}");
}

#[test]
fn agent_that_exhausts_its_connections_does_not_block_others() {
    let pod = Pod::with_runner();
    // The configuration allows 16 connections, two of them from local addresses.
    let hold = "while :; do for n in 1 2 3 4 5 6 7 8; do exec {one}<>/dev/tcp/127.0.0.1/8080; done; sleep 1; done";
    let mut holder = enter(&pod.server);
    let _holder = Ended(holder.args(["bash", "-c", hold]).spawn().unwrap());
    let health = |end: &Ended, address: &str| {
        let url = format!("http://{address}:8080/health");
        pod.curl(end, &[&STATUS[..], &[&url]].concat())
    };
    wait_until("an own address is turned away", || {
        (health(&pod.server, "10.42.8.1") == "503").then_some(())
    });
    assert_eq!(health(&pod.edge, "10.42.8.1"), "200");
}
