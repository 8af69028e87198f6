use std::time::Duration;

use super::journalctl::show;
use super::{Call, Reply};
use crate::machine::{Unit, UnitState};

/// How long systemd takes to start or stop a service.
const TAKES: Duration = Duration::from_millis(250);

pub(super) fn systemctl(call: &mut Call<'_>) -> Reply {
    let operands = call.operands(&[
        "-n",
        "--lines",
        "-t",
        "--type",
        "--state",
        "-p",
        "--property",
    ]);
    let (verb, names) = match operands.split_first() {
        Some((verb, names)) => (verb.as_str(), names),
        None => ("list-units", operands.as_slice()),
    };
    match verb {
        "start" | "stop" | "restart" | "try-restart" | "reload-or-restart" | "reset-failed"
        | "kill" => change(call, verb, names),
        "status" => status(call, names),
        "is-active" | "is-failed" => is(call, verb, names),
        "is-system-running" => {
            let degraded = call.state.guest.units.iter().any(Unit::is_failed);
            let word = if degraded { "degraded\n" } else { "running\n" };
            Reply {
                out: word.to_owned(),
                code: u8::from(degraded),
                ..Reply::default()
            }
        }
        "list-units" => list(call),
        "show" => properties(call, names),
        "cat" => cat(call, names),
        "daemon-reload" | "enable" | "disable" | "is-enabled" => {
            root_only(call).err().unwrap_or_default()
        }
        "reboot" => reboot(call),
        "poweroff" | "halt" => poweroff(call),
        _ => Reply::fail(1, format!("Unknown command verb '{verb}'.")),
    }
}

fn root_only(call: &Call<'_>) -> Result<(), Reply> {
    if call.is_root() {
        return Ok(());
    }
    Err(Reply::fail(
        1,
        "Failed to talk to systemd: Interactive authentication required.",
    ))
}

fn change(call: &mut Call<'_>, verb: &str, names: &[String]) -> Reply {
    if let Err(reply) = root_only(call) {
        return reply;
    }
    let mut reply = Reply {
        takes: TAKES,
        ..Reply::default()
    };
    let everything: Vec<String>;
    let names = if verb == "reset-failed" && names.is_empty() {
        everything = call
            .state
            .guest
            .units
            .iter()
            .map(|unit| unit.file.name.to_owned())
            .collect();
        &everything
    } else {
        names
    };
    for name in names {
        let Some(index) = call.state.guest.unit(name) else {
            reply.complain(format_args!(
                "Failed to {verb} {}: Unit {0} not found.",
                full(name)
            ));
            reply.code = 5;
            continue;
        };
        apply(call, verb, index, &mut reply);
    }
    reply
}

fn apply(call: &mut Call<'_>, verb: &str, index: usize, reply: &mut Reply) {
    let now = call.now;
    let guest = &mut call.state.guest;
    match verb {
        "reset-failed" => return guest.reset_failed(index, now),
        "stop" | "kill" => return guest.stop(index, now),
        "start" => {}
        _ => guest.stop(index, now),
    }
    if guest.start(index, now).is_err() {
        let name = guest.units[index].file.name;
        reply.complain(format_args!(
            "Job for {name} failed because the control process exited with error code.\n\
             See \"systemctl status {name}\" and \"journalctl -xeu {name}\" for details."
        ));
    }
}

fn full(name: &str) -> String {
    if name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

fn is(call: &Call<'_>, verb: &str, names: &[String]) -> Reply {
    let mut reply = Reply {
        code: 3,
        ..Reply::default()
    };
    for name in names {
        let unit = call
            .state
            .guest
            .unit(name)
            .map(|index| &call.state.guest.units[index]);
        let word = unit.map_or("inactive", |unit| unit.states().0);
        let wanted = if verb == "is-active" {
            "active"
        } else {
            "failed"
        };
        if word == wanted {
            reply.code = 0;
        }
        if !call.has('q') && !call.has_long("--quiet") {
            reply.out.push_str(&format!("{word}\n"));
        }
    }
    if verb == "is-failed" && reply.code != 0 {
        reply.code = 1;
    }
    reply
}

fn status(call: &Call<'_>, names: &[String]) -> Reply {
    let mut reply = Reply::default();
    for name in names {
        let Some(index) = call.state.guest.unit(name) else {
            reply.complain(format_args!("Unit {} could not be found.", full(name)));
            reply.code = 4;
            continue;
        };
        let unit = &call.state.guest.units[index];
        reply.out.push_str(&describe(call, unit));
        if !unit.is_active() {
            reply.code = 3;
        }
    }
    if names.is_empty() {
        let failed = call
            .state
            .guest
            .units
            .iter()
            .filter(|unit| unit.is_failed())
            .count();
        let state = if failed == 0 { "running" } else { "degraded" };
        reply.out = format!(
            "● devvm\n    State: {state}\n    Units: {} loaded\n   Failed: {failed} units\n",
            call.state.guest.units.len()
        );
    }
    reply
}

fn describe(call: &Call<'_>, unit: &Unit) -> String {
    let file = &unit.file;
    let stamp = |since| {
        call.clock
            .date(since)
            .strftime("%a %Y-%m-%d %H:%M:%S UTC")
            .to_string()
    };
    let ago = |since| span(call.now.since(since));
    let (dot, active, pid) = match unit.state {
        UnitState::Active { pid, since } => (
            "●",
            format!(
                "active (running) since {}; {} ago",
                stamp(since),
                ago(since)
            ),
            main_process(call, pid),
        ),
        UnitState::Inactive { since } => (
            "○",
            format!("inactive (dead) since {}; {} ago", stamp(since), ago(since)),
            String::new(),
        ),
        UnitState::Failed { pid, since, why } => (
            "×",
            format!(
                "failed (Result: {}) since {}; {} ago",
                why.result(),
                stamp(since),
                ago(since)
            ),
            format!("   Main PID: {pid} ({})\n", why.exit()),
        ),
    };
    let lines = call.state.guest.journal.of_boot(0);
    let own: Vec<_> = lines
        .into_iter()
        .filter(|entry| entry.unit.as_deref() == Some(file.name))
        .collect();
    let recent: String = own[own.len().saturating_sub(10)..]
        .iter()
        .map(|entry| show(entry, call.clock))
        .collect();
    format!(
        "{dot} {} - {}\n     Loaded: loaded (/etc/systemd/system/{}; enabled; preset: enabled)\n     Active: {active}\n{pid}\n{recent}",
        file.name, file.description, file.name
    )
}

fn main_process(call: &Call<'_>, pid: u32) -> String {
    let Some(process) = call.state.guest.processes.get(pid) else {
        return String::new();
    };
    let memory = process.resident(call.now) as f64 / 1_048_576.0;
    format!(
        "   Main PID: {pid} ({})\n      Tasks: 4 (limit: 4643)\n     Memory: {memory:.1}M\n",
        process.name()
    )
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}min {}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {}min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn list(call: &Call<'_>) -> Reply {
    let only_failed = call.has_long("--failed") || call.value(&["--state"]) == Some("failed");
    let units = call
        .state
        .guest
        .units
        .iter()
        .filter(|unit| !only_failed || unit.is_failed());
    let rows: Vec<String> = units
        .map(|unit| {
            let dot = if unit.is_failed() { "●" } else { " " };
            let (active, sub) = unit.states();
            format!(
                "{dot} {:<26} loaded {active:<8} {sub:<8} {}\n",
                unit.file.name, unit.file.description
            )
        })
        .collect();
    if call.has_long("--no-legend") || call.has('q') {
        return Reply::out(rows.concat());
    }
    let head = "  UNIT                       LOAD   ACTIVE   SUB      DESCRIPTION\n";
    Reply::out(format!(
        "{}{}\n{} loaded units listed.\n",
        if rows.is_empty() { "" } else { head },
        rows.concat(),
        rows.len()
    ))
}

fn properties(call: &Call<'_>, names: &[String]) -> Reply {
    let wanted = call.value(&["--property", "-p"]).map(str::to_owned);
    let only_value = call.has_long("--value");
    let mut reply = Reply::default();
    for name in names {
        let unit = call
            .state
            .guest
            .unit(name)
            .map(|index| &call.state.guest.units[index]);
        let (active, sub) = unit.map_or(("inactive", "dead"), Unit::states);
        let (pid, result) = match unit.map(|unit| unit.state) {
            Some(UnitState::Active { pid, .. }) => (pid, "success"),
            Some(UnitState::Failed { why, .. }) => (0, why.result()),
            _ => (0, "success"),
        };
        let load = if unit.is_some() {
            "loaded"
        } else {
            "not-found"
        };
        let pid = pid.to_string();
        for (key, value) in [
            ("Id", full(name).as_str()),
            ("LoadState", load),
            ("ActiveState", active),
            ("SubState", sub),
            ("MainPID", &pid),
            ("Result", result),
            ("NRestarts", "0"),
        ] {
            if wanted
                .as_ref()
                .is_none_or(|wanted| wanted.split(',').any(|w| w == key))
            {
                reply.out.push_str(&if only_value {
                    format!("{value}\n")
                } else {
                    format!("{key}={value}\n")
                });
            }
        }
    }
    reply
}

fn cat(call: &Call<'_>, names: &[String]) -> Reply {
    let mut reply = Reply::default();
    for name in names {
        let Some(index) = call.state.guest.unit(name) else {
            reply.complain(format_args!("No files found for {}.", full(name)));
            continue;
        };
        let file = &call.state.guest.units[index].file;
        let path = format!("/etc/systemd/system/{}", file.name);
        let written = call
            .state
            .guest
            .disk
            .file(&path, "root")
            .map(|content| content.read(4_096));
        let text = written.unwrap_or_else(|_| {
            format!(
                "[Unit]\nDescription={}\n\n[Service]\nUser={}\nExecStart={}\n",
                file.description, file.user, file.command
            )
        });
        reply.out.push_str(&format!("# {path}\n{text}\n"));
    }
    reply
}

pub(super) fn reboot(call: &mut Call<'_>) -> Reply {
    if let Err(reply) = root_only(call) {
        return reply;
    }
    call.state.reset(call.now);
    Reply::default()
}

pub(super) fn poweroff(call: &mut Call<'_>) -> Reply {
    if let Err(reply) = root_only(call) {
        return reply;
    }
    call.state.power.stop();
    Reply::default()
}
