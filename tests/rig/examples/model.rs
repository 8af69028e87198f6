//! The scripted model server for a test that is not written in Rust, with a guest if requested.
//!
//! Reads one line of JSON from standard input: `{"replies": [{"text": "Done."}, {"bash": "ls"}],
//! "forbid": ["a secret"], "guest": "ssh-ed25519 …"}`; `forbid` and `guest` may be missing. Prints one
//! line, `{"url": …, "guest": {"port": …, "user": …, "known_hosts": …}}`, and runs until standard input
//! closes. Then it prints a second line, `{"requests": 2, "keys": […]}` with every API key that it
//! received, and judges its client: exit code 0 only if the client behaved.

// Test code: a panic reports a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, Read as _};

use breakglass_rig::model::{ModelServer, Reply, Request};
use breakglass_rig::sshd::Sshd;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    replies: Vec<Scripted>,
    #[serde(default)]
    forbid: Vec<String>,
    guest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scripted {
    Text(String),
    Bash(String),
}

impl From<Scripted> for Reply {
    fn from(scripted: Scripted) -> Reply {
        match scripted {
            Scripted::Text(text) => Reply::text(&text),
            Scripted::Bash(command) => Reply::bash(&command),
        }
    }
}

#[tokio::main]
async fn main() {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    let script: Script = serde_json::from_str(&line).unwrap();
    let guest = script.guest.as_deref().map(Sshd::open);
    let model = ModelServer::start(script.replies.into_iter().map(Reply::from)).await;
    for secret in &script.forbid {
        model.forbid(secret);
    }
    let reached = guest.as_ref().map(|sshd| {
        let (port, user, known) = (sshd.port, sshd.user(), sshd.known_hosts());
        json!({"port": port, "user": user, "known_hosts": known})
    });
    println!("{}", json!({"url": model.url(), "guest": reached}));
    tokio::task::block_in_place(|| std::io::stdin().lock().read_to_end(&mut Vec::new())).unwrap();
    let requests = model.requests();
    let keys: BTreeSet<&str> = requests.iter().filter_map(key).collect();
    println!("{}", json!({"requests": requests.len(), "keys": keys}));
}

fn key(request: &Request) -> Option<&str> {
    request.headers.get("x-api-key")?.to_str().ok()
}
