//! The agent's cell from inside: the real claude CLI, a manipulated model,
//! and a server with real secrets.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::common::attempts::{REACHED, Target, attempts};
use crate::common::scene::{AGENT, API_KEY, Scene, incident, set_mode};
use crate::common::serve::{TOKEN, keygen};
use crate::common::wait_until;
use breakglass_rig::model::Reply;

impl Scene {
    /// Makes every attempt: nothing may be reached, and everything must be in the log.
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

#[tokio::test(flavor = "multi_thread")]
async fn agent_with_its_own_account_gets_no_key_token_or_memory() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        scene.serve(&scene.confinement());
        scene.try_everything();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_with_the_servers_account_gets_no_key_token_or_memory() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let account = format!("user = \"{AGENT}\"\n");
        scene.serve(&scene.confinement().replace(&account, ""));
        scene.try_everything();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_behind_a_runner_gets_no_key_token_or_memory() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let _runner = scene.runner();
        scene.serve_unprivileged(&scene.behind_runner());
        scene.try_everything();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_runner_sockets_of_other_incidents_and_the_server_are_useless() {
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
        // A socket's accepted connections are listed by its path too.
        let every_socket = format!(
            "perl -MIO::Socket::UNIX -e '$SIG{{PIPE}} = \"IGNORE\"; open(my $all, \"<\", \"/proc/net/unix\"); \
             while (<$all>) {{ next unless m{{ ({}/shared/\\S+/devvm)$}}; my $path = $1; \
             next if $seen{{$path}}++ or index($path, $ENV{{BREAKGLASS_BASTION}}) == 0; \
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
            (scene.confinement(), true),
            (scene.behind_runner(), true),
            (scene.behind_runner(), false),
        ] {
            if privileged {
                scene.serve(&agent);
            } else {
                // The server can't change files that root has left.
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
        // No permission protects it.
        set_mode(&library, 0o777);
        set_mode(&runbook, 0o666);
        let there = library.display().to_string();
        let inside = "/run/breakglass/library";
        let key = format!("\nlibrary = \"{there}\"");
        let own = scene.confinement() + &key;
        let same = own.replace(&format!("user = \"{AGENT}\"\n"), "");
        let _runner = scene.runner();
        for (name, agent, shown) in [
            ("a sandbox", scene.own_account() + &key, inside),
            ("own account", own, &there),
            ("same account", same, &there),
            ("behind a runner", scene.behind_runner(), &there),
        ] {
            let read = format!("ls {shown}; cat {shown}/boot.md");
            let change = format!(
                "(echo x >> {shown}/boot.md; echo x > {shown}/new; rm -f {shown}/boot.md) 2>&1; true"
            );
            scene.serve(&agent);
            let events = scene.have_run(&[read, change]);
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
            let heard = scene.model.requests().last().unwrap().text();
            assert!(heard.contains(&format!("The folder `{shown}`")), "{name}");
            scene.server = None;
            fs::remove_dir_all(scene.path("data")).unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn unprivileged_server_starts_the_cli_in_its_account_with_four_capabilities() {
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
async fn cell_belongs_to_the_clis_own_account() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        scene.serve(&scene.confinement());
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
async fn next_server_ends_tools_that_survived_a_killed_one() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        scene.serve(&scene.confinement());
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
        scene.serve(&scene.confinement());
        wait_until("the tool is gone", || (!lives(tool)).then_some(()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_runner_interrupts_the_turn_and_the_next_one_cleans_up() {
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
async fn killed_server_ends_the_runners_tools() {
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
async fn server_has_no_model_login_and_runner_has_no_server_secret() {
    let mut scene = Scene::new().await;
    tokio::task::block_in_place(|| {
        let runner = scene.runner();
        scene.serve(&scene.behind_runner());
        scene.have_run(&["true".to_owned()]);
        // Root can read both, protected or not.
        let of_runner = memory(runner.0.id());
        let of_server = memory(scene.pid());
        assert!(holds(&of_runner, API_KEY) && holds(&of_server, "devvm"));
        assert!(!holds(&of_server, API_KEY));
        for secret in scene.secrets() {
            assert!(!holds(&of_runner, &secret));
        }
    });
}

/// The readable memory of a process.
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
fn secret_readable_by_the_agents_account_is_refused_at_startup() {
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
    let (code, said) = crate::common::run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("auth.token_file") && said.contains("can be read by agent.user"),
        "{said}"
    );
    assert!(!said.contains("ssh.key_file"), "{said}");
}
