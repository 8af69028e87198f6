//! Escape attempts from inside the agent's sandbox, by the real claude CLI, in
//! each kind of sandbox that can be made here. None succeeds, and each refusal is checked.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::escapes::{List, Prey, exhaustion, lists};
use crate::common::scene::{AGENT, SERVER, Scene, incident, set_mode};
use crate::common::{Ended, Events, wait_until};
use breakglass_rig::model::Reply;
use serde_json::{Value, json};

/// The path of the library inside the sandbox.
const LIBRARY: &str = "/run/breakglass/library";
/// Longest time for a response and for a `status` verb while the sandbox uses up resources.
const PATIENCE: Duration = Duration::from_secs(10);

/// A machine with services that trust every client, and with secrets.
struct Machine {
    scene: Scene,
    secret: PathBuf,
    trusting: PathBuf,
    trusting_abstract: String,
    service: u16,
    listed: u16,
    neighbour: Option<Ended>,
    _sockets: [UnixListener; 2],
}

impl Machine {
    async fn new() -> Machine {
        let scene = Scene::new().await;
        let secret = scene.path("a-secret-of-the-tests");
        fs::write(&secret, "hidden").unwrap();
        set_mode(&secret, 0o600);
        fs::create_dir(scene.path("library")).unwrap();
        let trusting = scene.path("trusting.sock");
        let trusting_abstract = format!("breakglass-test-{}", std::process::id());
        let by_path = UnixListener::bind(&trusting).unwrap();
        set_mode(&trusting, 0o666);
        let name = SocketAddr::from_abstract_name(&trusting_abstract).unwrap();
        let by_name = UnixListener::bind_addr(&name).unwrap();
        Machine {
            scene,
            secret,
            trusting,
            trusting_abstract,
            service: echo("0.0.0.0:0"),
            listed: echo("127.0.0.1:0"),
            neighbour: None,
            _sockets: [by_path, by_name],
        }
    }

    /// The agent's section of the configuration, without the settings of its kind.
    fn section(&self) -> String {
        let (library, listed) = (self.scene.path("library"), self.listed);
        let library = library.display();
        format!(
            "\nsandbox = \"required\"\nlibrary = \"{library}\"\negress = [\"localhost:{listed}\"]\n"
        )
    }

    /// Starts a server with this kind of sandbox, and another process of its account.
    fn serve(&mut self, kind: Kind) {
        let own = self.scene.own_account();
        let same = own.replace(&format!("user = \"{AGENT}\"\n"), "") + &self.section();
        let own = own + &self.section();
        let mut neighbour = Command::new("sleep");
        neighbour.arg("4242");
        match kind {
            Kind::Root => self.scene.serve(&same),
            Kind::RootForAnAccount => self.scene.serve(&own),
            Kind::Unprivileged => {
                neighbour.uid(SERVER).gid(SERVER);
                std::os::unix::fs::chown(&self.secret, Some(SERVER), Some(SERVER)).unwrap();
                self.scene.give_to_server(&["api_key"]);
                self.scene.serve_as_server(&same);
            }
            Kind::FourCapabilities => {
                neighbour.uid(AGENT).gid(60);
                self.scene.serve_with_four_capabilities(&own);
            }
        }
        self.neighbour = Some(Ended(neighbour.spawn().unwrap()));
    }

    /// Runs `all` as the scripted agent's tools, one call each, while another incident's agent is at work.
    fn run(&self, all: &[&List]) -> Vec<String> {
        let commands: Vec<String> = all.iter().map(|list| list.command(LIBRARY)).collect();
        let events = self.scene.have_run(&commands);
        let finished = events
            .iter()
            .filter(|event| event["kind"] == "tool_finished");
        let outputs: Vec<String> = finished
            .map(|event| event["output"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(outputs.len(), all.len(), "{events:?}");
        assert_eq!(events.last().unwrap()["outcome"], "done", "{events:?}");
        outputs
    }

    /// Another incident with a file in its home.
    fn other_incident(&self) -> PathBuf {
        let client = self.scene.client();
        let other = incident(&client);
        self.scene
            .model
            .then(Reply::bash("echo mine > ~/of-another-incident"));
        self.scene.model.then(Reply::text("Done."));
        let mut events = client.ask(&other, "Work.");
        events.until("turn_ended");
        let home = self.scene.path("data/cell/own/home").join(other);
        assert!(home.join("of-another-incident").exists());
        home
    }

    fn prey<'a>(&'a self, paths: &'a Paths) -> Prey<'a> {
        let port = self.scene.address.rsplit_once(':').unwrap().1;
        Prey {
            server: self.scene.pid(),
            neighbour: self.neighbour.as_ref().unwrap().0.id(),
            data: &paths.data,
            key: &paths.key,
            token: &paths.token,
            program: &paths.program,
            secret: &self.secret,
            trusting: &self.trusting,
            trusting_abstract: &self.trusting_abstract,
            api: port.parse().unwrap(),
            service: self.service,
            address: &paths.address,
            listed: self.listed,
            other_home: &paths.other_home,
            other_file: "of-another-incident",
        }
    }

    fn paths(&self) -> Paths {
        let path = |name: &str| self.scene.path(name);
        Paths {
            data: path("data"),
            key: path("key"),
            token: path("token"),
            program: path("breakglass"),
            other_home: self.other_incident(),
            address: own_address_outside(),
        }
    }

    /// Runs all lists in a sandbox of this kind, and checks that every attempt fails.
    fn try_everything(&mut self, kind: Kind) {
        self.serve(kind);
        let paths = self.paths();
        let lists = lists(&self.prey(&paths));
        let library = self.scene.path("library");
        lists.iter().for_each(|list| list.write(&library));
        let outputs = self.run(&lists.iter().collect::<Vec<_>>());
        let faults: Vec<String> = lists
            .iter()
            .zip(&outputs)
            .flat_map(|(list, output)| list.faults(output))
            .collect();
        assert!(faults.is_empty(), "{kind:?}:\n{}", faults.join("\n"));
        let count: usize = lists.iter().map(|list| list.attempts.len()).sum();
        assert!(count >= 300, "{count}");
        if let Ok(file) = std::env::var("ESCAPES_LOG") {
            fs::write(format!("{file}.{kind:?}"), outputs.join("\n")).unwrap();
        }
        let client = self.scene.client();
        wait_until("the server still answers", || client.try_get("/health"));
        assert_eq!(client.verb("status").body["outcome"], "done");
    }
}

struct Paths {
    data: PathBuf,
    key: PathBuf,
    token: PathBuf,
    program: PathBuf,
    other_home: PathBuf,
    address: String,
}

/// The process that makes the sandbox.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Root,
    RootForAnAccount,
    Unprivileged,
    FourCapabilities,
}

/// A service that returns its input after a header. Returns its port.
fn echo(address: &str) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = vec![0; 64 << 10];
                let _ = stream.set_read_timeout(Some(crate::common::LIMIT));
                let count = stream.read(&mut bytes).unwrap_or(0);
                if count > 0 {
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nECHO ";
                    let _ = stream.write_all(&[head.as_bytes(), &bytes[..count]].concat());
                }
            });
        }
    });
    port
}

/// An address of this machine that is not loopback.
fn own_address_outside() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing: connecting a UDP socket only selects the route.
    let found = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    found.map_or_else(
        |_| "127.0.0.3".to_owned(),
        |address| address.ip().to_string(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_escape_from_a_sandbox_made_by_root() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| machine.try_everything(Kind::Root));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_escape_from_a_sandbox_made_by_root_for_an_account() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| machine.try_everything(Kind::RootForAnAccount));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_escape_from_a_sandbox_made_without_privileges() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| machine.try_everything(Kind::Unprivileged));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_escape_from_a_sandbox_made_with_four_capabilities() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| machine.try_everything(Kind::FourCapabilities));
}

/// Proves that the attempts are real: those that only need the machine succeed without a sandbox.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_succeed_without_a_sandbox() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| {
        machine.serve(Kind::Root);
        let paths = machine.paths();
        let library = machine.scene.path("library");
        let lists = lists(&machine.prey(&paths));
        let mut blunt = Vec::new();
        for list in &lists {
            list.write(&library);
            let command = list.command(library.to_str().unwrap());
            let mut outside = Command::new("bash");
            outside.args(["-c", &command]).env("ONLY", "real");
            let Output { stdout, .. } = outside.output().unwrap();
            blunt.extend(list.blunt(&String::from_utf8_lossy(&stdout)));
        }
        assert!(blunt.is_empty(), "{}", blunt.join("\n"));
    });
}

/// The worst times of a response and of a `status` verb.
struct Figures {
    health: Duration,
    status: Duration,
}

fn measure(scene: &Scene) -> Figures {
    let client = scene.client();
    let timed = |work: &dyn Fn()| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    let health = timed(&|| {
        let answered = client.try_get("/health");
        assert!(answered.is_some(), "the server does not answer");
    });
    let status = timed(&|| assert_eq!(client.verb("status").body["outcome"], "done"));
    Figures { health, status }
}

/// Runs a command in a turn while repeating `meanwhile`. Returns its output and the end of the turn.
fn run_beside(scene: &Scene, command: &str, mut meanwhile: impl FnMut()) -> (String, Value) {
    scene.model.then(Reply::bash(command));
    scene.model.then(Reply::text("Done."));
    let client = scene.client();
    let events = client.ask(&incident(&client), "Do your worst.");
    let reading = thread::spawn(move || ended(events));
    while !reading.is_finished() {
        meanwhile();
        thread::park_timeout(Duration::from_millis(200));
    }
    reading.join().unwrap()
}

/// The output of a turn's last tool, and the end of the turn.
fn ended(events: Events) -> (String, Value) {
    let mut said = String::new();
    for frame in events {
        match frame.event.as_str() {
            "tool_finished" => frame.data["output"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut said),
            "turn_ended" => return (said, frame.data),
            _ => {}
        }
    }
    panic!("the stream ended before the turn did");
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_that_fills_the_machine_is_bounded_and_server_and_power_stay_fast() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| {
        machine.serve(Kind::Unprivileged);
        let list = exhaustion();
        list.write(&machine.scene.path("library"));
        let scene = &machine.scene;
        let (mut health, mut status) = (Duration::ZERO, Duration::ZERO);
        let command = list.command(LIBRARY);
        let (said, end) = run_beside(scene, &command, || {
            let figures = measure(scene);
            health = health.max(figures.health);
            status = status.max(figures.status);
        });
        let faults = list.faults(&said);
        assert!(faults.is_empty(), "{}\n{said}", faults.join("\n"));
        assert_eq!(end["outcome"], "done", "{end}");
        assert!(
            health < PATIENCE && status < PATIENCE,
            "{health:?} {status:?}"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_bomb_does_not_slow_server_or_power_and_ends_with_stop() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| {
        machine.serve(Kind::Unprivileged);
        let scene = &machine.scene;
        let client = scene.client();
        let mark = format!("bomb-{}", std::process::id());
        let bomb = format!("bash -c 'f() {{ f | f & }}; f 2>/dev/null; sleep 600; : {mark}'");
        scene.model.then(Reply::bash(&bomb));
        let incident = incident(&client);
        let mut events = client.ask(&incident, "Do your worst.");
        wait_until("the bomb goes off", || (marked(&mark) > 100).then_some(()));
        for _ in 0..3 {
            let Figures { health, status } = measure(scene);
            assert!(
                health < PATIENCE && status < PATIENCE,
                "{health:?} {status:?}"
            );
            assert!(marked(&mark) < 400);
        }
        client.post(&format!("/api/incidents/{incident}/stop"), &json!({}));
        assert_eq!(events.until("turn_ended").data["outcome"], "stopped");
        wait_until("nothing of it is left", || {
            (marked(&mark) == 0).then_some(())
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_that_fills_the_kernel_with_sockets_is_ended_with_a_reason() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| {
        machine.serve(Kind::Unprivileged);
        let sockets = "for i in 1 2 3 4 5 6; do perl -MSocket -e 'my @s; while (socketpair(my $a, my $b, \
             AF_UNIX, SOCK_STREAM, 0)) { push @s, $a, $b } sleep 60' & done; wait";
        let (_, end) = run_beside(&machine.scene, sockets, || {
            measure(&machine.scene);
        });
        assert_eq!(end["outcome"], "interrupted", "{end}");
        let reason = end["reason"].as_str().unwrap();
        assert!(reason.contains("open sockets"), "{reason}");
    });
}

/// Number of processes with this argument, without the test and the CLI.
fn marked(word: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let commands = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let marked = |command: &Vec<u8>| String::from_utf8_lossy(command).contains(word);
    commands.filter(marked).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_that_fills_its_files_is_ended_and_the_next_prompt_has_space() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| {
        machine.serve(Kind::Root);
        let client = machine.scene.client();
        for fill in [
            "for i in 1 2 3; do fallocate -l 900M ~/big$i /work/big$i; fallocate -l 900M /work/b$i; done; sleep 60",
            "perl -e 'mkdir \"/work/d\"; for my $i (1 .. 110000) { open(my $f, \">\", \"/work/d/$i\") or last }'; sleep 60",
        ] {
            machine.scene.model.then(Reply::bash(fill));
            let incident = incident(&client);
            let (_, end) = ended(client.ask(&incident, "Fill it."));
            assert_eq!(end["outcome"], "interrupted", "{end}");
            let reason = end["reason"].as_str().unwrap();
            assert!(reason.contains("use more than"), "{reason}");
            machine.scene.model.then(Reply::bash("ls /work | wc -l"));
            machine.scene.model.then(Reply::text("Empty."));
            let mut events = client.events(&incident, 0);
            events.until("turn_ended");
            client.prompt(&incident, "And now?");
            assert_eq!(events.until("tool_finished").data["output"], "0");
            assert_eq!(events.until("turn_ended").data["outcome"], "done");
            let closed = client.post(&format!("/api/incidents/{incident}/close"), &json!({}));
            assert!(closed.status < 300, "{closed:?}");
        }
    });
}

/// Processes that try in every known way to survive their parent; each sleeps for `seconds`.
fn outliving(seconds: &str) -> String {
    let sleep = format!("sleep {seconds}");
    [
        format!("{sleep} &"),
        format!("nohup {sleep} >/dev/null 2>&1 &"),
        format!("setsid {sleep} &"),
        format!("setsid setsid nohup {sleep} >/dev/null 2>&1 </dev/null &"),
        format!("(({sleep} &) &)"),
        format!("perl -e 'fork and exit; setpgrp; close $_ for *STDIN, *STDOUT, *STDERR; fork and exit; exec qw(sleep {seconds})'"),
        // No parent-death signal, all signals but SIGKILL ignored, and no environment to identify it by.
        format!("perl -e 'syscall(157, 1, 0, 0, 0, 0); $SIG{{$_}} = \"IGNORE\" for qw(TERM HUP INT QUIT PIPE); %ENV = (); fork and exit; exec qw(sleep {seconds})'"),
        format!("env -i setsid {sleep} & sleep 0.5; kill -STOP $!"),
        format!("sh -c 'while :; do {sleep}; done' &"),
        format!("(cd /; exec -a init {sleep}) &"),
    ]
    .join("\n")
        + "\nsleep 1; echo started; wait"
}

/// Number of processes that sleep for `seconds`.
fn sleeping(seconds: &str) -> usize {
    let end = format!("\0{seconds}\0").into_bytes();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let commands = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    commands.filter(|command| command.ends_with(&end)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_survives_stop_close_or_a_killed_server() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| {
        machine.serve(Kind::Unprivileged);
        let client = machine.scene.client();
        let seconds = format!("4243.{}", std::process::id());
        let begin = || {
            machine.scene.model.then(Reply::bash(&outliving(&seconds)));
            let incident = incident(&client);
            let events = client.ask(&incident, "Work.");
            wait_until("all of them run", || {
                (sleeping(&seconds) >= 10).then_some(())
            });
            (incident, events)
        };
        let gone = |what: &str| {
            wait_until(what, || (sleeping(&seconds) == 0).then_some(()));
        };
        let (incident, mut events) = begin();
        client.post(&format!("/api/incidents/{incident}/stop"), &json!({}));
        gone("nothing is left after Stop");
        assert_eq!(events.until("turn_ended").data["outcome"], "stopped");
        client.post(&format!("/api/incidents/{incident}/close"), &json!({}));

        let (incident, _events) = begin();
        client.post(
            &format!("/api/incidents/{incident}/cut-off"),
            &json!({ "cut_off": true }),
        );
        client.post(&format!("/api/incidents/{incident}/stop"), &json!({}));
        client.post(&format!("/api/incidents/{incident}/close"), &json!({}));
        gone("nothing is left after closing");

        let (_, _events) = begin();
        machine.scene.server = None;
        gone("nothing is left of a killed server");
    });
}

/// Links instead of every file that the server writes into a home.
const LINKS: &str = "cd ~; rm -rf .claude.away; mv .claude .claude.away; \
     case $1 in \
     1) ln -s OUT .claude;; \
     2) mkdir .claude; ln -s OUT .claude/agents; ln -s OUT/credentials .claude/.credentials.json;; \
     3) mkdir -p .claude/agents; ln -s OUT/agent .claude/agents/breakglass-devvm.md;; \
     4) printf x > .claude;; \
     5) rm -rf tmp; ln -s OUT tmp; mkdir .claude; ln -s OUT .claude/projects;; \
     esac; cp -rn .claude.away/projects .claude/ 2>/dev/null; rm -rf ../work; ln -s OUT /work/out; echo done";

#[tokio::test(flavor = "multi_thread")]
async fn server_does_not_follow_links_in_the_cell() {
    let mut machine = Machine::new().await;
    tokio::task::block_in_place(|| {
        let out = machine.scene.path("out");
        fs::create_dir(&out).unwrap();
        // The targets of the links are writable.
        set_mode(&out, 0o777);
        for name in ["credentials", "agent"] {
            fs::write(out.join(name), "theirs").unwrap();
            set_mode(&out.join(name), 0o666);
        }
        let sign_in = machine.scene.path("sign-in");
        fs::create_dir(&sign_in).unwrap();
        fs::write(sign_in.join(".credentials.json"), "{}").unwrap();
        machine.serve(Kind::Root);
        for round in 1..=5 {
            let client = machine.scene.client();
            let links = LINKS.replace("$1", &round.to_string());
            machine
                .scene
                .model
                .then(Reply::bash(&links.replace("OUT", out.to_str().unwrap())));
            machine.scene.model.then(Reply::text("Done."));
            let incident = incident(&client);
            ended(client.ask(&incident, "Link."));
            let made = machine.scene.path("data/cell/own/work").join(&incident);
            let made = fs::symlink_metadata(made.join("out"));
            assert!(made.unwrap().is_symlink(), "round {round}");
            // The next server writes everything again and starts another CLI.
            machine.scene.server = None;
            machine.serve(Kind::Root);
            let client = machine.scene.client();
            machine.scene.model.then(Reply::text("Here again."));
            let mut events = client.events(&incident, 0);
            let asked = client.prompt(&incident, "And now?");
            assert_eq!(asked.status, 202, "round {round}: {asked:?}");
            let second =
                events.find(|frame| frame.event == "turn_ended" && frame.data["turn"] == 2);
            assert!(second.is_some());
            let mut names: Vec<String> = fs::read_dir(&out)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            assert_eq!(names, ["agent", "credentials"], "round {round}");
            for name in names {
                assert_eq!(
                    fs::read_to_string(out.join(name)).unwrap(),
                    "theirs",
                    "round {round}"
                );
            }
            client.post(&format!("/api/incidents/{incident}/close"), &json!({}));
        }
    });
}
