//! A server with real secrets, whose agent is the real claude CLI, in each kind of cell.

#![allow(unreachable_pub, dead_code, reason = "a module of several tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use breakglass_rig::claude::claude_in;
use breakglass_rig::gate::GateHost;
use breakglass_rig::model::{ModelServer, Reply};
use breakglass_rig::port::own_address;
use breakglass_rig::sshd::Sshd;
use serde_json::Value;
use tempfile::TempDir;

use super::serve::{TOKEN, keygen};
use super::{Client, Ended, wait_until};

/// Unused accounts of every Debian: games and news. ssh needs an entry for its account.
pub const AGENT: u32 = 5;
pub const SERVER: u32 = 9;
pub const API_KEY: &str = "sk-ant-a-secret-of-the-tests";

/// A server with real secrets, a guest and a host behind it, and a model.
pub struct Scene {
    pub dir: TempDir,
    pub address: String,
    pub guest: Sshd,
    pub host: GateHost,
    pub model: ModelServer,
    pub server: Option<Ended>,
}

impl Scene {
    /// Everything but the server. Only root may start a process of another account.
    pub async fn new() -> Scene {
        assert!(
            rustix::process::getuid().is_root(),
            "the agent's own account needs a server that is root: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o755);
        let key = dir.path().join("key");
        keygen(&key);
        let public = fs::read_to_string(dir.path().join("key.pub")).unwrap();
        let (guest, host) = tokio::task::block_in_place(|| {
            (Sshd::open(public.trim()), GateHost::running(public.trim()))
        });
        let known_hosts = guest.known_hosts() + &host.sshd.known_hosts();
        let model = ModelServer::start([]).await;
        for (name, text) in [
            ("known_hosts", known_hosts.as_str()),
            ("token", TOKEN),
            ("api_key", API_KEY),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
            set_mode(&dir.path().join(name), 0o600);
        }
        let _ = claude_in(dir.path());
        fs::copy(
            env!("CARGO_BIN_EXE_breakglass"),
            dir.path().join("breakglass"),
        )
        .unwrap();
        let scene = Scene {
            dir,
            address: own_address(),
            guest,
            host,
            model,
            server: None,
        };
        for secret in scene.secrets() {
            scene.model.forbid(&secret);
        }
        scene
    }

    /// The program, where every account can reach it.
    pub fn breakglass(&self) -> Command {
        let mut command = Command::new(self.path("breakglass"));
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    /// Starts a server that is not root, as in a container, and whose secrets are its own.
    pub fn serve_unprivileged(&mut self, agent: &str) {
        self.give_to_server(&["shared"]);
        self.serve_as_server(agent);
    }

    /// The same, where everything is the server's already.
    pub fn serve_as_server(&mut self, agent: &str) {
        let mut command = self.breakglass();
        command.uid(SERVER).gid(SERVER);
        self.serve_by(command, agent);
    }

    /// Starts an unprivileged server that may start processes of other accounts, as in the systemd unit.
    pub fn serve_with_four_capabilities(&mut self, agent: &str) {
        self.give_to_server(&["api_key"]);
        let four = "-all,+chown,+kill,+setgid,+setuid";
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={SERVER}"), format!("--regid={SERVER}")]);
        command.args(
            ["inh-caps", "ambient-caps", "bounding-set"].map(|set| format!("--{set}={four}")),
        );
        command.args(["--clear-groups", "--no-new-privs"]);
        command.arg(self.path("breakglass"));
        self.serve_by(command, agent);
    }

    pub fn give_to_server(&self, more: &[&str]) {
        fs::create_dir_all(self.path("data")).unwrap();
        for name in ["data", "key", "token", "known_hosts"].iter().chain(more) {
            std::os::unix::fs::chown(self.path(name), Some(SERVER), Some(SERVER)).unwrap();
        }
    }

    /// Starts the server; `agent` is the section's text.
    pub fn serve(&mut self, agent: &str) {
        let command = self.breakglass();
        self.serve_by(command, agent);
    }

    pub fn serve_by(&mut self, mut command: Command, agent: &str) {
        let dir = self.dir.path().display();
        let endpoint = |sshd: &Sshd| {
            let (port, user) = (sshd.port, sshd.user());
            format!("{{ host = \"127.0.0.1\", port = {port}, user = \"{user}\" }}")
        };
        let config = format!(
            "listen = \"{}\"\ndata_dir = \"{dir}/data\"\n[auth]\ntoken_file = \"{dir}/token\"\n\
             [ssh]\nkey_file = \"{dir}/key\"\nknown_hosts = \"{dir}/known_hosts\"\n\
             [agent]\nautonomy = \"autonomous\"\nmodel_check_hours = 0\n{agent}\n[[targets]]\nname = \"devvm\"\nguest = {}\nhost = {}\n",
            self.address,
            endpoint(&self.guest),
            endpoint(&self.host.sshd)
        );
        fs::write(self.path("config.toml"), config).unwrap();
        command
            .args(["serve", "--config"])
            .arg(self.path("config.toml"));
        self.server = Some(spawn(command));
        let client = self.client();
        wait_until("the server answers", || client.try_get("/health"));
    }

    /// The section of a server whose agent has an account of its own.
    pub fn own_account(&self) -> String {
        let (command, key) = (self.path("claude"), self.path("api_key"));
        format!(
            "user = \"{AGENT}\"\ncommand = \"{}\"\napi_key_file = \"{}\"\nbase_url = \"{}\"",
            command.display(),
            key.display(),
            self.model.url()
        )
    }

    /// The same without a sandbox.
    pub fn confinement(&self) -> String {
        self.own_account() + "\nsandbox = \"none\""
    }

    /// A runner, as in another container: it has the model's login and nothing of the server.
    pub fn runner(&self) -> Ended {
        let shared = self.path("shared");
        let _ = fs::create_dir(&shared);
        set_mode(&shared, 0o755);
        let mut command = self.breakglass();
        command.arg("runner");
        command.arg("--listen").arg(shared.join("sock"));
        command.arg("--data-dir").arg(self.path("runner"));
        command.arg("--command").arg(self.path("claude"));
        command.arg("--api-key-file").arg(self.path("api_key"));
        command.args(["--base-url", &self.model.url()]);
        command.args(["--user", &AGENT.to_string()]);
        if self.path("library").exists() {
            command.arg("--library").arg(self.path("library"));
        }
        for uid in [0, SERVER] {
            command.args(["--peer-uid", &uid.to_string()]);
        }
        let runner = spawn(command);
        wait_until("the runner listens", || {
            std::os::unix::net::UnixStream::connect(shared.join("sock")).ok()
        });
        runner
    }

    /// The section of a server whose agent is behind that runner.
    pub fn behind_runner(&self) -> String {
        let socket = self.path("shared/sock");
        format!("runner = \"{}\"\nrunner_uid = {AGENT}", socket.display())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Every line of the key's private half, and the token.
    pub fn secrets(&self) -> Vec<String> {
        let key = fs::read_to_string(self.path("key")).unwrap();
        let lines = key.lines().filter(|line| !line.starts_with("-----"));
        lines.map(str::to_owned).chain([TOKEN.to_owned()]).collect()
    }

    pub fn client(&self) -> Client {
        let mut client = Client::anonymous(&format!("http://{}", self.address));
        client.bearer = Some(TOKEN.to_owned());
        client
    }

    pub fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().0.id()
    }

    /// Has the agent run each of `commands`. Returns the turn's events.
    pub fn have_run(&self, commands: &[String]) -> Vec<Value> {
        for command in commands {
            self.model.then(Reply::bash(command));
        }
        self.model.then(Reply::text("Nothing."));
        let client = self.client();
        let incident = incident(&client);
        let mut seen = Vec::new();
        let mut events = client.ask(&incident, "Look around.");
        events.find(|frame| {
            if frame.id.is_some() {
                seen.push(frame.data.clone());
            }
            frame.event == "turn_ended"
        });
        seen
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn spawn(mut command: Command) -> Ended {
    Ended(command.stdout(Stdio::null()).spawn().unwrap())
}

pub fn incident(client: &Client) -> String {
    let body = serde_json::json!({ "target": "devvm" });
    let opened = client.post("/api/incidents", &body);
    assert!(opened.status < 300, "{opened:?}");
    opened.body["incident"].as_str().unwrap().to_owned()
}
