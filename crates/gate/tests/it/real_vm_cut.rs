//! A connection that breaks during a cycle of a real guest: the guest runs in the end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use breakglass_rig::lab::{LabHost, Libvirt, Machine};

/// When the connection breaks: after this many lines of output, plus a delay.
type Moment = (usize, Duration);

#[test]
fn real_vm_guest_runs_after_a_cycle_whose_connection_broke_at_any_of_twenty_moments() {
    let host = LabHost::running();
    // The pause between two samples would only cost time.
    let policy = fs::read_to_string(host.policy()).unwrap();
    let policy = policy.replace("sample_gap_seconds = 2", "sample_gap_seconds = 0");
    fs::write(host.policy(), policy).unwrap();

    let moments = moments(&host);
    assert!(moments.len() >= 20, "{moments:?}");
    for (number, moment) in moments.iter().enumerate() {
        let before = host.guest.qemu();
        let output = cut(&host, number, *moment);
        let deadline = Instant::now() + Duration::from_secs(180);
        while ended(&host).is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let (end, run) = (ended(&host), host.run_file());
        assert_eq!(end.as_deref(), Some("=0"), "{number} {moment:?} {run}");
        let now = host.guest.qemu();
        assert!(now.is_some() && now != before, "{moment:?} {output}");
        // Waits for the boot only at every fifth moment; the other cycles begin during the boot.
        if number % 5 == 0 {
            host.guest.login().wait();
        }
    }
    host.guest.login().wait();
    let status = host.send("status");
    assert_eq!((status.code, status.verdict().as_str()), (0, "running"));
}

/// Sixteen moments throughout a cycle's output, and five within the steps that take long.
fn moments(host: &LabHost<Libvirt>) -> Vec<Moment> {
    let whole = host.send("cycle").text();
    let lines: Vec<&str> = whole.lines().collect();
    let spread = (0..16).map(|part| (1 + part * (lines.len() - 2) / 15, Duration::ZERO));
    let step = |name: &str| {
        1 + lines
            .iter()
            .position(|line| line.starts_with(name))
            .unwrap()
    };
    let (stop, start) = (step("stop:"), step("start:"));
    let within = [
        (stop, 20),
        (stop, 100),
        (stop, 500),
        (start, 20),
        (start, 200),
    ];
    let within = within.map(|(line, millis)| (line, Duration::from_millis(millis)));
    spread.chain(within).collect()
}

/// Begins a cycle and breaks its connection at `moment`, in one of three ways; returns its output.
fn cut(host: &LabHost<Libvirt>, number: usize, (lines, pause): Moment) -> String {
    let mut client = host.client("cycle").spawn().unwrap();
    let stdout = BufReader::new(client.stdout.take().unwrap());
    let output: Vec<String> = stdout.lines().take(lines).map_while(Result::ok).collect();
    assert_eq!(output.len(), lines, "{output:?}");
    thread::sleep(pause);
    match number % 3 {
        0 => client.kill().unwrap(),
        1 => host.sshd.cut_connections(),
        _ => hang_up(&client),
    }
    client.wait().unwrap();
    output.join("\n")
}

/// Ends the client like a closed terminal.
fn hang_up(client: &Child) {
    let pid = client.id().to_string();
    let status = std::process::Command::new("kill")
        .args(["-HUP", &pid])
        .status();
    assert!(status.unwrap().success());
}

/// The last line of the run, once it has ended.
fn ended(host: &LabHost<Libvirt>) -> Option<String> {
    let run = host.run_file();
    run.lines()
        .last()
        .filter(|line| line.starts_with('='))
        .map(str::to_owned)
}
