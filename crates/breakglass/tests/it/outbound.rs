//! Two incidents whose agents share an account: each can only use its own connections to guest and host.

use std::fs;
use std::path::PathBuf;

use crate::common::serve::Served;
use crate::common::{Client, Events, wait_until};
use breakglass_rig::model::{ModelServer, Reply};
use serde_json::{Value, json};

/// Printed by a successful attempt. The shell assembles it, so that the command's text does not contain it.
const REACHED: &str = "REACHED";
/// Uses the guest repeatedly until a file exists, and prints where it failed.
const AT_WORK: &str = "echo $$ > ~/b.pid; echo $BREAKGLASS_BASTION > ~/b.way; n=0; \
     while [ ! -e ~/stop ]; do ssh devvm true || echo FAILED; n=$((n+1)); echo $n > ~/b.rounds; sleep 0.2; done; \
     echo rounds $n";
/// Opens every guest socket except its own, as any program that can list them could.
const EVERY_SOCKET: &str = r#"perl -MIO::Socket::UNIX -e '
  $SIG{PIPE} = "IGNORE"; open(my $all, "<", "/proc/net/unix"); my $tried = 0;
  while (<$all>) {
    next unless m{ (/\S+/devvm)$}; my $path = $1;
    (my $server = $ENV{BREAKGLASS_BASTION}) =~ s{[^/]+$}{};
    next if index($path, $server) != 0 or index($path, $ENV{BREAKGLASS_BASTION}) == 0;
    $tried++;
    my $s = IO::Socket::UNIX->new(Peer => $path) or next;
    print $s "SSH-2.0-own\r\n"; my $said = <$s>; print "said: $said";
    print "REA", "CHED\n" if $said =~ /^SSH-/;
  }
  print "tried $tried\n"'"#;

/// Attempts to reach another incident's guest. `~/b.way` and `~/b.pid` have everything an agent could find out.
fn attempts() -> Vec<(&'static str, String)> {
    let (attach, open, take) = match cfg!(target_arch = "aarch64") {
        true => (117, 434, 438),
        false => (101, 434, 438),
    };
    let go = "ssh devvm 'echo REA''CHED'";
    let named = format!("export BREAKGLASS_BASTION=$(cat ~/b.way); {go}");
    vec![
        ("its variable", named.clone()),
        ("every socket there is", EVERY_SOCKET.to_owned()),
        (
            "a client of one's own",
            format!(
                "{} -o ConnectTimeout=2 -o ProxyUseFdpass=no -o ProxyCommand=\"perl -MIO::Socket::UNIX -e \
                 'my \\$s = IO::Socket::UNIX->new(Peer => shift) or die; \
                 if (!fork) {{ while (sysread(STDIN, my \\$b, 4096)) {{ syswrite(\\$s, \\$b) }} exit }} \
                 while (sysread(\\$s, my \\$b, 4096)) {{ syswrite(STDOUT, \\$b) }}' $(cat ~/b.way)/devvm\" \
                 devvm 'echo REA''CHED'",
                "ssh"
            ),
        ),
        (
            "a daemon",
            format!("(setsid nohup sh -c \"{named}\" > ~/daemon 2>&1 &); sleep 3; cat ~/daemon"),
        ),
        (
            "tracing the other's shell",
            format!(
                "perl -e 'exit(syscall({attach},16,'$(cat ~/b.pid)',0,0) == 0 ? 0 : 1)' && printf 'REA%s\\n' CHED"
            ),
        ),
        (
            "the memory of the other's shell",
            "head -c 1 /proc/$(cat ~/b.pid)/maps && printf 'REA%s\\n' CHED".to_owned(),
        ),
        (
            "a descriptor of the other's shell",
            format!(
                "perl -e '$p = syscall({open},'$(cat ~/b.pid)',0); exit(syscall({take},$p,1,0) >= 0 ? 0 : 1)' \
                 && printf 'REA%s\\n' CHED"
            ),
        ),
        (
            "ending the other's shell",
            "kill -9 $(cat ~/b.pid) && printf 'REA%s\\n' CHED".to_owned(),
        ),
    ]
}

/// Legitimate commands and their output.
const HONEST: [(&str, &str); 7] = [
    ("sh -c 'sh -c \"ssh devvm echo nested\"; :'", "nested"),
    (
        "(ssh devvm echo beside > ~/beside) & wait; cat ~/beside",
        "beside",
    ),
    (
        "(setsid nohup sh -c 'sleep 1; ssh devvm echo late > ~/late' >/dev/null 2>&1 &); \
         while [ ! -s ~/late ]; do sleep 0.1; done; cat ~/late",
        "late",
    ),
    (
        "echo copied > f; scp -q f devvm:/tmp/$PPID.f && ssh devvm cat /tmp/$PPID.f",
        "copied",
    ),
    (
        "echo synced > g; rsync g devvm:/tmp/$PPID.g && ssh devvm cat /tmp/$PPID.g",
        "synced",
    ),
    ("echo 'ls /' | sftp -q -b - devvm | grep -w etc", "etc"),
    (
        "for i in 1 2 3 4 5 6 7 8; do ssh devvm echo at once & done; wait",
        "at once",
    ),
];

struct Scene {
    model: ModelServer,
    served: Served,
}

impl Scene {
    async fn new() -> Scene {
        Scene::by("").await
    }

    /// Agents that share an account and a home, without a sandbox.
    async fn with_confinement() -> Scene {
        Scene::by("export BREAKGLASS_AGENT__SANDBOX=none;").await
    }

    async fn by(prelude: &str) -> Scene {
        let model = ModelServer::start([]).await;
        let url = model.url();
        let served = tokio::task::block_in_place(|| Served::with_agent_and(&url, "", prelude));
        Scene { model, served }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.served.data_dir().join("cell/home").join(name)
    }

    /// An incident whose agent is running a command on the guest.
    fn at_work(&self, client: &Client) -> (String, Events) {
        self.model.then(Reply::bash(AT_WORK));
        let incident = incident(client);
        let events = client.ask(&incident, "Work.");
        wait_until("the other agent is at work", || self.rounds());
        (incident, events)
    }

    fn rounds(&self) -> Option<u32> {
        fs::read_to_string(self.home("b.rounds"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Lets the command finish, and returns its output.
    fn work_is_over(&self, events: &mut Events) -> String {
        let before = self.rounds().unwrap();
        wait_until("the other agent goes on", || {
            self.rounds().filter(|now| *now > before + 1)
        });
        self.model.then(Reply::text("Done."));
        fs::write(self.home("stop"), "").unwrap();
        let said = events.until("tool_finished");
        said.data["output"].as_str().unwrap().to_owned()
    }

    /// Has an agent run each of `commands`. Returns their outputs.
    fn have_run(&self, client: &Client, incident: &str, commands: &[String]) -> Vec<String> {
        for command in commands {
            self.model.then(Reply::bash(command));
        }
        self.model.then(Reply::text("Nothing."));
        let mut said = Vec::new();
        let turn = client.prompt(incident, "Look around.").body["turn"].clone();
        let mut events = client.events(incident, 0);
        events.find(|frame| {
            if frame.event == "tool_finished" && frame.data["turn"] == turn {
                said.push(frame.data["output"].as_str().unwrap_or_default().to_owned());
            }
            frame.event == "turn_ended" && frame.data["turn"] == turn
        });
        said
    }
}

fn incident(client: &Client) -> String {
    let opened = client.post("/api/incidents", &json!({ "target": "devvm" }));
    assert!(opened.status < 300, "{opened:?}");
    opened.body["incident"].as_str().unwrap().to_owned()
}

/// The messages of the log's notices with this code.
fn notices(client: &Client, incident: &str, code: &str) -> Vec<String> {
    let (status, _, lines) = client.bytes(&format!("/api/incidents/{incident}/export"));
    assert_eq!(status, 200);
    let lines = String::from_utf8(lines).unwrap();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let notices = events.filter(|event| event["code"] == code);
    notices
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_another_incident_are_useless_and_a_cut_off_affects_only_its_own() {
    let scene = Scene::with_confinement().await;
    tokio::task::block_in_place(|| {
        let client = scene.served.client();
        let (other, mut at_work) = scene.at_work(&client);
        let own = incident(&client);
        assert_ne!(own, other);
        let attempts = attempts();
        let commands: Vec<String> = attempts
            .iter()
            .map(|(_, command)| command.clone())
            .collect();
        let said = scene.have_run(&client, &own, &commands);
        assert_eq!(said.len(), attempts.len(), "{said:?}");
        for ((name, _), said) in attempts.iter().zip(&said) {
            assert!(!said.contains(REACHED), "{name}: {said}");
        }
        assert!(
            said[0].contains("not a process of this incident's agent"),
            "{said:?}"
        );
        assert!(said[1].contains("said: breakglass: refused"), "{said:?}");
        let here = notices(&client, &other, "stranger_refused");
        let there = notices(&client, &own, "other_way_refused");
        assert!(here.len() >= 3 && there.len() >= 3, "{here:?} {there:?}");

        let path = format!("/api/incidents/{own}/cut-off");
        let cut = client.post(&path, &json!({ "cut_off": true }));
        assert_eq!(cut.body["cut_off"], true, "{cut:?}");
        let go = "ssh devvm 'echo REA''CHED'".to_owned();
        let commands: Vec<String> = [go].into_iter().chain(commands).collect();
        let said = scene.have_run(&client, &own, &commands);
        assert_eq!(said.len(), attempts.len() + 1, "{said:?}");
        assert!(said[0].contains("cut the agent off"), "{said:?}");
        assert!(said.iter().all(|said| !said.contains(REACHED)), "{said:?}");

        let said = scene.work_is_over(&mut at_work);
        assert!(
            said.contains("rounds") && !said.contains("FAILED"),
            "{said}"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_child_process_of_an_agent_reaches_the_guest() {
    let scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let client = scene.served.client();
        let commands = HONEST.map(|(command, _)| command.to_owned());
        let own = incident(&client);
        let said = scene.have_run(&client, &own, &commands);
        assert_eq!(said.len(), HONEST.len(), "{said:?}");
        for ((command, expected), said) in HONEST.iter().zip(&said) {
            assert!(said.contains(expected), "{command}: {said}");
        }
        assert_eq!(said[6].matches("at once").count(), 8, "{said:?}");
        assert_eq!(notices(&client, &own, "stranger_refused"), [] as [&str; 0]);
    });
}
