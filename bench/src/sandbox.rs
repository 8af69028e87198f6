//! The agent in its sandbox compared with the same agent under confinement: the first word of an incident's
//! first turn and of a later one, `ssh devvm true` from inside, and memory. Real claude CLI, scripted model,
//! real sshd; two servers that differ only in `agent.sandbox`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use breakglass_rig::claude::claude;
use breakglass_rig::model::{ModelServer, Reply};
use breakglass_rig::sshd::Sshd;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::server::{Deployment, Server};
use crate::stats;

const ROUNDS: usize = 7;
const COMMANDS: usize = 20;

pub(crate) fn run() {
    let runtime = Runtime::new().unwrap();
    let boxed = Scene::start(&runtime, "required");
    let bare = Scene::start(&runtime, "none");
    let mut figures: [(Vec<Turns>, &Scene); 2] = [(Vec::new(), &boxed), (Vec::new(), &bare)];
    for (turns, scene) in &mut figures {
        turns.push(scene.incident());
        turns.clear();
    }
    for _ in 0..ROUNDS {
        for (turns, scene) in &mut figures {
            turns.push(scene.incident());
        }
    }
    let [(boxed, _), (bare, _)] = figures;
    for (name, goal, of) in [
        (
            "first word of an incident, in the sandbox",
            "≤ 1.1×",
            (|it| it.first) as fn(&Turns) -> f64,
        ),
        (
            "first word of a later turn, in the sandbox",
            "≤ 1.1×",
            |it| it.later,
        ),
        (
            "agent's `ssh devvm true`, in the sandbox",
            "≤ 1.1×",
            |it| it.command,
        ),
    ] {
        let median = |all: &[Turns]| stats::median(&mut all.iter().map(of).collect::<Vec<_>>());
        let (ours, theirs) = (median(&boxed), median(&bare));
        let against = format!("confinement only: {theirs:.0} ms");
        stats::print(
            name,
            &format!("{ours:.0} ms"),
            &against,
            Some(ours / theirs),
            goal,
        );
    }
    let median =
        |all: &[Turns]| stats::median(&mut all.iter().map(|it| it.mib).collect::<Vec<_>>());
    let (ours, theirs) = (median(&boxed), median(&bare));
    stats::print(
        "memory of one agent (PSS)",
        &format!("{ours:.0} MiB"),
        &format!("confinement only: {theirs:.0} MiB"),
        Some(ours / theirs),
        "–",
    );
}

/// The times of one incident, in milliseconds, and the memory of its agent.
struct Turns {
    first: f64,
    later: f64,
    command: f64,
    mib: f64,
}

struct Scene {
    server: Server,
    _deployment: Deployment,
    _model: ModelServer,
    _guest: Sshd,
}

impl Scene {
    fn start(runtime: &Runtime, sandbox: &str) -> Scene {
        let script = format!("for i in $(seq {COMMANDS}); do ssh devvm true || exit 1; done");
        let replies = [
            Reply::text("All is well."),
            Reply::text("Still well."),
            Reply::bash(&script),
            Reply::text("Done."),
        ];
        let all = std::iter::repeat_n(replies, ROUNDS + 1).flatten();
        let model = runtime.block_on(ModelServer::start(all));
        let mut deployment = Deployment::without_target();
        let public = std::fs::read_to_string(deployment.key_file().with_extension("pub")).unwrap();
        let guest = Sshd::open(public.trim());
        let there = format!(
            "{{ host = \"127.0.0.1\", port = {}, user = \"{}\" }}",
            guest.port,
            guest.user()
        );
        deployment.point_at(&format!(
            "guest = {there}\nhost = {{ host = \"127.0.0.1\", port = 9, user = \"nobody\" }}"
        ));
        let key = deployment.dir().join("model_key");
        std::fs::write(&key, "sk-bench").unwrap();
        deployment.set_agent(&format!(
            "command = \"{}\"\nbase_url = \"{}\"\napi_key_file = \"{}\"\nsandbox = \"{sandbox}\"\n\
             autonomy = \"autonomous\"\nmodel_check_hours = 0\n",
            claude().display(),
            model.url(),
            key.display(),
        ));
        let server = Server::start(&deployment);
        Scene {
            server,
            _deployment: deployment,
            _model: model,
            _guest: guest,
        }
    }

    /// An incident of three turns.
    fn incident(&self) -> Turns {
        let began = Instant::now();
        let opened = self
            .server
            .ask("POST", "/api/incidents", "{\"target\":\"devvm\"}");
        let incident = body(&opened)["incident"].as_str().unwrap().to_owned();
        let path = format!("/api/incidents/{incident}");
        let mut events = self.events(&path);
        let first = self.turn(&path, &mut events, began);
        let later = self.turn(&path, &mut events, Instant::now());
        let began = Instant::now();
        let command = self.turn(&path, &mut events, began) / COMMANDS as f64;
        let mib = self.server.children_mib();
        self.server.ask("POST", &format!("{path}/close"), "");
        Turns {
            first,
            later,
            command,
            mib,
        }
    }

    /// Milliseconds from `began` to the first word; returns at the turn's end.
    fn turn(&self, path: &str, events: &mut impl Iterator<Item = String>, began: Instant) -> f64 {
        let prompt = json!({ "text": "How is it?" }).to_string();
        self.server.ask("POST", &format!("{path}/prompts"), &prompt);
        let mut first = None;
        for line in events {
            if line.starts_with("event: text_delta") {
                first.get_or_insert_with(|| stats::millis(began.elapsed()));
            }
            if line.starts_with("data: ") && line.contains("\"kind\":\"turn_ended\"") {
                assert!(line.contains("\"done\""), "{line}");
                break;
            }
        }
        first.expect("a word was typed")
    }

    fn events(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let mut socket = TcpStream::connect(self.server.address).unwrap();
        write!(
            socket,
            "GET {path}/events HTTP/1.1\r\nhost: {}\r\n{}\r\n",
            self.server.address, self.server.authorization
        )
        .unwrap();
        BufReader::new(socket).lines().map(Result::unwrap)
    }
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}
