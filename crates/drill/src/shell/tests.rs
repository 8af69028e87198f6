use std::time::Duration;

use proptest::prelude::*;

use super::Shell;
use crate::machine::{Clock, Machine};
use crate::scenario::Scenario;

fn machine(scenario: Scenario) -> Machine {
    Machine::new(scenario.broken_machine().unwrap(), Clock::manual())
}

fn is_repaired(machine: &Machine, scenario: Scenario) -> bool {
    machine.step(|state, now| scenario.is_repaired(state, now))
}

/// Both streams and the exit code of a script.
fn run(machine: &Machine, script: &str) -> (String, String, u8) {
    let mut shell = Shell::new(machine.clone(), "breakglass", script);
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(reply) = shell.step() {
        out.push_str(&reply.out);
        err.push_str(&reply.err);
    }
    (out, err, shell.status())
}

fn out(machine: &Machine, script: &str) -> String {
    run(machine, script).0
}

#[test]
fn quotes_conditions_substitutions_and_redirections_work() {
    let machine = machine(Scenario::DiskFull);
    for (script, expected) in [
        ("echo a; echo b", "a\nb\n"),
        ("false && echo no || echo yes", "yes\n"),
        ("false; echo $?", "1\n"),
        ("x='a  b'; echo $x \"$x\"", "a b a  b\n"),
        ("echo $(echo in; false) $?", "in 1\n"),
        ("printf 'b\\na\\n' | sort | head -n 1", "a\n"),
        ("nosuch 2>/dev/null; echo $?", "127\n"),
        ("sh -c 'echo inner; exit 3'; echo $?", "inner\n3\n"),
        (
            "(cd /var; pwd); { echo g; }; ! true; echo $?",
            "/var\ng\n1\n",
        ),
        ("echo one > /tmp/f 2>&1; cat /tmp/f | wc -l", "1\n"),
        (
            "ls /var/log/app/*.log",
            "/var/log/app/access.log\n/var/log/app/trace.log\n",
        ),
        ("echo '*' \"/var/log/app/*.log\"", "* /var/log/app/*.log\n"),
        ("sudo -n whoami; whoami", "root\nbreakglass\n"),
        ("/usr/bin/test -d /var && echo dir", "dir\n"),
    ] {
        assert_eq!(out(&machine, script), expected, "{script}");
    }
}

#[test]
fn usual_commands_succeed_and_print() {
    let machine = machine(Scenario::Oom);
    for script in [
        "df -h; df -i; df -PT -x tmpfs /",
        "du -sh /var; du -a --max-depth=1 /etc | sort -k 1 -rn | head -n 3",
        "free -h; free -m; top -bn1 | head -n 9",
        "ps; ps -ef | head -n 3; ps aux --sort=-%mem | head -n 3; ps -o pid,stat,comm | tail -2",
        "journalctl -b -p err -n 3 -o short-iso; sudo dmesg -T | tail -n 1",
        "sudo journalctl --vacuum-size=20M 2>&1; journalctl --disk-usage",
        "systemctl status report-worker; systemctl cat report-worker; systemctl | tail -n 2",
        "ls -la /var/log; ls -lhS /var/log | head -n 3; find /var -type f -size +90M",
        "uname -a; id; lsblk; mount; uptime; uptime -s; date +%F; nproc; hostname",
        "cat /proc/meminfo /proc/mounts /proc/loadavg /proc/pressure/memory | wc",
        "cat /etc/hosts /etc/hosts | sort | uniq -c; grep -c root /etc/passwd /etc/fstab",
        "pgrep -a app; which ls sudo; sudo tail -n 1 /var/log/syslog | cut -d ' ' -f 2",
    ] {
        let (out, err, code) = run(&machine, script);
        assert!(
            code == 0 && err.is_empty() && !out.is_empty(),
            "{script}: {out}{err}"
        );
    }
}

#[test]
fn an_unknown_command_is_not_found() {
    let (_, err, code) = run(&machine(Scenario::DiskFull), "apt-get install cowsay");
    assert_eq!((err.as_str(), code), ("sh: 1: apt-get: not found\n", 127));
}

#[test]
fn privileged_commands_fail_without_sudo() {
    let machine = machine(Scenario::DiskFull);
    for script in [
        "systemctl restart app",
        "truncate -s 0 /var/log/app/trace.log",
        "rm /etc/fstab",
        "dmesg",
        "kill -9 1; kill 317",
        "reboot",
    ] {
        assert_ne!(run(&machine, script).2, 0, "{script}");
    }
    assert!(!is_repaired(&machine, Scenario::DiskFull));
}

#[test]
fn a_service_starts_only_after_space_is_freed() {
    let machine = machine(Scenario::DiskFull);
    assert!(out(&machine, "df -h /").contains("100% /"));
    let (_, err, code) = run(&machine, "sudo systemctl restart app");
    assert!(err.contains("Job for app.service failed"), "{err}");
    assert_eq!(code, 1);
    assert!(out(&machine, "journalctl -u app -n 5").contains("No space left on device"));
    assert!(!is_repaired(&machine, Scenario::DiskFull));
    assert_eq!(
        run(
            &machine,
            "sudo truncate -s 0 /var/log/app/trace.log && sudo systemctl restart app"
        )
        .2,
        0
    );
    assert_eq!(out(&machine, "systemctl is-active app"), "active\n");
    assert!(is_repaired(&machine, Scenario::DiskFull));
}

#[test]
fn every_usual_command_empties_the_log() {
    for script in [
        "sudo rm -f /var/log/app/trace.log",
        "sudo sh -c '> /var/log/app/trace.log'",
        "sudo find /var/log -xdev -name 'trace*' -size +1G -delete",
        "echo -n | sudo tee /var/log/app/trace.log",
    ] {
        let machine = machine(Scenario::DiskFull);
        run(&machine, script);
        run(&machine, "sudo systemctl start app");
        assert!(is_repaired(&machine, Scenario::DiskFull), "{script}");
    }
}

#[test]
fn the_killed_service_starts_only_after_the_leak_ends() {
    let machine = machine(Scenario::Oom);
    assert!(out(&machine, "sudo dmesg").contains("Out of memory: Killed process"));
    assert_ne!(run(&machine, "sudo systemctl restart app").2, 0);
    assert!(!is_repaired(&machine, Scenario::Oom));
    assert!(out(&machine, "ps aux --sort=-%mem | head -n 2").contains("report-worker"));
    assert_eq!(
        run(
            &machine,
            "sudo systemctl restart report-worker && sudo systemctl restart app"
        )
        .2,
        0
    );
    assert!(is_repaired(&machine, Scenario::Oom));
}

#[test]
fn a_killed_worker_is_a_failed_unit_until_it_starts_again() {
    let machine = machine(Scenario::Oom);
    run(
        &machine,
        "sudo pkill -9 report-worker; sudo systemctl start app",
    );
    assert!(out(&machine, "systemctl --failed --no-legend").contains("report-worker.service"));
    run(&machine, "sudo systemctl start report-worker");
    assert!(is_repaired(&machine, Scenario::Oom));
}

#[test]
fn timeout_limits_the_duration_of_a_command() {
    let machine = machine(Scenario::DiskFull);
    let step = |script| Shell::new(machine.clone(), "root", script).step().unwrap();
    assert_eq!(step("sleep 5").duration, Duration::from_secs(5));
    let cut = step("timeout 2 tail -f /var/log/syslog");
    assert_eq!((cut.duration, cut.code), (Duration::from_secs(2), 124));
}

#[test]
fn exec_sh_sets_the_script_name_and_ends_the_shell() {
    let machine = machine(Scenario::DiskFull);
    let printed = out(
        &machine,
        "exec sh -c 'echo \"$0 begins\"; { false; }; code=$?; echo \"$0 ends $code\"' mark; echo no",
    );
    assert_eq!(printed, "mark begins\nmark ends 1\n");
}

/// The free KiB that `df` prints, and the total minus the KiB that `du` counts.
fn accounts(machine: &Machine) -> (u64, u64) {
    let df = out(machine, "df -P / | tail -n 1");
    let cells: Vec<u64> = df
        .split_whitespace()
        .filter_map(|cell| cell.parse().ok())
        .collect();
    let du = out(machine, "sudo du -sx / | cut -f 1");
    (cells[2], cells[0] - du.trim().parse::<u64>().unwrap())
}

fn change() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("/tmp/a"),
        Just("/tmp/d/b"),
        Just("/var/log/app/trace.log"),
        Just("/var/log/*"),
        Just("/home/breakglass/c"),
        Just("/var/cache/apt"),
        Just("/etc/hosts"),
        Just("/nowhere/x"),
    ];
    (0..9usize, path, 0u64..3_000_000).prop_map(|(kind, path, size)| match kind {
        0 => format!("sudo rm -rf {path}"),
        1 => format!("rm {path}"),
        2 => format!("sudo truncate -s {size}K {path}"),
        3 => format!("sudo truncate -s {size} {path}"),
        4 => format!(
            "echo {} > {path}",
            "x".repeat(usize::try_from(size % 9_000).unwrap())
        ),
        5 => format!("sudo mkdir -p {path}"),
        6 => format!("echo more | sudo tee -a {path}"),
        7 => "sudo systemctl restart app".to_owned(),
        _ => format!("sudo find {path} -size +{}M -delete", size % 50),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn df_and_du_agree_after_any_changes(changes in prop::collection::vec(change(), 1..20)) {
        let machine = machine(Scenario::DiskFull);
        for change in changes {
            run(&machine, &change);
            let (free, unused) = accounts(&machine);
            prop_assert_eq!(free, unused, "after {}", change);
        }
    }

    #[test]
    fn no_command_line_panics_the_shell(script in r#"(sudo |ls |df |du |find |grep |tail |head |ps |kill |sort |cut |date \+|journalctl |systemctl |truncate |stat |test |free |xargs |timeout )?[ -~]{0,40}"#) {
        run(&machine(Scenario::Oom), &script);
    }
}
