//! `systemctl`, `reboot` and `poweroff`.

use std::time::Duration;

use super::call::Call;
use super::journalctl;
use super::units::span;
use crate::machine::{Unit, UnitState};
use crate::shell::reply::Reply;

/// How long systemd takes to start or stop a service.
const CHANGE_DURATION: Duration = Duration::from_millis(250);
/// The number of log lines that `status` shows.
const STATUS_LINES: usize = 10;
/// The verbs that change a unit: whether they stop it, and whether they start it.
const CHANGES: [(&str, bool, bool); 7] = [
    ("start", false, true),
    ("stop", true, false),
    ("kill", true, false),
    ("restart", true, true),
    ("try-restart", true, true),
    ("reload-or-restart", true, true),
    ("reset-failed", false, false),
];
const LIST_HEADINGS: &str = "  UNIT                       LOAD   ACTIVE   SUB      DESCRIPTION\n";

pub(super) fn systemctl(call: &mut Call<'_>) -> Reply {
    let verb = if call.operands.is_empty() {
        "list-units".to_owned()
    } else {
        call.operands.remove(0)
    };
    match verb.as_str() {
        "status" if call.operands.is_empty() => Reply::out(overview(call)),
        "status" => status(call),
        "is-active" | "is-failed" => is_in_state(call, verb.trim_start_matches("is-")),
        "is-system-running" => {
            let failed = failed_units(call) > 0;
            Reply::out(format!("{}\n", system_state(call))).with_code(failed)
        }
        "is-enabled" => call.each(|_, _| Ok("enabled\n".to_owned())),
        "list-units" => list(call),
        "cat" => cat(call),
        _ if !call.is_root() => needs_root(),
        "reboot" => reboot(call),
        "poweroff" | "halt" => poweroff(call),
        "daemon-reload" | "enable" | "disable" => Reply::default(),
        verb => change(call, verb),
    }
}

fn needs_root() -> Reply {
    let message = "Failed to talk to systemd: Interactive authentication required.";
    Reply::fail(1, message)
}

pub(super) fn reboot(call: &mut Call<'_>) -> Reply {
    if !call.is_root() {
        return needs_root();
    }
    call.state.reset(call.now);
    Reply::default()
}

pub(super) fn poweroff(call: &mut Call<'_>) -> Reply {
    if !call.is_root() {
        return needs_root();
    }
    call.state.power.stop();
    Reply::default()
}

fn change(call: &mut Call<'_>, verb: &str) -> Reply {
    let Some((_, stops, starts)) = CHANGES.iter().find(|change| change.0 == verb) else {
        return Reply::fail(
            1,
            format_args!("systemctl: the drill's guest does not support {verb}"),
        );
    };
    if verb == "reset-failed" && call.operands.is_empty() {
        let units = call.state.guest.units.iter();
        call.operands = units.map(|unit| unit.file.name.clone()).collect();
    }
    let mut code = 1;
    let reply = call.each(|call, name| {
        let guest = &mut call.state.guest;
        let Some(index) = guest.unit(name) else {
            code = 5;
            let name = full_name(name);
            return Err(format!("Failed to {verb} {name}: Unit {name} not found."));
        };
        match (stops, starts) {
            (false, false) => guest.reset_failed(index, call.now),
            (true, _) => guest.stop(index, call.now),
            _ => {}
        }
        if *starts && guest.start(index, call.now).is_err() {
            let name = &guest.units[index].file.name;
            return Err(format!(
                "Job for {name} failed because the control process exited with error code.\n\
                 See \"systemctl status {name}\" and \"journalctl -xeu {name}\" for details."
            ));
        }
        Ok(String::new())
    });
    reply.with_duration(CHANGE_DURATION).or_code(code)
}

fn unit<'a>(call: &'a Call<'_>, name: &str) -> Option<&'a Unit> {
    let guest = &call.state.guest;
    guest.unit(name).map(|index| &guest.units[index])
}

fn full_name(name: &str) -> String {
    let suffix = if name.contains('.') { "" } else { ".service" };
    format!("{name}{suffix}")
}

fn failed_units(call: &Call<'_>) -> usize {
    let units = call.state.guest.units.iter();
    units.filter(|unit| unit.is_failed()).count()
}

fn system_state(call: &Call<'_>) -> &'static str {
    let failed = failed_units(call);
    if failed == 0 { "running" } else { "degraded" }
}

/// Prints the state of every unit; succeeds if one of them is in the state `wanted`.
fn is_in_state(call: &mut Call<'_>, wanted: &str) -> Reply {
    let quiet = call.has('q') || call.has_long("--quiet");
    let mut code = if wanted == "failed" { 1 } else { 3 };
    let mut reply = call.each(|call, name| {
        let state = unit(call, name).map_or("inactive", |unit| unit.states().0);
        if state == wanted {
            code = 0;
        }
        Ok(format!("{state}\n"))
    });
    if quiet {
        reply.out.clear();
    }
    reply.with_code(code)
}

fn overview(call: &Call<'_>) -> String {
    let (state, failed) = (system_state(call), failed_units(call));
    let loaded = call.state.guest.units.len();
    format!("● devvm\n    State: {state}\n    Units: {loaded} loaded\n   Failed: {failed} units\n")
}

fn status(call: &mut Call<'_>) -> Reply {
    let mut code = 0;
    let reply = call.each(|call, name| {
        let Some(unit) = unit(call, name) else {
            code = 4;
            return Err(format!("Unit {} could not be found.", full_name(name)));
        };
        if !unit.is_active() {
            code = 3;
        }
        Ok(describe(call, unit))
    });
    reply.with_code(code)
}

fn describe(call: &Call<'_>, unit: &Unit) -> String {
    let guest = &call.state.guest;
    let (name, description, pid) = (&unit.file.name, &unit.file.description, unit.main_pid);
    let process = match (unit.state, guest.processes.get(pid)) {
        (UnitState::Failed(failure), _) => format!("   Main PID: {pid} ({})\n", failure.exit()),
        (_, Some(process)) => {
            let (name, bytes) = (process.name(), process.resident(call.now));
            let memory = bytes as f64 / 1_048_576.0;
            format!(
                "   Main PID: {pid} ({name})\n      Tasks: 4 (limit: 4643)\n     Memory: {memory:.1}M\n"
            )
        }
        _ => String::new(),
    };
    let (dot, state) = match unit.state {
        UnitState::Active => ("●", "active (running)".to_owned()),
        UnitState::Inactive => ("○", "inactive (dead)".to_owned()),
        UnitState::Failed(failure) => ("×", format!("failed (Result: {})", failure.result())),
    };
    let since = call.date(unit.since, "%a %Y-%m-%d %H:%M:%S UTC");
    let ago = span(call.now.since(unit.since));
    let mut lines = guest.journal.of_boot(0);
    lines.retain(|entry| entry.is_of_unit(name));
    let recent = lines[lines.len().saturating_sub(STATUS_LINES)..].iter();
    let recent: String = recent.map(|entry| journalctl::line(call, entry)).collect();
    format!(
        "{dot} {name} - {description}\n     Loaded: loaded (/etc/systemd/system/{name}; enabled; preset: enabled)\n     Active: {state} since {since}; {ago} ago\n{process}\n{recent}"
    )
}

fn list(call: &Call<'_>) -> Reply {
    let only_failed = call.has_long("--failed") || call.value(&["--state"]) == Some("failed");
    let mut rows = String::new();
    for unit in &call.state.guest.units {
        if !only_failed || unit.is_failed() {
            let dot = if unit.is_failed() { "●" } else { " " };
            let (name, description) = (&unit.file.name, &unit.file.description);
            let (active, sub) = unit.states();
            rows.push_str(&format!(
                "{dot} {name:<26} loaded {active:<8} {sub:<8} {description}\n"
            ));
        }
    }
    if call.has_long("--no-legend") || call.has('q') {
        return Reply::out(rows);
    }
    let count = rows.lines().count();
    let headings = if count == 0 { "" } else { LIST_HEADINGS };
    Reply::out(format!("{headings}{rows}\n{count} loaded units listed.\n"))
}

fn cat(call: &mut Call<'_>) -> Reply {
    call.each(|call, name| {
        let Some(unit) = unit(call, name) else {
            return Err(format!("No files found for {}.", full_name(name)));
        };
        let file = &unit.file;
        let path = format!("/etc/systemd/system/{}", file.name);
        let text = match call.state.guest.disk.file(&path, "root") {
            Ok(content) => content.read(4_096),
            Err(_) => format!(
                "[Unit]\nDescription={}\n\n[Service]\nUser={}\nExecStart={}\n",
                file.description, file.user, file.command
            ),
        };
        Ok(format!("# {path}\n{text}\n"))
    })
}
