//! The agent's cell from within: the real claude CLI, a model that has been talked into the worst,
//! and a server with real secrets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the report"
)]

#[path = "common/attempts.rs"]
mod attempts;
mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attempts::{REACHED, Target, attempts};
use breakglass_rig::claude::claude_in;
use breakglass_rig::gate::GateHost;
use breakglass_rig::model::{ModelServer, Reply};
use breakglass_rig::port::own_address;
use breakglass_rig::sshd::Sshd;
use common::serve::{TOKEN, keygen};
use common::{Client, Ended, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// Accounts that every Debian has and nothing uses: games and news. ssh wants an entry for who runs it.
const AGENT: u32 = 5;
const SERVER: u32 = 9;
const API_KEY: &str = "sk-ant-a-secret-of-the-tests";

/// A server with real secrets, a guest and a host behind it, and a model.
struct Scene {
    dir: TempDir,
    address: String,
    guest: Sshd,
    host: GateHost,
    model: ModelServer,
    server: Option<Ended>,
}

impl Scene {
    /// Everything but the server. Only root may start a process as somebody else.
    async fn new() -> Scene {
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
    fn breakglass(&self) -> Command {
        let mut command = Command::new(self.path("breakglass"));
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }

    /// Starts a server that is not root, as in a container, and whose secrets are its own.
    fn serve_unprivileged(&mut self, agent: &str) {
        self.give_to_server(&["shared"]);
        let mut command = self.breakglass();
        command.uid(SERVER).gid(SERVER);
        self.serve_by(command, agent);
    }

    /// Starts a server that is not root, and may start others' processes, as by the systemd unit.
    fn serve_with_four_capabilities(&mut self, agent: &str) {
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

    fn give_to_server(&self, more: &[&str]) {
        fs::create_dir_all(self.path("data")).unwrap();
        for name in ["data", "key", "token", "known_hosts"].iter().chain(more) {
            std::os::unix::fs::chown(self.path(name), Some(SERVER), Some(SERVER)).unwrap();
        }
    }

    /// Starts the server; `agent` is the section's text.
    fn serve(&mut self, agent: &str) {
        let command = self.breakglass();
        self.serve_by(command, agent);
    }

    fn serve_by(&mut self, mut command: Command, agent: &str) {
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
    fn own_account(&self) -> String {
        let (command, key) = (self.path("claude"), self.path("api_key"));
        format!(
            "user = \"{AGENT}\"\ncommand = \"{}\"\napi_key_file = \"{}\"\nbase_url = \"{}\"",
            command.display(),
            key.display(),
            self.model.url()
        )
    }

    /// A runner, as in another container: it has the model's login, and nothing of the server's.
    fn runner(&self) -> Ended {
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
    fn behind_runner(&self) -> String {
        let socket = self.path("shared/sock");
        format!("runner = \"{}\"\nrunner_uid = {AGENT}", socket.display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Every line of the key's private half, and the token.
    fn secrets(&self) -> Vec<String> {
        let key = fs::read_to_string(self.path("key")).unwrap();
        let lines = key.lines().filter(|line| !line.starts_with("-----"));
        lines.map(str::to_owned).chain([TOKEN.to_owned()]).collect()
    }

    fn client(&self) -> Client {
        let mut client = Client::anonymous(&format!("http://{}", self.address));
        client.bearer = Some(TOKEN.to_owned());
        client
    }

    fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().0.id()
    }

    /// Has the agent run each of `commands`; gives the turn's events.
    fn have_run(&self, commands: &[String]) -> Vec<Value> {
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

    /// Tries everything; nothing may be reached, and everything is in the log.
    fn try_everything(&self) {
        let (key, token, config, data) = (
            self.path("key"),
            self.path("token"),
            self.path("config.toml"),
            self.path("data"),
        );
        let target = Target {
            server: self.pid(),
            key: &key,
            token: &token,
            config: &config,
            data: &data,
            api: &self.address,
            sshd: [self.guest.port, self.host.sshd.port],
        };
        let all = attempts(&target);
        assert!(all.len() >= 15);
        let commands: Vec<String> = all.iter().map(|(_, command)| command.clone()).collect();
        let events = self.have_run(&commands);
        assert_eq!(events.last().unwrap()["outcome"], "done", "{events:?}");
        let of = |kind: &str| {
            let kind = kind.to_owned();
            events.iter().filter(move |event| event["kind"] == kind)
        };
        let (started, finished): (Vec<_>, Vec<_>) =
            (of("tool_started").collect(), of("tool_finished").collect());
        assert_eq!((started.len(), finished.len()), (all.len(), all.len()));
        for ((name, command), (started, finished)) in all.iter().zip(started.iter().zip(&finished))
        {
            assert_eq!(&started["input"]["command"], command.as_str(), "{started}");
            let output = finished["output"].as_str().unwrap();
            assert!(!output.contains(REACHED), "{name}: {output}");
            for secret in self.secrets() {
                assert!(!output.contains(&secret), "{name} shows a secret: {output}");
            }
        }
        wait_until("the server still answers", || {
            self.client().try_get("/health")
        });
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn spawn(mut command: Command) -> Ended {
    Ended(command.stdout(Stdio::null()).spawn().unwrap())
}

fn incident(client: &Client) -> String {
    let body = serde_json::json!({ "target": "devvm" });
    let opened = client.post("/api/incidents", &body);
    assert!(opened.status < 300, "{opened:?}");
    opened.body["incident"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_an_account_of_its_own_gets_no_key_no_token_and_no_memory() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        scene.serve(&scene.own_account());
        scene.try_everything();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_servers_account_gets_no_key_no_token_and_no_memory() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let account = format!("user = \"{AGENT}\"\n");
        scene.serve(&scene.own_account().replace(&account, ""));
        scene.try_everything();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_behind_a_runner_gets_no_key_no_token_and_no_memory() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let _runner = scene.runner();
        scene.serve_unprivileged(&scene.behind_runner());
        scene.try_everything();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_runner_another_incidents_way_is_useless_and_so_are_the_servers_own_sockets() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let _runner = scene.runner();
        scene.serve_unprivileged(&scene.behind_runner());
        let client = scene.client();
        let home = |name: &str| scene.path("runner/cell/home").join(name);
        scene.model.then(Reply::bash(
            "echo $BREAKGLASS_BASTION > ~/way; while [ ! -e ~/stop ]; do ssh devvm true || echo FAILED; \
             echo > ~/works; sleep 0.2; done; echo over",
        ));
        let other = incident(&client);
        let mut at_work = client.ask(&other, "Work.");
        wait_until("the other agent is at work", || {
            home("works").exists().then_some(())
        });
        let every_socket = format!(
            "perl -MIO::Socket::UNIX -e '$SIG{{PIPE}} = \"IGNORE\"; open(my $all, \"<\", \"/proc/net/unix\"); \
             while (<$all>) {{ next unless m{{ ({}/shared/\\S+/devvm)$}}; my $path = $1; \
             next if index($path, $ENV{{BREAKGLASS_BASTION}}) == 0; \
             my $s = IO::Socket::UNIX->new(Peer => $path) or next; print $s \"SSH-2.0-own\\r\\n\"; \
             my $said = <$s>; print \"said: $said\"; print \"REA\", \"CHED\\n\" if $said =~ /^SSH-/ }}'",
            scene.dir.path().display()
        );
        let events = scene.have_run(&[
            "BREAKGLASS_BASTION=$(cat ~/way) ssh devvm 'echo REA''CHED'".to_owned(),
            every_socket,
            "ssh devvm echo my own way".to_owned(),
        ]);
        let said: Vec<_> = events
            .iter()
            .filter(|event| event["kind"] == "tool_finished")
            .map(|event| event["output"].as_str().unwrap())
            .collect();
        assert!(said[0].contains("refused"), "{said:?}");
        // The other's at the runner, and both at the server.
        assert_eq!(
            said[1].matches("said: breakglass: refused").count(),
            3,
            "{said:?}"
        );
        assert!(said.iter().all(|said| !said.contains(REACHED)), "{said:?}");
        assert!(said[2].contains("my own way"), "{said:?}");
        scene.model.then(Reply::text("Done."));
        fs::write(home("stop"), "").unwrap();
        let refused = at_work.find(|frame| frame.data["code"] == "stranger_refused");
        assert!(refused.is_some());
        let mut all = client.events(&other, 0);
        let said = all.until("tool_finished").data["output"].to_string();
        assert!(said.contains("over") && !said.contains("FAILED"), "{said}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_cell_reaches_the_guest_through_the_bastion() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let runner = scene.runner();
        for (agent, privileged) in [
            (scene.own_account(), true),
            (scene.behind_runner(), true),
            (scene.behind_runner(), false),
        ] {
            if privileged {
                scene.serve(&agent);
            } else {
                // What root has left is not this server's to change.
                for dir in ["data", "shared/bastion"] {
                    fs::remove_dir_all(scene.path(dir)).unwrap();
                }
                scene.serve_unprivileged(&agent);
            }
            let events = scene.have_run(&["ssh devvm 'echo on the guest'".to_owned()]);
            let output = events.iter().find_map(|event| event["output"].as_str());
            assert_eq!(
                output.map(str::trim),
                Some("on the guest"),
                "{agent}: {events:?}"
            );
            scene.server = None;
        }
        drop(runner);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_cell_reads_its_library_and_changes_nothing_in_it() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let (library, runbook) = (scene.path("library"), scene.path("library/boot.md"));
        fs::create_dir(&library).unwrap();
        fs::write(&runbook, "Boots from the second disk.\n").unwrap();
        // No permission keeps anybody from it.
        set_mode(&library, 0o777);
        set_mode(&runbook, 0o666);
        let shown = library.display();
        let read = format!("ls {shown}; cat {shown}/boot.md");
        let change = format!(
            "(echo x >> {shown}/boot.md; echo x > {shown}/new; rm -f {shown}/boot.md) 2>&1; true"
        );
        let key = format!("\nlibrary = \"{shown}\"");
        let own = scene.own_account() + &key;
        let same = own.replace(&format!("user = \"{AGENT}\"\n"), "");
        let _runner = scene.runner();
        for (name, agent) in [
            ("own account", own),
            ("same account", same),
            ("behind a runner", scene.behind_runner()),
        ] {
            scene.serve(&agent);
            let events = scene.have_run(&[read.clone(), change.clone()]);
            let outputs: Vec<&str> = events
                .iter()
                .filter_map(|event| event["output"].as_str())
                .collect();
            assert!(
                outputs[0].contains("Boots from the second disk."),
                "{name}: {outputs:?}"
            );
            assert_eq!(
                fs::read_to_string(&runbook).unwrap(),
                "Boots from the second disk.\n",
                "{name}"
            );
            assert!(!library.join("new").exists(), "{name}: {outputs:?}");
            let told = scene.model.requests().last().unwrap().text();
            assert!(told.contains(&format!("The folder `{shown}`")), "{name}");
            scene.server = None;
            fs::remove_dir_all(scene.path("data")).unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_root_starts_the_cli_in_its_account_by_four_capabilities() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        scene.serve_with_four_capabilities(&scene.own_account());
        let who = "id -u; grep Eff /proc/self/status; cat /proc/sys/kernel/hostname; ssh devvm 'echo on the guest'";
        let events = scene.have_run(&[who.to_owned()]);
        let output = events.iter().find_map(|event| event["output"].as_str());
        let expected = format!("{AGENT}\nCapEff:\t0000000000000000\ncell\non the guest");
        assert_eq!(output.map(str::trim), Some(expected.as_str()), "{events:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clis_account_is_its_own_and_the_cell_is_no_others() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        scene.serve(&scene.own_account());
        let ids = "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status; touch ~/made";
        let events = scene.have_run(&[ids.to_owned()]);
        let output = events.iter().find_map(|event| event["output"].as_str());
        let ids = format!("{AGENT}\n60\n60\nNoNewPrivs:\t1");
        assert_eq!(output.map(str::trim), Some(ids.as_str()));
        let cell = scene.path("data/cell");
        let owner = |name: &str| {
            let file = fs::symlink_metadata(cell.join(name)).unwrap();
            (file.uid(), file.mode() & 0o777)
        };
        for (name, expected) in [
            ("", (0, 0o711)),
            ("home", (AGENT, 0o700)),
            ("work", (AGENT, 0o700)),
            ("ssh_config", (0, 0o644)),
            ("bin/ssh", (0, 0o755)),
            ("lock", (0, 0o600)),
        ] {
            assert_eq!(owner(name), expected, "{name}");
        }
        assert_eq!(owner("home/made").0, AGENT);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_of_another_account_that_outlives_a_killed_server_is_ended_by_the_next_one() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        scene.serve(&scene.own_account());
        let tool = "setsid sleep 300 & echo $! > ~/pid; wait";
        scene.model.then(Reply::bash(tool));
        let client = scene.client();
        let _events = client.ask(&incident(&client), "Work.");
        let pid = scene.path("data/cell/home/pid");
        let tool = wait_until("the tool runs", || {
            fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok()
        });
        scene.server = None;
        assert!(lives(tool), "it would be ended without any sweep");
        scene.serve(&scene.own_account());
        wait_until("the tool is gone", || (!lives(tool)).then_some(()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_interrupts_the_turn_and_its_successor_sweeps_up() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let runner = scene.runner();
        scene.serve(&scene.behind_runner());
        scene
            .model
            .then(Reply::bash("setsid sleep 300 & echo $! > ~/pid; wait"));
        let client = scene.client();
        let incident = incident(&client);
        let mut events = client.ask(&incident, "Work.");
        let pid = scene.path("runner/cell/home/pid");
        let tool = wait_until("the tool runs", || {
            fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok()
        });
        drop(runner);
        let ended = events.until("turn_ended").data;
        assert_eq!(ended["outcome"], "interrupted", "{ended}");
        assert!(
            ended["reason"].as_str().unwrap().contains("runner is gone"),
            "{ended}"
        );
        assert!(lives(tool), "it would be ended without any sweep");
        let _runner = scene.runner();
        wait_until("the tool is gone", || (!lives(tool)).then_some(()));
        scene.model.then(Reply::text("Here again."));
        let mut events = client.ask(&incident, "And now?");
        events.find(|frame| frame.event == "turn_ended" && frame.data["turn"] == 2);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_takes_what_runs_behind_the_runner_along() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let _runner = scene.runner();
        scene.serve(&scene.behind_runner());
        scene
            .model
            .then(Reply::bash("setsid sleep 300 & echo $! > ~/pid; wait"));
        let client = scene.client();
        let _events = client.ask(&incident(&client), "Work.");
        let pid = scene.path("runner/cell/home/pid");
        let tool = wait_until("the tool runs", || {
            fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok()
        });
        scene.server = None;
        wait_until("the tool is gone", || (!lives(tool)).then_some(()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_models_login_is_not_in_the_server_and_no_secret_of_the_servers_in_the_runner() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let runner = scene.runner();
        scene.serve(&scene.behind_runner());
        scene.have_run(&["true".to_owned()]);
        // Root may look into both, sealed or not.
        let of_runner = memory(runner.0.id());
        let of_server = memory(scene.pid());
        assert!(holds(&of_runner, API_KEY) && holds(&of_server, "devvm"));
        assert!(!holds(&of_server, API_KEY));
        for secret in scene.secrets() {
            assert!(!holds(&of_runner, &secret));
        }
    });
}

/// All that a process has in memory and may be read.
fn memory(process: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let file = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, rest) = line.split_once('-').unwrap();
        let (to, _) = rest.split_once(' ').unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        if file.read_exact_at(&mut part, from).is_ok() {
            all.extend(part);
        }
    }
    all
}

fn holds(memory: &[u8], text: &str) -> bool {
    memory
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Whether a process is there and not a zombie.
fn lives(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_secret_that_the_agents_account_could_read_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    keygen(&dir.path().join("key"));
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    set_mode(&dir.path().join("token"), 0o644);
    let at = dir.path().display();
    let config = dir.path().join("config.toml");
    fs::write(
        &config,
        format!(
            "[auth]\ntoken_file = \"{at}/token\"\n[ssh]\nkey_file = \"{at}/key\"\n\
             [agent]\nuser = \"{AGENT}\"\n[[targets]]\nname = \"devvm\"\n\
             guest = {{ host = \"127.0.0.1\", user = \"a\" }}\nhost = {{ host = \"127.0.0.1\", user = \"b\" }}\n"
        ),
    )
    .unwrap();
    let (code, said) = common::run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("auth.token_file") && said.contains("can be read by agent.user"),
        "{said}"
    );
    assert!(!said.contains("ssh.key_file"), "{said}");
}
