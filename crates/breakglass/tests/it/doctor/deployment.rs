//! A whole deployment that a test breaks and then repairs as the remedies say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use breakglass_model::clock;
use breakglass_rig::gate::GateHost;
use breakglass_rig::sshd::Sshd;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::serve::{keygen, spawn};
use crate::common::{Client, Ended, breakglass, wait_until};

const TOKEN: &str = "b1f5c0d29e7a48366c3e0fd41797a25b80c4e6d9131fa7527be85d0c99436e21";

/// A server's files, with a working guest and host behind real sshds.
pub(crate) struct Deployment {
    dir: TempDir,
    pub(crate) guest: Sshd,
    pub(crate) host: GateHost,
    pub(crate) public: String,
}

/// A server on the deployment; dropping it stops it.
pub(crate) struct Serving {
    _server: Ended,
    pub(crate) client: Client,
}

/// The output of `breakglass doctor`.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) checks: Vec<Value>,
}

impl Deployment {
    pub(crate) fn new() -> Deployment {
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
        deployment.practised(&clock::now());
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
             model_check_hours = 0\n\
             [[targets]]\nname = \"devvm\"\nguest = {guest}\nhost = {host}\n"
        )
    }

    /// Records a drill with this end time.
    pub(crate) fn practised(&self, at: &str) {
        let drill = json!({
            "at": at, "scenario": "disk-full", "operators": ["ann"], "prompts": 2, "verbs": 1,
        });
        fs::create_dir_all(self.path("data")).unwrap();
        self.write("data/last_drill.json", &drill.to_string(), 0o600);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        set_mode(&self.path(name), mode);
    }

    /// Changes the configuration.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let before = fs::read_to_string(self.path("config.toml")).unwrap();
        assert!(before.contains(from), "{before}");
        self.write("config.toml", &before.replacen(from, to, 1), 0o644);
    }

    /// Puts a program first on the PATH of the guest and of the person who carries out a remedy.
    pub(crate) fn shadow(&mut self, programs: &[(&str, &str)]) {
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

    /// Runs `script` in front of the gate, whose command is `$gate`.
    pub(crate) fn before_the_gate(&self, script: &str) {
        let gate = self.host.command();
        self.write(
            "before",
            &format!("#!/bin/sh\ngate='{gate}'\n{script}\n"),
            0o755,
        );
        self.hold_to(&self.shown("before"));
    }

    /// Lets the key run only that command on the host.
    pub(crate) fn hold_to(&self, command: &str) {
        let line = format!("command=\"{command}\",restrict {}\n", self.public);
        self.host.sshd.authorize(&line);
    }

    /// Carries out the command in `remedy` that starts with `start`, as a reader would.
    pub(crate) fn carry_out(&self, remedy: &str, start: &str) -> Output {
        let at = remedy
            .find(start)
            .unwrap_or_else(|| panic!("no {start:?} in {remedy:?}"));
        let path = format!("{}:{}", self.shown("bin"), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-ec", &remedy[at..]])
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{remedy:?}: {output:?}");
        output
    }

    /// Starts a server.
    pub(crate) fn serve(&self) -> Serving {
        let address = breakglass_rig::port::own_address();
        self.edit("127.0.0.1:8080", &address);
        let _server = Ended(spawn(self.dir.path(), ""));
        let mut client = Client::anonymous(&format!("http://{address}"));
        client.bearer = Some(TOKEN.to_owned());
        let serving = Serving { _server, client };
        wait_until("the server answers", || serving.client.try_get("/health"));
        serving
    }

    pub(crate) fn doctor(&self) -> Said {
        self.doctor_with(&[])
    }

    pub(crate) fn doctor_with(&self, args: &[&str]) -> Said {
        let mut command = breakglass();
        command.args(["doctor", "--json", "--config"]);
        command.arg(self.path("config.toml")).args(args);
        Said::by(command)
    }

    /// Runs all checks and expects only these, besides those that depend on them, in these states. Each
    /// remedy contains `word`. Returns the remedies.
    pub(crate) fn finds(&self, expected: &[(&str, &str)], word: &str) -> Vec<String> {
        self.doctor().is(expected, word)
    }

    /// Expects that all checks are green again.
    pub(crate) fn is_well(&self) {
        self.finds(&[], "");
    }
}

impl Said {
    /// The result of this `breakglass doctor`.
    pub(crate) fn by(mut doctor: Command) -> Said {
        let output = doctor.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {errors}"));
        Said {
            code: output.status.code(),
            checks: said["checks"].as_array().unwrap().clone(),
        }
    }

    /// Expects only these checks, besides those that depend on them, in these states, and `word` in each
    /// remedy. Returns the remedies.
    pub(crate) fn is(&self, expected: &[(&str, &str)], word: &str) -> Vec<String> {
        let (mut found, mut remedies) = (Vec::new(), Vec::new());
        for check in self.checks.iter().filter(|check| check["state"] != "green") {
            let evidence = check["evidence"].as_str().unwrap();
            if evidence.starts_with("Not tried, because ") {
                assert_eq!(check["state"], "amber", "{check}");
                continue;
            }
            let remedy = check["remedy"].as_str().unwrap();
            assert!(remedy.contains(word), "no {word:?} in {check}");
            let word = |key: &str| check[key].as_str().unwrap();
            found.push((word("name"), word("state")));
            remedies.push(remedy.to_owned());
        }
        assert_eq!(found, expected, "{:#?}", self.checks);
        let red = expected.iter().any(|(_, state)| *state == "red");
        assert_eq!(self.code, Some(i32::from(red)));
        remedies
    }

    pub(crate) fn check(&self, name: &str) -> &Value {
        let check = self.checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no {name}: {:#?}", self.checks))
    }
}

impl Serving {
    /// The readiness state after the first run of all checks.
    pub(crate) fn examined(&self) -> Value {
        wait_until("the examination ends", || {
            let ready = self.client.get("/ready").body;
            ready["checks"]["record"].is_object().then_some(ready)
        })
    }

    /// Runs all checks now. Returns the states of these checks.
    pub(crate) fn states<const N: usize>(&self, names: [&str; N]) -> [String; N] {
        let answer = self.client.post("/api/readiness/check", &json!({}));
        assert_eq!(answer.status, 200, "{answer:?}");
        names.map(|name| {
            answer.body["checks"][name]["state"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
