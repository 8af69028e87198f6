//! One incident at the bastion, with a guest behind a real sshd and a host behind the real gate.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use breakglass_agent::ProcessTree;
use breakglass_bastion::Rules;
use breakglass_bastion::{Bastion, BastionConversation, BastionOptions, HOST_KEY_ALIAS};
use breakglass_control::ssh::{HostKeyPolicy, generate_key};
use breakglass_control::{Control, Endpoint, Pictures, SshOptions, Target};
use breakglass_log::{Log, Options};
use breakglass_model::gateway::CALL_VARIABLE;
use breakglass_model::{Actor, Autonomy, CommandStream, Decision, Event, EventBody, IncidentId};
use breakglass_rig::gate::GateHost;
use breakglass_rig::sshd::Sshd;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest wait before a test fails with the condition it waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);
/// The turn that runs in every scene.
pub(crate) const TURN: u32 = 1;

pub(crate) struct Scene {
    pub(crate) guest: Sshd,
    pub(crate) host: GateHost,
    pub(crate) log: Log,
    pub(crate) bastion: Bastion,
    pub(crate) incident: IncidentId,
    pub(crate) post: BastionConversation,
    dir: TempDir,
    cancel: CancellationToken,
}

pub(crate) fn ana() -> Actor {
    Actor::Operator("ana".to_owned())
}

impl Scene {
    pub(crate) async fn start() -> Scene {
        Scene::with(Autonomy::Autonomous).await
    }

    pub(crate) async fn with(autonomy: Autonomy) -> Scene {
        Scene::over(autonomy, Log::open(Options::in_memory()), |_| {}).await
    }

    /// `change` is done to the guest's sshd before anything connects.
    pub(crate) async fn over(
        autonomy: Autonomy,
        log: Log,
        change: impl FnOnce(&mut Sshd),
    ) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let key = Arc::new(generate_key().unwrap());
        let public = key.public_key().to_openssh().unwrap();
        let (mut guest, host) = (Sshd::open(&public), GateHost::running(&public));
        change(&mut guest);
        let ssh = SshOptions {
            host_keys: HostKeyPolicy::TrustFirst,
            connect_timeout: Duration::from_secs(3),
            keepalive: Duration::from_secs(1),
            ..SshOptions::new(key, dir.path().join("pins"))
        };
        let cancel = CancellationToken::new();
        let target = Target::new("devvm", endpoint(&guest), endpoint(&host.sshd));
        let (_control, port) = Control::new(
            vec![target],
            ssh,
            log.clone(),
            Pictures::none(),
            cancel.clone(),
            TaskTracker::new(),
        );
        let options = BastionOptions {
            sockets: Some(dir.path().join("b")),
            peer: rustix::process::geteuid().as_raw(),
            autonomy,
            ceiling: None,
            rules: Rules::built_in().unwrap(),
        };
        let bastion = Bastion::new(port, options).unwrap();
        let incident = log.open_incident("devvm", ana(), false).await.unwrap();
        let post = bastion.open(incident, "devvm").await.unwrap();
        begin(&post);
        let scene = Scene {
            guest,
            host,
            log,
            bastion,
            incident,
            post,
            dir,
            cancel,
        };
        scene.write_config();
        scene
    }

    /// Replaces the agent with that of a new incident of the same target.
    pub(crate) async fn next_incident(&mut self) {
        let opened = self.log.open_incident("devvm", ana(), false).await;
        self.incident = opened.unwrap();
        self.post = self.bastion.open(self.incident, "devvm").await.unwrap();
        begin(&self.post);
        self.write_config();
    }

    /// Where this incident's sockets are.
    pub(crate) fn sockets(&self) -> &std::path::Path {
        self.post.sockets().unwrap()
    }

    fn write_config(&self) {
        let known = self.dir.path().join("known_hosts");
        std::fs::write(&known, self.bastion.known_hosts()).unwrap();
        let text = format!(
            "Host *\n ProxyCommand {} connect {}/%n\n ProxyUseFdpass yes\n HostKeyAlias {HOST_KEY_ALIAS}\n \
             UserKnownHostsFile {}\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n BatchMode yes\n \
             IdentityAgent none\n IdentityFile none\n LogLevel ERROR\n SendEnv LANG LC_* FORBIDDEN {CALL_VARIABLE}\n",
            env!("CARGO_BIN_EXE_breakglass"),
            self.sockets().display(),
            known.display(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("ssh_config")
    }

    /// An unused path.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A stock client without a command yet.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.config()).kill_on_drop(true);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `ssh` with these arguments to its end.
    pub(crate) async fn ssh(&self, args: &[&str]) -> Output {
        let mut client = self.client("ssh");
        client.args(args);
        self.ended(client).await
    }

    pub(crate) async fn ended(&self, mut client: Command) -> Output {
        let ran = timeout(LIMIT, client.output()).await;
        ran.expect("the client did not end in time")
            .expect("a client is missing: apt-get install openssh-client rsync")
    }

    /// Answers the next question, as the page would.
    pub(crate) async fn answer(&self, command: &str, decision: Decision, note: Option<&str>) {
        let asked = self
            .event(|body| {
                matches!(body, EventBody::ApprovalRequested { command: asked, .. } if asked == command)
            })
            .await;
        let EventBody::ApprovalRequested { approval, .. } = asked.body else {
            panic!("not a question")
        };
        let answer = (decision, note.map(str::to_owned));
        let decided = self.bastion.decide(self.incident, &approval, answer, ana());
        decided.await.unwrap();
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        self.log.events(self.incident, 0, 10_000).await.unwrap()
    }

    /// Waits until an event passes `wanted`.
    pub(crate) async fn event(&self, wanted: impl Fn(&EventBody) -> bool) -> Event {
        self.event_after(0, wanted).await
    }

    /// Waits until an event after `seq` passes `wanted`.
    pub(crate) async fn event_after(&self, seq: u64, wanted: impl Fn(&EventBody) -> bool) -> Event {
        let waiting = async {
            loop {
                let all = self.events().await;
                let found = all
                    .into_iter()
                    .find(|event| event.seq > seq && wanted(&event.body));
                if let Some(event) = found {
                    return event;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = timeout(LIMIT, waiting).await;
        match found {
            Ok(event) => event,
            Err(_) => panic!("it did not happen; there is: {:#?}", self.events().await),
        }
    }

    /// The end of the last finished command.
    pub(crate) async fn last_end(&self) -> EventBody {
        let all = self.events().await;
        let ended = |event: &&Event| matches!(event.body, EventBody::CommandFinished { .. });
        all.iter()
            .rfind(ended)
            .expect("a command ended")
            .body
            .clone()
    }

    /// The recorded data of one stream of all commands.
    pub(crate) async fn recorded(&self, wanted: CommandStream) -> String {
        let all = self.events().await;
        let texts = all.into_iter().filter_map(|event| match event.body {
            EventBody::CommandOutput { stream, text, .. } if stream == wanted => Some(text),
            _ => None,
        });
        texts.collect()
    }

    /// The message of a command's end.
    pub(crate) async fn last_message(&self) -> String {
        match self.last_end().await {
            EventBody::CommandFinished { message, .. } => message.unwrap_or_default(),
            _ => unreachable!(),
        }
    }
}

/// The clients here are this test's own processes.
fn begin(post: &BastionConversation) {
    let tree = ProcessTree::of(std::process::id()).unwrap();
    post.admit(Box::new(move |peer| {
        tree.check_peer(peer).map_err(|process| process.to_string())
    }));
    post.turn_began(TURN);
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn endpoint(sshd: &Sshd) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port: sshd.port,
        user: sshd.user(),
    }
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until `path` holds a process id.
pub(crate) async fn pid_in(path: &Path) -> i32 {
    let reading = async {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.ends_with('\n') {
                return text.trim().parse().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, reading)
        .await
        .expect("the command has begun")
}

/// Whether a process is there and not a zombie.
pub(crate) fn lives(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
