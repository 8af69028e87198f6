//! Each part is broken in turn: only its check reports it, and its remedy repairs it.

use std::fs;
use std::process::Command;

use super::deployment::{Deployment, Said, set_mode};
use crate::common::{Ended, breakglass, run, wait_until};

#[test]
fn working_deployment_is_green_and_the_checks_leave_nothing_behind() {
    let deployment = Deployment::new();
    let said = deployment.doctor();
    said.is(&[], "");
    for name in [
        "ssh_key",
        "record",
        "config.token",
        "drill",
        "devvm.guest.sudo",
        "devvm.host.no_terminal",
        "devvm.host.clock",
        "agent",
    ] {
        assert_eq!(said.check(name)["state"], "green", "{name}");
    }
    // The drill's log existed before.
    let left = fs::read_dir(deployment.path("data")).unwrap().count();
    assert_eq!(left, 1);
}

#[test]
fn missing_key_is_a_configuration_error_that_names_the_file() {
    let deployment = Deployment::new();
    fs::remove_file(deployment.path("key")).unwrap();
    let (code, text) = run(&["doctor", "--config", &deployment.shown("config.toml")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&deployment.shown("key")), "{text}");
}

#[test]
fn unloadable_key_is_red_and_no_connection_is_made() {
    let deployment = Deployment::new();
    let key = fs::read_to_string(deployment.path("key")).unwrap();
    deployment.write(
        "key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n",
        0o600,
    );
    deployment.finds(&[("ssh_key", "red")], &deployment.shown("key"));
    assert_eq!(deployment.guest.logins(), 0);
    deployment.write("key", &key, 0o600);
    deployment.is_well();
}

#[test]
fn key_readable_by_others_is_red_and_by_its_group_amber() {
    let deployment = Deployment::new();
    for (mode, state) in [(0o644, "red"), (0o640, "amber")] {
        set_mode(&deployment.path("key"), mode);
        let remedy = format!("chmod 600 {}", deployment.shown("key"));
        let remedies = deployment.finds(&[("ssh_key", state)], &remedy);
        deployment.carry_out(&remedies[0], "chmod");
        deployment.is_well();
    }
}

#[test]
fn guest_that_is_down_is_red_and_later_checks_are_skipped() {
    let mut deployment = Deployment::new();
    deployment.guest.kill();
    deployment.finds(&[("devvm.guest.reach", "red")], "ssh -v -p");
    deployment.guest.restart();
    deployment.is_well();
}

#[test]
fn stalled_guest_is_red_within_the_timeout() {
    let deployment = Deployment::new();
    deployment.guest.freeze();
    let began = std::time::Instant::now();
    deployment.finds(&[("devvm.guest.reach", "red")], "ssh -v -p");
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    deployment.guest.thaw();
    deployment.is_well();
}

#[test]
fn guest_that_refuses_the_key_is_red_with_the_missing_line() {
    let deployment = Deployment::new();
    deployment.guest.authorize("");
    let remedies = deployment.finds(&[("devvm.guest.login", "red")], "authorized_keys");
    let (_, line) = remedies[0].split_once(": ").unwrap();
    deployment.guest.authorize(&format!("{line}\n"));
    deployment.is_well();
}

#[test]
fn guest_with_another_host_key_is_red_until_it_is_pinned() {
    let mut deployment = Deployment::new();
    deployment.guest.restart_with_another_key();
    let pins = deployment.shown("known_hosts");
    let remedies = deployment.finds(&[("devvm.guest.host_key", "red")], &pins);
    deployment.carry_out(&remedies[0], "ssh-keygen");
    deployment.is_well();
}

#[test]
fn guest_without_sudo_is_red_until_sudoers_allows_it() {
    let mut deployment = Deployment::new();
    let sudoers = deployment.shown("sudoers.d");
    fs::create_dir(&sudoers).unwrap();
    let sudo = format!(
        "grep -qs '^root ALL=(ALL) NOPASSWD: ALL$' {sudoers}/breakglass && exit\n\
         echo 'sudo: a password is required' >&2; exit 1"
    );
    let sudo = sudo.replace("root", &deployment.guest.user());
    deployment.shadow(&[("id", "echo 1000"), ("sudo", &sudo), ("visudo", "")]);
    let remedies = deployment.finds(&[("devvm.guest.sudo", "red")], "/etc/sudoers.d/breakglass");
    let there = remedies[0].replace("/etc/sudoers.d", &sudoers);
    deployment.carry_out(&there, "echo");
    deployment.is_well();
}

#[test]
fn guest_whose_login_runs_no_command_is_red_with_its_output() {
    let deployment = Deployment::new();
    let user = deployment.guest.user();
    let rows = [
        ("/usr/sbin/nologin", "not available", "usermod -s"),
        ("/bin/false", "printed nothing", "usermod -s"),
        (
            "rbash -c \\\"$SSH_ORIGINAL_COMMAND\\\"",
            "restricted",
            "usermod -s",
        ),
        ("echo all is well", "all is well", "ForceCommand"),
    ];
    for (instead, seen, remedy) in rows {
        let line = format!("command=\"{instead}\" {}\n", deployment.public);
        deployment.guest.authorize(&line);
        let said = deployment.doctor();
        let remedies = said.is(&[("devvm.guest.shell", "red")], remedy);
        assert!(remedies[0].contains(&user), "{remedies:?}");
        let shell = said.check("devvm.guest.shell");
        let evidence = shell["evidence"].as_str().unwrap();
        assert!(evidence.contains(seen), "{evidence}");
    }
    deployment
        .guest
        .authorize(&format!("{}\n", deployment.public));
    deployment.is_well();
}

#[test]
fn guest_whose_login_prints_or_reads_is_amber() {
    let deployment = Deployment::new();
    let through = |command: &str| {
        let line = format!("command=\"{command}\" {}\n", deployment.public);
        deployment.guest.authorize(&line);
    };
    let original = "\\\"$SSH_ORIGINAL_COMMAND\\\"";
    through(&format!("echo Welcome; exec sh -c {original}"));
    deployment.finds(&[("devvm.guest.shell", "amber")], ".bashrc");
    for shell in ["fish", "tcsh"] {
        through(&format!(
            "SHELL=/usr/bin/{shell} exec {shell} -c {original}"
        ));
        deployment.finds(&[("devvm.guest.shell", "amber")], "usermod -s /bin/sh");
    }
    deployment
        .guest
        .authorize(&format!("{}\n", deployment.public));
    deployment.is_well();
}

#[test]
fn host_output_besides_the_gate_is_reported_as_noise() {
    let deployment = Deployment::new();
    deployment.before_the_gate("echo 'Welcome to pve1'\nexec $gate");
    let said = deployment.doctor();
    said.is(&[("devvm.host.vitals", "amber")], "authorized_keys");
    let evidence = said.check("devvm.host.vitals")["evidence"]
        .as_str()
        .unwrap();
    assert!(evidence.contains("Welcome to pve1"), "{evidence}");
    assert!(!evidence.contains("older"), "{evidence}");
    deployment.before_the_gate("$gate; code=$?; echo Goodbye; exit $code");
    let said = deployment.doctor();
    said.is(&[("devvm.host.gate", "red")], "authorized_keys");
    let evidence = said.check("devvm.host.gate")["evidence"].as_str().unwrap();
    assert!(
        evidence.contains("prints after it: \"Goodbye\""),
        "{evidence}"
    );
    deployment.hold_to(&deployment.host.command());
    deployment.is_well();
}

/// Error of the clock in `offset`, in seconds, and the expected state.
const WRONG: [(&str, &str); 3] = [("30", "amber"), ("3600", "red"), ("-3600", "red")];

/// A command that corrects the clock in `offset`.
fn timedatectl(deployment: &Deployment) -> String {
    format!(
        "[ \"$*\" = 'set-ntp true' ] && rm {}",
        deployment.shown("offset")
    )
}

#[test]
fn guest_with_a_wrong_clock_is_amber_or_red_until_it_is_set() {
    let mut deployment = Deployment::new();
    let offset = deployment.shown("offset");
    let date = format!(
        "[ -e {offset} ] || exec /bin/date \"$@\"\necho $(($(/bin/date +%s) + $(cat {offset})))"
    );
    let set = timedatectl(&deployment);
    deployment.shadow(&[("date", &date), ("timedatectl", &set)]);
    for (seconds, state) in WRONG {
        deployment.write("offset", seconds, 0o644);
        let remedies = deployment.finds(&[("devvm.guest.clock", state)], "on the guest");
        deployment.carry_out(&remedies[0], "timedatectl");
        deployment.is_well();
    }
}

#[test]
fn host_with_a_wrong_clock_is_amber_or_red_until_it_is_set() {
    let mut deployment = Deployment::new();
    let offset = deployment.shown("offset");
    deployment.before_the_gate(&format!(
        "[ -e {offset} ] || exec $gate\n\
         at=$(date -u -d @$(($(date +%s) + $(cat {offset}))) +%FT%T.042Z)\n\
         $gate >{offset}.$$; code=$?\n\
         sed \"s/\\\"time\\\":\\\"[^\\\"]*/\\\"time\\\":\\\"$at/\" {offset}.$$\nexit $code"
    ));
    let set = timedatectl(&deployment);
    deployment.shadow(&[("timedatectl", &set)]);
    for (seconds, state) in WRONG {
        deployment.write("offset", seconds, 0o644);
        let remedies = deployment.finds(&[("devvm.host.clock", state)], "on the host");
        deployment.carry_out(&remedies[0], "timedatectl");
        deployment.is_well();
    }
}

#[test]
fn host_that_is_down_is_red() {
    let mut deployment = Deployment::new();
    deployment.host.sshd.kill();
    deployment.finds(&[("devvm.host.reach", "red")], "ssh -v -p");
    deployment.host.sshd.restart();
    deployment.is_well();
}

#[test]
fn host_with_another_host_key_is_red_until_it_is_pinned() {
    let mut deployment = Deployment::new();
    deployment.host.sshd.restart_with_another_key();
    let pins = deployment.shown("known_hosts");
    let remedies = deployment.finds(&[("devvm.host.host_key", "red")], &pins);
    deployment.carry_out(&remedies[0], "ssh-keygen");
    deployment.is_well();
}

/// Sets the key's one line as the remedy says, with this host's gate.
fn restrict_key(deployment: &Deployment, remedy: &str) {
    let (_, line) = remedy
        .split_once("make this the only line of the key: ")
        .unwrap();
    let line = line.replace(
        "/usr/local/sbin/breakglass-gate",
        &deployment.host.command(),
    );
    deployment.host.sshd.authorize(&format!("{line}\n"));
}

#[test]
fn key_without_forced_command_is_red_in_everything_it_opens() {
    let deployment = Deployment::new();
    let line = format!("restrict {}\n", deployment.public);
    deployment.host.sshd.authorize(&line);
    let opened = [
        ("devvm.host.gate", "red"),
        ("devvm.host.no_shell", "red"),
        ("devvm.host.no_command", "red"),
        ("devvm.host.no_other_guest", "red"),
    ];
    let held = "command=\"/usr/local/sbin/breakglass-gate\",restrict";
    let said = deployment.doctor();
    let remedies = said.is(&opened, held);
    let shell = said.check("devvm.host.no_shell");
    let seen = shell["evidence"].as_str().unwrap();
    assert!(seen.contains("breakglass-42"), "{shell}");
    restrict_key(&deployment, &remedies[1]);
    deployment.is_well();
}

#[test]
fn key_without_restrict_is_red_in_terminal_and_forwarding() {
    let deployment = Deployment::new();
    let command = deployment.host.command();
    let line = format!("command=\"{command}\" {}\n", deployment.public);
    deployment.host.sshd.authorize(&line);
    let opened = [
        ("devvm.host.no_terminal", "red"),
        ("devvm.host.no_forwarding", "red"),
    ];
    let remedies = deployment.finds(&opened, "authorized_keys");
    restrict_key(&deployment, &remedies[0]);
    deployment.is_well();
}

#[test]
fn policy_writable_by_others_is_red_and_named() {
    let deployment = Deployment::new();
    let policy = deployment.host.policy_file();
    set_mode(&policy, 0o666);
    let remedies = deployment.finds(&[("devvm.host.gate", "red")], &policy.display().to_string());
    assert!(remedies[0].contains("chmod"), "{remedies:?}");
    set_mode(&policy, 0o644);
    deployment.is_well();
}

#[test]
fn older_gate_is_amber_for_the_facts_it_does_not_report() {
    let deployment = Deployment::new();
    for (older, check) in [
        (
            "case \"$SSH_ORIGINAL_COMMAND\" in vitals) echo 'refused: \"vitals\"' >&2; exit 2;; esac\n\
             exec $gate",
            "devvm.host.vitals",
        ),
        ("$gate | sed 's/\"time\":/\"epoch\":/'", "devvm.host.clock"),
    ] {
        // Only `vitals` may lose its exit code.
        let rest = "[ \"$SSH_ORIGINAL_COMMAND\" = vitals ] || exec $gate\n";
        deployment.before_the_gate(&format!("{rest}{older}"));
        deployment.finds(&[(check, "amber")], "scripts/install-gate.sh");
        deployment.hold_to(&deployment.host.command());
        deployment.is_well();
    }
}

#[test]
fn missing_cli_is_red() {
    let deployment = Deployment::new();
    let cli = deployment.path("claude");
    fs::rename(&cli, deployment.path("away")).unwrap();
    deployment.finds(&[("agent", "red")], &deployment.shown("claude"));
    fs::rename(deployment.path("away"), &cli).unwrap();
    deployment.is_well();
}

#[test]
fn cli_without_a_login_is_red() {
    let deployment = Deployment::new();
    let line = format!("api_key_file = \"{}\"\n", deployment.shown("api_key"));
    deployment.edit(&line, "");
    deployment.finds(&[("agent", "red")], "agent.api_key_file");
    deployment.edit("[agent]\n", &format!("[agent]\n{line}"));
    deployment.is_well();
}

/// A CLI whose conversation ends with `ending`.
fn cli_with(ending: &str) -> String {
    format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) echo '2.1.0 (Claude Code)'; exit;; esac\n\
         read -r ready; read -r prompt\necho '{{\"type\":\"result\",{ending}}}'\n"
    )
}

#[test]
fn refusing_model_is_red_and_tested_only_on_request() {
    let deployment = Deployment::new();
    let model = |ending| deployment.write("claude", &cli_with(ending), 0o755);
    model("\"is_error\":true,\"result\":\"API Error: 401\"");
    let unasked = deployment.doctor().checks;
    assert!(unasked.iter().all(|check| check["name"] != "agent.model"));
    let refused = deployment.doctor_with(&["--ask-model"]);
    refused.is(&[("agent.model", "red")], "check the login");
    let seen = refused.check("agent.model")["evidence"].as_str().unwrap();
    assert!(seen.contains("401"), "{seen}");
    model("\"is_error\":false,\"result\":\"ready\"");
    let asked = deployment.doctor_with(&["--ask-model"]);
    asked.is(&[], "");
    assert_eq!(asked.check("agent.model")["state"], "green");
}

#[test]
fn refused_model_login_is_red_and_names_the_key_file() {
    let deployment = Deployment::new();
    let refused = "\"is_error\":true,\"api_error_status\":401,\"result\":\"Please run /login\"";
    deployment.write("claude", &cli_with(refused), 0o755);
    let said = deployment.doctor_with(&["--ask-model"]);
    let key = deployment.shown("api_key");
    said.is(&[("agent", "red"), ("agent.model", "red")], &key);
    for name in ["agent", "agent.model"] {
        let check = said.check(name).to_string();
        assert!(
            check.contains("login has expired") && !check.contains("/login"),
            "{check}"
        );
    }
}

#[test]
fn missing_runner_is_red_until_it_runs() {
    let deployment = Deployment::new();
    let line = format!(
        "command = \"{}\"\napi_key_file = \"{}\"\n",
        deployment.shown("claude"),
        deployment.shown("api_key")
    );
    let socket = deployment.shown("sock");
    deployment.edit(&line, &format!("runner = \"{socket}\"\n"));
    let remedies = deployment.finds(&[("agent", "red")], "breakglass runner --listen");
    let suggested = remedies[0].split('`').nth(1).unwrap();
    let mut runner = breakglass();
    runner.args(suggested.split(' ').skip(1));
    // The signed-in CLI.
    runner.arg("--command").arg(deployment.path("claude"));
    runner.arg("--api-key-file").arg(deployment.path("api_key"));
    runner.arg("--data-dir").arg(deployment.path("runner"));
    let _runner = Ended(runner.spawn().unwrap());
    wait_until("the runner listens", || {
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    deployment.is_well();
    // The model is tested in the container of the CLI.
    let answer = cli_with("\"is_error\":false,\"result\":\"ready\"");
    deployment.write("claude", &answer, 0o755);
    let asked = deployment.doctor_with(&["--ask-model"]);
    assert_eq!(asked.check("agent.model")["state"], "green");
}

#[test]
fn broken_log_is_red_until_it_is_moved_away() {
    let deployment = Deployment::new();
    let record = deployment.shown("data/record.db");
    deployment.write("data/record.db", &"no database at all ".repeat(400), 0o600);
    let remedies = deployment.finds(&[("record", "red")], &record);
    assert!(
        remedies[0].contains("breakglass audit verify"),
        "{remedies:?}"
    );
    fs::rename(&record, deployment.path("kept.db")).unwrap();
    deployment.is_well();
}

#[test]
fn invalid_data_directory_is_red_in_everything_written_there() {
    let deployment = Deployment::new();
    fs::rename(deployment.path("data"), deployment.path("away")).unwrap();
    deployment.write("data", "a file", 0o600);
    let found = [("store", "red"), ("drill", "amber"), ("agent.cell", "red")];
    deployment.finds(&found, deployment.path("").to_str().unwrap());
    fs::remove_file(deployment.path("data")).unwrap();
    fs::rename(deployment.path("away"), deployment.path("data")).unwrap();
    deployment.is_well();
}

/// `breakglass doctor` in a mount namespace of its own with a data directory of `mib` MiB.
fn with_space(deployment: &Deployment, mib: u32, before: &str) -> Said {
    let data = deployment.shown("data");
    let script = format!(
        "cp {data}/last_drill.json {data}.drill && mount -t tmpfs -o size={mib}m none {data} && \
         mv {data}.drill {data}/last_drill.json && {before} exec \"$0\" doctor --json --config \"$1\""
    );
    let mut command = Command::new("unshare");
    // Root needs no user namespace to mount; others need one.
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-ec", &script]);
    command.arg(env!("CARGO_BIN_EXE_breakglass"));
    command.arg(deployment.path("config.toml"));
    Said::by(command)
}

#[test]
fn nearly_full_disk_is_amber_then_red_until_there_is_space() {
    let deployment = Deployment::new();
    let data = deployment.shown("data");
    let word = format!("free space on the file system of {data}");
    let fill = format!("head -c 12582912 /dev/zero > {data}/fill;");
    with_space(&deployment, 48, "").is(&[("space", "red")], &word);
    with_space(&deployment, 520, &fill).is(&[("space", "amber")], &word);
    let freed = format!("{fill} rm {data}/fill;");
    with_space(&deployment, 520, &freed).is(&[], "");
}

#[test]
fn missing_or_old_drill_is_amber_until_one_is_run() {
    let deployment = Deployment::new();
    deployment.practised("2020-02-29T03:00:00.000Z");
    let found = [("drill", "amber")];
    deployment.finds(&found, "breakglass drill --config");
    fs::remove_file(deployment.path("data/last_drill.json")).unwrap();
    let remedies = deployment.finds(&found, "breakglass drill --config");
    practise(&remedies[0], false);
    deployment.finds(&found, "breakglass drill --config");
    practise(&remedies[0], true);
    deployment.is_well();
    let said = deployment.doctor();
    let seen = said.check("drill")["evidence"].as_str().unwrap();
    assert!(
        seen.contains("io-stall, by operator; 0 prompts, 1 verb"),
        "{seen}"
    );
}

/// Runs the drill in `remedy`, with or without an action in it.
fn practise(remedy: &str, act: bool) {
    let (_, arguments) = remedy.split_once("breakglass ").unwrap();
    let mut command = breakglass();
    command
        .args(arguments.split(' '))
        .args(["--scenario", "io-stall"]);
    let mut drill = crate::common::Drill::spawn(command);
    let client = drill.sign_in();
    if act {
        assert_eq!(client.verb("status").status, 200);
    }
    assert_eq!(drill.terminate(), Some(0));
}

#[test]
fn drill_that_cannot_be_recorded_does_not_start() {
    let deployment = Deployment::new();
    fs::rename(deployment.path("data"), deployment.path("away")).unwrap();
    deployment.write("data", "a file", 0o600);
    let (code, text) = run(&["drill", "--config", &deployment.shown("config.toml")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("can't be recorded"), "{text}");
}

#[test]
fn text_output_has_one_line_per_check_with_the_remedy_below() {
    let deployment = Deployment::new();
    set_mode(&deployment.path("key"), 0o644);
    let (code, text) = run(&["doctor", "--config", &deployment.shown("config.toml")]);
    assert_eq!(code, Some(1), "{text}");
    let mut lines = text.lines().skip_while(|line| !line.starts_with("red "));
    assert!(lines.next().unwrap().contains("ssh_key"), "{text}");
    assert!(lines.next().unwrap().contains("chmod 600"), "{text}");
}
