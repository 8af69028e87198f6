use std::time::Duration;

use super::*;
use crate::machine::{Clock, DiskError, Machine};

fn machine(scenario: Scenario) -> Machine {
    Machine::new(scenario.broken_machine().unwrap(), Clock::manual())
}

fn is_repaired(machine: &Machine, scenario: Scenario) -> bool {
    machine.step(|state, now| scenario.is_repaired(state, now))
}

fn network(machine: &Machine) -> Network {
    machine.network().0
}

fn cycle(machine: &Machine) {
    machine.step(|state, now| {
        state.power.stop();
        state.start(now);
    });
}

#[test]
fn a_machine_without_a_fault_counts_as_repaired_in_every_scenario() {
    let state = State::healthy().unwrap();
    for scenario in Scenario::ALL {
        assert!(
            scenario.is_repaired(&state, Moment::default()),
            "{scenario}"
        );
    }
}

#[test]
fn every_scenario_begins_broken() {
    for scenario in Scenario::ALL {
        assert!(!is_repaired(&machine(scenario), scenario), "{scenario}");
    }
}

#[test]
fn a_booting_guest_refuses_connections_until_it_is_up() {
    let machine = machine(Scenario::IoStall);
    machine.step(|state, _| state.power.stop());
    assert_eq!(network(&machine), Network::Refused);
    machine.step(State::start);
    let monitor = |machine: &Machine| machine.step(|state, now| state.power.monitor_answers(now));
    assert!(!monitor(&machine));
    machine.clock().advance(Duration::from_millis(400));
    assert!(monitor(&machine));
    assert_eq!(network(&machine), Network::Refused);
    let (_, left) = machine.network();
    machine.clock().advance(left.unwrap());
    assert_eq!(network(&machine), Network::Up);
}

#[test]
fn a_stall_survives_a_reset_and_ends_with_a_new_process() {
    let machine = machine(Scenario::IoStall);
    assert_eq!(network(&machine), Network::Silent);
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(600));
    assert_eq!(network(&machine), Network::Silent);
    cycle(&machine);
    machine.clock().advance(Duration::from_secs(4));
    assert!(is_repaired(&machine, Scenario::IoStall));
}

#[test]
fn a_reset_ends_a_panic() {
    let machine = machine(Scenario::Panic);
    assert_eq!(network(&machine), Network::Silent);
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(4));
    assert!(is_repaired(&machine, Scenario::Panic));
}

#[test]
fn a_full_disk_survives_a_cycle_and_the_service_stays_down() {
    let machine = machine(Scenario::DiskFull);
    cycle(&machine);
    machine.clock().advance(Duration::from_secs(5));
    assert_eq!(network(&machine), Network::Up);
    assert!(!is_repaired(&machine, Scenario::DiskFull));
}

#[test]
fn a_boot_frees_the_leaked_memory_until_it_has_leaked_again() {
    let machine = machine(Scenario::Oom);
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(5));
    assert!(is_repaired(&machine, Scenario::Oom));
    machine.clock().advance(Duration::from_secs(3 * 3_600));
    assert!(
        !is_repaired(&machine, Scenario::Oom),
        "the cause was not removed"
    );
}

#[test]
fn a_stalled_disk_writes_nothing_and_a_healthy_one_does() {
    let writes = |machine: &Machine| machine.step(|state, now| state.power.disk_writes(now));
    for (scenario, is_flat) in [
        (Scenario::IoStall, true),
        (Scenario::Panic, true),
        (Scenario::Oom, false),
    ] {
        let machine = machine(scenario);
        let before = writes(&machine);
        machine.clock().advance(Duration::from_secs(10));
        assert_eq!(writes(&machine) == before, is_flat, "{scenario}");
    }
}

#[test]
fn a_reboot_empties_tmp_and_resets_the_uptime() {
    let machine = machine(Scenario::DiskFull);
    machine.step(|state, now| {
        let disk = &mut state.guest.disk;
        disk.write("/tmp/x", "1", false, "root", now).unwrap();
    });
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(5));
    machine.step(|state, now| {
        let removed = state.guest.disk.get("/tmp/x").err();
        assert_eq!(removed, Some(DiskError::Missing));
        assert!(now.since(state.guest.booted) < Duration::from_secs(10));
    });
}
