//! Diagnoses on guests whose accounts have every login shell there is, behind a real sshd.

use std::time::Instant;

use crate::common::{Keys, LIMIT, operator};
use breakglass_control::{Control, Endpoint, OperationRequest, OperationView, Pictures, Target};
use breakglass_log::{Log, Options};
use breakglass_model::{Diagnosis, EventBody, IncidentId, VerbOutcome};
use breakglass_rig::gate::GateHost;
use breakglass_rig::machine::Machine;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SHELLS: [&str; 10] = [
    "sh", "dash", "bash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "ash",
];

/// A machine with one account for each of its users, `u-NAME`, and a control that has each for a target.
struct Site {
    machine: Machine,
    _host: GateHost,
    _keys: Keys,
    log: Log,
    control: Control,
    cancel: CancellationToken,
}

impl Site {
    /// `users`: a name, its shell, and the options before the key in its `authorized_keys`.
    fn new(users: &[(&str, &str, &str)]) -> Site {
        let keys = Keys::new();
        let public = keys.public();
        let machine = Machine::start(&format!("{public}\n"));
        for (name, shell, options) in users {
            let made = machine.sh(&format!(
                "set -e; [ -e /usr/bin/ash ] || ln -s busybox /usr/bin/ash; \
                 useradd -m -s {shell} u-{name}; usermod -p '*' u-{name}; \
                 mkdir -m 700 ~u-{name}/.ssh; rm -f ~u-{name}/.bashrc; \
                 printf '%s\\n' '{options}{public}' >~u-{name}/.ssh/authorized_keys; \
                 chown -R u-{name} ~u-{name}"
            ));
            assert!(made.status.success(), "{made:?}");
        }
        machine.program("dmesg", "echo '[ 1.0] Linux version 6.1'");
        machine.program("systemctl", "");
        machine.program("sudo", "shift; exec \"$@\"");
        let host = GateHost::running(&public);
        let targets = users.iter().map(|(name, ..)| {
            let guest = Endpoint {
                host: "127.0.0.1".into(),
                port: machine.port,
                user: format!("u-{name}"),
            };
            Target::new(*name, guest, crate::common::endpoint(&host.sshd))
        });
        let log = Log::open(Options::in_memory());
        let cancel = CancellationToken::new();
        let (control, _agent_port) = Control::new(
            targets.collect(),
            keys.options(),
            log.clone(),
            Pictures::under(keys.dir.path().join("pictures")),
            cancel.clone(),
            TaskTracker::new(),
        );
        Site {
            machine,
            _host: host,
            _keys: keys,
            log,
            control,
            cancel,
        }
    }

    async fn check(&self, target: &str, diagnosis: Diagnosis) -> OperationView {
        let permit = self.control.permit(&operator(), target, diagnosis).unwrap();
        let submitted = self.control.submit(OperationRequest::new(permit)).await;
        let operation = submitted.unwrap().operation;
        let ended = self.control.wait(operation, LIMIT).await.unwrap();
        assert!(ended.outcome.is_some(), "{target} {diagnosis}: {ended:?}");
        ended
    }

    /// What a check said last, with its evidence.
    async fn evidence(&self, incident: IncidentId) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let events = self.log.events(incident, 0, 10_000).await.unwrap();
            let found = events.into_iter().rev().find_map(|event| match event.body {
                EventBody::CheckFinished { evidence, .. } => Some(evidence),
                _ => None,
            });
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < end, "no check has finished");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

trait Programs {
    /// Puts a program in the place of one of its own.
    fn program(&self, name: &str, script: &str);
}

impl Programs for Machine {
    fn program(&self, name: &str, script: &str) {
        self.write(
            &format!("/usr/local/bin/{name}"),
            &format!("#!/bin/sh\n{script}\n"),
        );
        let made = self.sh(&format!("chmod 755 /usr/local/bin/{name}"));
        assert!(made.status.success(), "{made:?}");
    }
}

fn accounts<'a>(names: &[&'a str], paths: &'a [String]) -> Vec<(&'a str, &'a str, &'a str)> {
    let both = names.iter().zip(paths);
    both.map(|(name, path)| (*name, path.as_str(), ""))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_diagnosis_works_through_every_login_shell() {
    let paths = SHELLS.map(|shell| format!("/usr/bin/{shell}"));
    let site = Site::new(&accounts(&SHELLS, &paths));
    let wanted = [
        (Diagnosis::Disk, " % full, "),
        (Diagnosis::Memory, " MiB of memory are free"),
        (Diagnosis::Services, "No unit has failed."),
        (
            Diagnosis::Kernel,
            "The last 1 lines of the kernel's log contain no known error.",
        ),
        (Diagnosis::Load, " processors."),
    ];
    for shell in SHELLS {
        for (check, words) in wanted {
            let view = site.check(shell, check).await;
            let message = view.message.unwrap();
            assert!(message.contains(words), "{shell} {check}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_of_a_profile_is_not_taken_for_a_result() {
    let names = ["bash", "zsh", "fish", "csh", "tcsh"];
    let paths = names.map(|shell| format!("/usr/bin/{shell}"));
    let site = Site::new(&accounts(&names, &paths));
    let noise = "echo \"Welcome loaded failed failed\"; echo \"/dev/sda1 9 9 0 100% /\"";
    for (name, file) in names.iter().zip([
        ".bashrc",
        ".zshenv",
        ".config/fish/config.fish",
        ".cshrc",
        ".tcshrc",
    ]) {
        let made = site.machine.sh(&format!(
            "set -e; cd ~u-{name}; mkdir -p .config/fish; printf '%s\\n' '{noise}' >{file}; chown -R u-{name} ."
        ));
        assert!(made.status.success(), "{made:?}");
    }
    for name in names {
        let services = site.check(name, Diagnosis::Services).await;
        assert_eq!(
            services.message.as_deref(),
            Some("No unit has failed."),
            "{name}"
        );
        let disk = site.check(name, Diagnosis::Disk).await;
        let evidence = site.evidence(disk.incident.unwrap()).await;
        assert!(!evidence.contains("/dev/sda1 9 9 0"), "{name}: {evidence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn login_shell_that_runs_no_command_is_reported_with_its_output() {
    let site = Site::new(&[
        ("nologin", "/usr/sbin/nologin", ""),
        ("false", "/bin/false", ""),
        ("rbash", "/usr/bin/rbash", ""),
        ("forced", "/bin/sh", "command=\"echo all is well\" "),
    ]);
    let rows = [
        (
            "nologin",
            "the login shell did not run the command: This account is currently not available.",
        ),
        (
            "false",
            "the login shell did not run the command and printed nothing (exit code 1)",
        ),
        ("rbash", "exec: restricted"),
        (
            "forced",
            "the login shell did not run the command: all is well (exit code 0)",
        ),
    ];
    for (name, words) in rows {
        for &check in Diagnosis::ALL {
            let view = site.check(name, check).await;
            let message = view.message.unwrap();
            assert_eq!(view.outcome, Some(VerbOutcome::Failed), "{message}");
            assert!(message.contains(words), "{name} {check}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_remote_file_system_is_named_and_df_is_killed_on_the_guest() {
    let site = Site::new(&[("sh", "/bin/sh", "")]);
    // What `df -l` does not look at hangs, and grep reads of it in the kernel's list.
    let df = "case \"$1\" in -Pl) echo '/dev/vda1 100 50 50 50% /';; *) exec sleep 300;; esac";
    site.machine
        .program("df", &df.replace("exec -a dead-df", "exec"));
    site.machine
        .program("grep", "echo 'nas:/home /mnt/nas nfs4 rw,hard 0 0'");
    let began = Instant::now();
    let view = site.check("sh", Diagnosis::Disk).await;
    let message = view.message.unwrap();
    assert!(message.starts_with("/ is 50 % full"), "{message}");
    assert!(
        message.contains("/mnt/nas (nas:/home) does not answer"),
        "{message}"
    );
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    let left = site
        .machine
        .sh("ps -u u-sh -o args= | /usr/bin/grep -c '^sleep 300'");
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tools_are_reported_as_such() {
    let site = Site::new(&[("sh", "/bin/sh", "")]);
    let message = async |check| site.check("sh", check).await.message.unwrap();
    site.machine.program(
        "dmesg",
        "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1",
    );
    let denied = message(Diagnosis::Kernel).await;
    assert!(denied.contains("Operation not permitted"), "{denied}");
    site.machine
        .program("sudo", "echo 'sudo: a password is required' >&2; exit 1");
    let denied = message(Diagnosis::Kernel).await;
    assert!(denied.contains("a password is required"), "{denied}");
    let none = "The guest has no systemd";
    for systemctl in [
        "echo 'System has not been booted with systemd as init system (PID 1).' >&2; exit 1",
        "echo 'timeout: failed to run command' >&2; exit 127",
    ] {
        site.machine.program("systemctl", systemctl);
        let view = site.check("sh", Diagnosis::Services).await;
        assert_eq!(view.outcome, Some(VerbOutcome::Done));
        assert!(view.message.unwrap().starts_with(none));
    }
    site.machine.program(
        "systemctl",
        "echo 'Failed to list units: Transport endpoint is not connected' >&2; exit 1",
    );
    let failed = message(Diagnosis::Services).await;
    assert!(
        failed.contains("failed on the guest with code 1: Failed to list units"),
        "{failed}"
    );
    // A busybox has no -l.
    site.machine.program("df", "[ \"$1\" = -Pl ] && { echo 'df: unrecognized option: l' >&2; exit 1; }\nexec /usr/bin/df -P /");
    let disk = message(Diagnosis::Disk).await;
    assert!(disk.contains(" % full, "), "{disk}");
}
