//! `breakglass doctor` on real parts: all is well, and then each link broken in turn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use breakglass_rig::gate::GateHost;
use breakglass_rig::sshd::Sshd;
use common::serve::{Served, TOKEN, keygen};
use common::{breakglass, run, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// A server's files, with a guest and a host behind real sshds: all is well.
struct Deployment {
    dir: TempDir,
    guest: Sshd,
    host: GateHost,
    public: String,
}

/// What the doctor said.
struct Said {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Deployment {
    fn new() -> Deployment {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("key"));
        let public = fs::read_to_string(dir.path().join("key.pub")).unwrap();
        let public = public.trim().to_owned();
        let deployment = Deployment {
            guest: Sshd::open(&public),
            host: GateHost::running(&public),
            dir,
            public,
        };
        let pins = deployment.guest.known_hosts() + &deployment.host.sshd.known_hosts();
        deployment.write("known_hosts", &pins, 0o600);
        deployment.write("token", TOKEN, 0o600);
        deployment.write("api_key", "sk-of-the-tests", 0o600);
        let version = "#!/bin/sh\necho '2.1.0 (Claude Code)'\n";
        deployment.write("claude", version, 0o755);
        deployment.write("config.toml", &deployment.config(), 0o644);
        deployment
    }

    fn config(&self) -> String {
        let dir = self.dir.path().display();
        let [guest, host] = [&self.guest, &self.host.sshd].map(|sshd| {
            let (port, user) = (sshd.port, sshd.user());
            format!("{{ host = \"127.0.0.1\", port = {port}, user = \"{user}\" }}")
        });
        format!(
            "listen = \"127.0.0.1:8080\"\ndata_dir = \"{dir}/data\"\n\
             [auth]\ntoken_file = \"{dir}/token\"\n\
             [ssh]\nkey_file = \"{dir}/key\"\nhost_keys = \"pin\"\nknown_hosts = \"{dir}/known_hosts\"\n\
             [agent]\ncommand = \"{dir}/claude\"\napi_key_file = \"{dir}/api_key\"\n\
             [[targets]]\nname = \"devvm\"\nguest = {guest}\nhost = {host}\n"
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        set_mode(&self.path(name), mode);
    }

    /// Changes the configuration.
    fn edit(&self, from: &str, to: &str) {
        let before = fs::read_to_string(self.path("config.toml")).unwrap();
        assert!(before.contains(from), "{before}");
        self.write("config.toml", &before.replacen(from, to, 1), 0o644);
    }

    /// Puts a program before all others of the guest.
    fn shadow(&mut self, programs: &[(&str, &str)]) {
        fs::create_dir_all(self.path("bin")).unwrap();
        for (name, script) in programs {
            self.write(
                &format!("bin/{name}"),
                &format!("#!/bin/sh\n{script}\n"),
                0o755,
            );
        }
        let bin = self.path("bin");
        self.guest.restart_with_path(&bin);
    }

    fn doctor(&self) -> Said {
        self.doctor_with(&[])
    }

    fn doctor_with(&self, args: &[&str]) -> Said {
        let output = breakglass()
            .args(["doctor", "--json", "--config"])
            .arg(self.path("config.toml"))
            .args(args)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {errors}"));
        Said {
            code: output.status.code(),
            checks: said["checks"].as_array().unwrap().clone(),
        }
    }

    /// Examines, and expects these checks alone in these states, besides what waits for them; each
    /// remedy names `word`.
    fn finds(&self, expected: &[(&str, &str)], word: &str) {
        let said = self.doctor();
        let mut found = Vec::new();
        for check in said.not_green() {
            let evidence = check["evidence"].as_str().unwrap();
            if evidence.starts_with("Not tried: ") {
                assert_eq!(check["state"], "amber", "{check}");
                continue;
            }
            let remedy = check["remedy"].as_str().unwrap();
            assert!(remedy.contains(word), "no {word:?} in {check}");
            let word = |key: &str| check[key].as_str().unwrap();
            found.push((word("name"), word("state")));
        }
        assert_eq!(found, expected, "{:#?}", said.checks);
        let red = expected.iter().any(|(_, state)| *state == "red");
        assert_eq!(said.code, Some(i32::from(red)));
    }
}

impl Said {
    fn not_green(&self) -> impl Iterator<Item = &Value> {
        self.checks.iter().filter(|check| check["state"] != "green")
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn all_is_green_where_all_is_well_and_nothing_is_left_behind() {
    let deployment = Deployment::new();
    let said = deployment.doctor();
    let wrong: Vec<_> = said.not_green().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(said.code, Some(0));
    let names: Vec<_> = said
        .checks
        .iter()
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    for name in [
        "ssh_key",
        "record",
        "devvm.guest.sudo",
        "devvm.host.no_terminal",
        "agent",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let left = fs::read_dir(deployment.path("data")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn a_key_that_is_missing_is_a_configuration_error_that_names_it() {
    let deployment = Deployment::new();
    fs::remove_file(deployment.path("key")).unwrap();
    let (code, text) = run(&["doctor", "--config", &deployment.shown("config.toml")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&deployment.shown("key")), "{text}");
}

#[test]
fn a_key_that_does_not_load_is_red_and_nothing_is_dialled() {
    let deployment = Deployment::new();
    deployment.write(
        "key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n",
        0o600,
    );
    deployment.finds(&[("ssh_key", "red")], &deployment.shown("key"));
    assert_eq!(deployment.guest.logins(), 0);
}

#[test]
fn a_key_that_everybody_can_read_is_red() {
    let deployment = Deployment::new();
    set_mode(&deployment.path("key"), 0o644);
    let remedy = format!("chmod 600 {}", deployment.shown("key"));
    deployment.finds(&[("ssh_key", "red")], &remedy);
}

#[test]
fn a_guest_that_is_down_is_red_and_what_follows_is_not_tried() {
    let mut deployment = Deployment::new();
    deployment.guest.kill();
    deployment.finds(&[("devvm.guest.reach", "red")], "ssh -v -p");
}

#[test]
fn a_guest_that_is_stalled_is_red_within_the_limit() {
    let deployment = Deployment::new();
    deployment.guest.freeze();
    let began = std::time::Instant::now();
    deployment.finds(&[("devvm.guest.reach", "red")], "ssh -v -p");
    deployment.guest.thaw();
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}

#[test]
fn a_guest_that_refuses_the_key_is_red_with_the_line_that_it_lacks() {
    let deployment = Deployment::new();
    deployment.guest.authorize("");
    let key = deployment.public.rsplit_once(' ').unwrap().0;
    deployment.finds(&[("devvm.guest.login", "red")], key);
}

#[test]
fn a_guest_with_another_host_key_is_red_and_the_file_of_pins_is_named() {
    let mut deployment = Deployment::new();
    deployment.guest.restart_with_another_key();
    let pins = deployment.shown("known_hosts");
    deployment.finds(&[("devvm.guest.host_key", "red")], &pins);
}

#[test]
fn a_guest_without_sudo_is_red() {
    let mut deployment = Deployment::new();
    let sudo = "echo 'sudo: a password is required' >&2; exit 1";
    deployment.shadow(&[("id", "echo 1000"), ("sudo", sudo)]);
    deployment.finds(&[("devvm.guest.sudo", "red")], "/etc/sudoers.d/breakglass");
}

#[test]
fn a_guest_whose_clock_is_wrong_is_amber_and_then_red() {
    let mut deployment = Deployment::new();
    deployment.shadow(&[("date", "echo $(($(/bin/date +%s) + 60))")]);
    deployment.finds(&[("devvm.guest.clock", "amber")], "timedatectl");
    deployment.shadow(&[("date", "echo 1000000000")]);
    deployment.finds(&[("devvm.guest.clock", "red")], "timedatectl");
}

#[test]
fn a_host_that_is_down_is_red() {
    let mut deployment = Deployment::new();
    deployment.host.sshd.kill();
    deployment.finds(&[("devvm.host.reach", "red")], "ssh -v -p");
}

#[test]
fn a_key_without_the_forced_command_is_red_in_all_that_it_opens() {
    let deployment = Deployment::new();
    let line = format!("restrict {}\n", deployment.public);
    deployment.host.sshd.authorize(&line);
    let opened = [
        ("devvm.host.gate", "red"),
        ("devvm.host.no_shell", "red"),
        ("devvm.host.no_command", "red"),
        ("devvm.host.no_other_guest", "red"),
    ];
    deployment.finds(
        &opened,
        "command=\"/usr/local/sbin/breakglass-gate\",restrict",
    );
    let said = deployment.doctor();
    let of = |name: &str| {
        said.checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap()
    };
    let shell = of("devvm.host.no_shell");
    assert!(
        shell["evidence"]
            .as_str()
            .unwrap()
            .contains("breakglass-42"),
        "{shell}"
    );
    assert!(
        shell["remedy"].as_str().unwrap().contains("command=\""),
        "{shell}"
    );
}

#[test]
fn a_key_without_restrict_is_red_in_terminal_and_forwarding() {
    let deployment = Deployment::new();
    let command = deployment.host.command();
    let line = format!("command=\"{command}\" {}\n", deployment.public);
    deployment.host.sshd.authorize(&line);
    let opened = [
        ("devvm.host.no_terminal", "red"),
        ("devvm.host.no_forwarding", "red"),
    ];
    deployment.finds(&opened, "authorized_keys");
}

#[test]
fn a_policy_that_others_can_write_is_red_and_named() {
    let deployment = Deployment::new();
    let policy = deployment.host.policy_file();
    set_mode(&policy, 0o666);
    deployment.finds(&[("devvm.host.gate", "red")], &policy.display().to_string());
}

#[test]
fn a_gate_without_vitals_is_amber() {
    let deployment = Deployment::new();
    let gate = deployment.host.command();
    let older = format!(
        "#!/bin/sh\ncase \"$SSH_ORIGINAL_COMMAND\" in vitals) echo 'refused: \"vitals\"' >&2; exit 2;; \
         esac\nexec {gate}\n"
    );
    deployment.write("older", &older, 0o755);
    let forced = deployment.shown("older");
    let line = format!("command=\"{forced}\",restrict {}\n", deployment.public);
    deployment.host.sshd.authorize(&line);
    deployment.finds(&[("devvm.host.vitals", "amber")], "scripts/install-gate.sh");
}

#[test]
fn a_cli_that_is_missing_is_red() {
    let deployment = Deployment::new();
    fs::remove_file(deployment.path("claude")).unwrap();
    deployment.finds(&[("agent", "red")], &deployment.shown("claude"));
}

#[test]
fn a_cli_without_a_login_is_red() {
    let deployment = Deployment::new();
    let line = format!("api_key_file = \"{}\"\n", deployment.shown("api_key"));
    deployment.edit(&line, "");
    deployment.finds(&[("agent", "red")], "agent.api_key_file");
}

#[test]
fn the_model_is_asked_only_where_that_is_asked_for() {
    let deployment = Deployment::new();
    let model = |ending: &str| {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--version*) echo '2.1.0 (Claude Code)'; exit;; esac\n\
             read -r ready; read -r prompt\necho '{{\"type\":\"result\",{ending}}}'\n"
        );
        deployment.write("claude", &script, 0o755);
    };
    let asked = || {
        let said = deployment.doctor_with(&["--ask-model"]);
        let of_model = said
            .checks
            .into_iter()
            .find(|check| check["name"] == "agent.model");
        of_model.unwrap()
    };
    model("\"is_error\":false,\"result\":\"ready\"");
    let unasked = deployment.doctor().checks;
    assert!(unasked.iter().all(|check| check["name"] != "agent.model"));
    assert_eq!(asked()["state"], "green");
    model("\"is_error\":true,\"result\":\"API Error: 401\"");
    let refused = asked();
    assert_eq!(refused["state"], "red");
    assert!(
        refused["evidence"].as_str().unwrap().contains("401"),
        "{refused}"
    );
}

#[test]
fn a_runner_that_does_not_run_is_red() {
    let deployment = Deployment::new();
    let line = format!(
        "command = \"{}\"\napi_key_file = \"{}\"\n",
        deployment.shown("claude"),
        deployment.shown("api_key")
    );
    deployment.edit(&line, "runner = \"/nowhere/runner.sock\"\n");
    deployment.finds(&[("agent", "red")], "breakglass runner --listen /nowhere");
}

#[test]
fn a_record_that_does_not_verify_is_red() {
    let deployment = Deployment::new();
    fs::create_dir(deployment.path("data")).unwrap();
    deployment.write("data/record.db", &"no database at all ".repeat(400), 0o600);
    deployment.finds(&[("record", "red")], "breakglass audit verify");
}

#[test]
fn a_data_directory_that_is_none_is_red() {
    let deployment = Deployment::new();
    deployment.write("data", "a file", 0o600);
    let data = deployment.shown("data");
    let said = deployment.doctor();
    let red = said.checks.iter().filter(|check| check["state"] == "red");
    let red: Vec<_> = red.map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(red, ["store", "agent.cell"], "{data}: {:#?}", said.checks);
}

#[test]
fn a_token_that_everybody_can_read_is_red() {
    let deployment = Deployment::new();
    set_mode(&deployment.path("token"), 0o644);
    let remedy = format!("chmod 600 {}", deployment.shown("token"));
    deployment.finds(&[("config.secrets", "red")], &remedy);
}

#[test]
fn settings_that_will_bite_later_are_amber_and_the_exit_code_is_0() {
    for (from, to, check, word) in [
        (
            "[auth]\n",
            "[auth]\ntrusted_proxies = [\"10.0.0.0/8\"]\n",
            "config.trusted_proxies",
            "auth.trusted_proxies",
        ),
        (
            "\"pin\"",
            "\"accept-any\"",
            "config.host_keys",
            "ssh.host_keys",
        ),
        ("127.0.0.1:8080", "0.0.0.0:8080", "config.listen", "listen"),
    ] {
        let deployment = Deployment::new();
        deployment.edit(from, to);
        deployment.finds(&[(check, "amber")], word);
    }
}

#[test]
fn a_name_in_place_of_an_address_is_amber() {
    let deployment = Deployment::new();
    let port = deployment.guest.port;
    let pins = fs::read_to_string(deployment.path("known_hosts")).unwrap();
    let named = pins.replace(
        &format!("[127.0.0.1]:{port}"),
        &format!("[localhost]:{port}"),
    );
    deployment.write("known_hosts", &named, 0o600);
    deployment.edit("host = \"127.0.0.1\"", "host = \"localhost\"");
    deployment.finds(&[("config.addresses", "amber")], "address");
}

#[test]
fn a_person_reads_a_line_a_check_and_the_remedy_below_it() {
    let deployment = Deployment::new();
    set_mode(&deployment.path("key"), 0o644);
    let (code, text) = run(&["doctor", "--config", &deployment.shown("config.toml")]);
    assert_eq!(code, Some(1), "{text}");
    let mut lines = text.lines().skip_while(|line| !line.starts_with("red "));
    assert!(lines.next().unwrap().contains("ssh_key"), "{text}");
    assert!(lines.next().unwrap().contains("chmod 600"), "{text}");
}

#[test]
fn a_server_examines_everything_at_its_start_and_says_so_in_ready() {
    let served = Served::with_gate();
    let client = served.client();
    let ready = wait_until("the examination ends", || {
        let ready = client.get("/ready").body;
        ready["checks"]["devvm.host.no_shell"]
            .is_object()
            .then_some(ready)
    });
    let check = |name: &str| &ready["checks"][name];
    assert_eq!(check("devvm.host.no_shell")["state"], "green", "{ready:#}");
    assert_eq!(check("devvm.host.no_shell")["ok"], true);
    // What was there before.
    for name in ["store", "agent", "ssh_key", "devvm.ssh", "devvm.vm"] {
        assert!(check(name)["message"].is_string(), "{name}: {ready:#}");
        assert!(check(name)["at"].is_string(), "{name}: {ready:#}");
    }
    // Its guest is a gate: nobody becomes root there.
    let sudo = check("devvm.guest.sudo");
    assert_eq!(
        (&sudo["state"], &sudo["ok"]),
        (&"red".into(), &false.into()),
        "{sudo}"
    );
    assert!(
        sudo["remedy"].as_str().unwrap().contains("sudoers"),
        "{sudo}"
    );
    assert_eq!(ready["ready"], false);
}
