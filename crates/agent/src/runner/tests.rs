//! The runner's protocol, driven by a test in the place of the server.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::frame::{Frame, Frames, Order, Report, StartOrder, VERSION, encode};
use super::{Runner, RunnerOptions};
use crate::plan::{CliSession, Plan};
use crate::{AgentOptions, TargetNames};

const DEADLINE: Duration = Duration::from_secs(60);

/// A runner whose CLI is a shell script.
struct Scene {
    dir: TempDir,
    end: CancellationToken,
    running: JoinHandle<()>,
}

impl Scene {
    fn start(script: &str) -> Scene {
        Scene::for_peers(script, vec![rustix::process::geteuid().as_raw()])
    }

    fn for_peers(script: &str, peers: Vec<u32>) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let command = dir.path().join("cli");
        std::fs::write(&command, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut agent = AgentOptions::new(command, dir.path().join("home"));
        agent.env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        agent.set_library("/runbooks".into());
        let options = RunnerOptions {
            socket: dir.path().join("sock"),
            peers,
            agent,
            ssh_dir: dir.path().to_owned(),
        };
        let end = CancellationToken::new();
        let runner = Runner::bind(options, end.clone()).unwrap();
        let running = tokio::spawn(runner.run());
        Scene { dir, end, running }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    async fn connect(&self) -> Server {
        let stream = UnixStream::connect(self.path("sock")).await.unwrap();
        let (input, output) = stream.into_split();
        let frames = Frames::new(input);
        Server { frames, output }
    }

    async fn end(self) {
        self.end.cancel();
        timeout(DEADLINE, self.running).await.unwrap().unwrap();
    }
}

struct Server {
    frames: Frames<OwnedReadHalf>,
    output: OwnedWriteHalf,
}

impl Server {
    async fn send(&mut self, order: Order) {
        self.output
            .write_all(&encode(&order).unwrap())
            .await
            .unwrap();
    }

    async fn next(&mut self) -> Option<Report> {
        timeout(DEADLINE, self.frames.next())
            .await
            .unwrap()
            .unwrap()
    }

    async fn refusal(&mut self) -> String {
        match self.next().await {
            Some(Report::Refused(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Starts the scene's script.
    async fn start(&mut self) {
        self.send(Order::Start(Box::new(start_order()))).await;
        let report = self.next().await;
        assert!(matches!(report, Some(Report::Started(false))), "{report:?}");
    }

    /// Reads the process id that the script prints first.
    async fn pid(&mut self) -> i32 {
        let mut text = String::new();
        while !text.ends_with('\n') {
            let Some(Report::Output(bytes)) = self.next().await else {
                panic!("no output");
            };
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        text.trim().parse().unwrap()
    }
}

fn start_order() -> StartOrder {
    let (guest, host) = ("devvm".to_owned(), "pve".to_owned());
    StartOrder {
        version: VERSION,
        plan: Some(Plan {
            names: TargetNames { guest, host },
            conversation: "one".to_owned(),
            session: CliSession::New(Uuid::nil()),
            model: "sonnet".to_owned(),
            env: vec![("BREAKGLASS_BASTION".to_owned(), "/run/x".to_owned())],
            credential: None,
        }),
        instructions: "Be brief.".to_owned(),
        ssh_config: "UserKnownHostsFile \"{cell}/known_hosts\"\n".to_owned(),
        known_hosts: "bastion ssh-ed25519 AAAA\n".to_owned(),
        max_api_retries: 3,
    }
}

async fn until_gone(id: i32) {
    let gone = async {
        while is_alive(id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the process is gone");
}

/// Whether a process is there and not a zombie.
fn is_alive(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Prints the id of a process that it leaves behind in another session.
const LEAVE_PROCESS: &str = "setsid sleep 61 & echo $!; cat";

#[tokio::test]
async fn a_process_gets_its_files_variables_and_input_and_its_exit_is_reported() {
    let scene = Scene::start(
        "cat \"$HOME/.claude/agents/breakglass-devvm.md\"; echo; echo $BREAKGLASS_BASTION; \
         read line; echo \"heard $line\"; echo gone wrong >&2; exit 3",
    );
    let mut server = scene.connect().await;
    server.start().await;
    let mut text = Vec::new();
    server.send(Order::Input(b"hello\n"[..].into())).await;
    loop {
        match server.next().await {
            Some(Report::Output(bytes)) => text.extend_from_slice(&bytes),
            Some(Report::Eof) => break,
            other => panic!("{other:?}"),
        }
    }
    let text = String::from_utf8(text).unwrap();
    let (instructions, rest) = text.split_once("\n# The library\n").unwrap();
    assert_eq!(instructions, "Be brief.");
    assert!(rest.contains("`/runbooks`"), "the runner's own: {rest}");
    assert!(rest.ends_with("\n/run/x\nheard hello\n"), "{rest}");
    server.send(Order::Kill).await;
    let Some(Report::Ended(exit)) = server.next().await else {
        panic!("no end");
    };
    assert_eq!(exit.last_words, "gone wrong");
    let config = std::fs::read_to_string(scene.path("ssh_config")).unwrap();
    let known_hosts = scene.path("known_hosts");
    assert_eq!(
        config,
        format!("UserKnownHostsFile \"{}\"\n", known_hosts.display())
    );
    scene.end().await;
}

#[tokio::test]
async fn the_process_and_its_descendants_are_killed_when_the_server_disconnects() {
    let scene = Scene::start(LEAVE_PROCESS);
    let mut server = scene.connect().await;
    server.start().await;
    let stray = server.pid().await;
    drop(server);
    until_gone(stray).await;
    scene.end().await;
}

#[tokio::test]
async fn a_runner_that_shuts_down_leaves_no_process_and_no_socket() {
    let scene = Scene::start(LEAVE_PROCESS);
    let mut server = scene.connect().await;
    server.start().await;
    let stray = server.pid().await;
    let socket = scene.path("sock");
    scene.end().await;
    assert!(!is_alive(stray) && !socket.exists());
}

#[tokio::test]
async fn a_process_whose_output_is_not_read_can_be_killed() {
    let scene = Scene::start("yes");
    let mut server = scene.connect().await;
    server.start().await;
    server.send(Order::Kill).await;
    let ended = async { while !matches!(server.next().await, Some(Report::Ended(_))) {} };
    timeout(DEADLINE, ended).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_connection_of_another_uid_is_refused_before_it_is_read() {
    let scene = Scene::for_peers("exit 0", vec![4_242_424]);
    let mut server = scene.connect().await;
    let why = server.refusal().await;
    assert!(why.contains("--peer-uid"), "{why}");
    assert!(server.next().await.is_none());
    scene.end().await;
}

#[tokio::test]
async fn a_plan_with_an_option_a_path_or_a_foreign_variable_is_refused() {
    let scene = Scene::start("exit 0");
    let changes: [fn(&mut StartOrder, &mut Plan); 6] = [
        |start, _| start.version = 99,
        |_, plan| plan.model = "--dangerously-skip-permissions".to_owned(),
        |_, plan| plan.names.guest = "../../x".to_owned(),
        |_, plan| plan.env = vec![("LD_PRELOAD".to_owned(), "/x.so".to_owned())],
        |_, plan| plan.env = vec![("BREAKGLASS_CELL".to_owned(), "x#".to_owned())],
        |_, plan| plan.env = vec![("BREAKGLASS_A".to_owned(), "a\0b".to_owned())],
    ];
    for change in changes {
        let mut odd = start_order();
        let mut plan = odd.plan.take().unwrap();
        change(&mut odd, &mut plan);
        odd.plan = Some(plan);
        let mut server = scene.connect().await;
        server.send(Order::Start(Box::new(odd))).await;
        let why = server.refusal().await;
        assert!(why.contains("does not understand"), "{why}");
    }
    scene.end().await;
}

#[tokio::test]
async fn an_invalid_frame_only_ends_its_connection() {
    let scene = Scene::start(LEAVE_PROCESS);
    for garbage in [
        &b"\xff\xff\xff\xffS"[..],
        b"\0\0\0\0",
        b"\0\0\0\x01?",
        b"\0\0\0\x02S{",
    ] {
        let mut server = scene.connect().await;
        server.output.write_all(garbage).await.unwrap();
        server.refusal().await;
    }
    let mut server = scene.connect().await;
    server.start().await;
    let stray = server.pid().await;
    server.output.write_all(b"\xff\xff\xff\xff").await.unwrap();
    until_gone(stray).await;
    scene.end().await;
}

#[tokio::test]
async fn processes_beyond_the_maximum_are_refused() {
    let scene = Scene::start("cat");
    let mut servers = Vec::new();
    for _ in 0..6 {
        let mut server = scene.connect().await;
        server.start().await;
        servers.push(server);
    }
    let why = scene.connect().await.refusal().await;
    assert!(why.contains("all processes"), "{why}");
    scene.end().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let scene = Scene::start("cat");
    let options = RunnerOptions {
        socket: scene.path("sock"),
        peers: Vec::new(),
        agent: AgentOptions::new("cat", scene.path("home")),
        ssh_dir: scene.path(""),
    };
    let second = Runner::bind(options.clone(), CancellationToken::new()).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    scene.running.abort();
    let _ = scene.running.await;
    assert!(options.socket.exists());
    Runner::bind(options, CancellationToken::new()).unwrap();
}

#[test]
fn a_frame_that_is_too_long_is_not_encoded() {
    let error = encode(&Order::Input(vec![0; 300_000].into())).unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn every_frame_is_decoded_as_it_was_encoded() {
    let orders = [
        Order::Start(Box::new(start_order())),
        Order::Input(b"a\nb"[..].into()),
        Order::End(Duration::from_millis(1500)),
        Order::Kill,
        Order::Sweep,
    ];
    let mut bytes = Vec::new();
    for order in &orders {
        bytes.extend_from_slice(&encode(order).unwrap());
    }
    let mut frames = Frames::new(&bytes[..]);
    for order in &orders {
        assert_eq!(frames.next::<Order>().await.unwrap().as_ref(), Some(order));
    }
    assert!(frames.next::<Order>().await.unwrap().is_none());
    assert!(Report::from_parts(b'?', Default::default()).is_err());
}
