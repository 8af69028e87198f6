use std::time::Duration;

use super::*;
use crate::scenario;

fn machine(scenario: Scenario) -> Machine {
    Machine::new(scenario, Clock::manual())
}

fn network(machine: &Machine) -> Network {
    machine.network().0
}

#[test]
fn a_machine_without_a_fault_is_healthy_by_every_scenarios_judgement() {
    let state = State::healthy();
    for scenario in Scenario::ALL {
        assert!(
            scenario::is_healthy(scenario, &state, Moment::default()),
            "{scenario}"
        );
    }
}

#[test]
fn every_scenario_begins_broken() {
    for scenario in Scenario::ALL {
        assert!(!machine(scenario).is_healthy(), "{scenario}");
    }
}

#[test]
fn a_boot_goes_from_refused_to_up_by_itself() {
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
fn a_reset_leaves_the_stall_and_a_fresh_process_does_not() {
    let machine = machine(Scenario::IoStall);
    assert_eq!(network(&machine), Network::Silent);
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(600));
    assert_eq!(network(&machine), Network::Silent);
    machine.step(|state, now| {
        state.power.stop();
        state.start(now);
    });
    machine.clock().advance(Duration::from_secs(4));
    assert!(machine.is_healthy());
}

#[test]
fn a_reset_cures_a_panic() {
    let machine = machine(Scenario::Panic);
    assert_eq!(network(&machine), Network::Silent);
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(4));
    assert!(machine.is_healthy());
}

#[test]
fn a_full_disk_survives_a_cycle_and_the_service_stays_down() {
    let machine = machine(Scenario::DiskFull);
    machine.step(|state, now| {
        state.power.stop();
        state.start(now);
    });
    machine.clock().advance(Duration::from_secs(5));
    assert_eq!(network(&machine), Network::Up);
    assert!(!machine.is_healthy());
}

#[test]
fn a_boot_gives_the_leaked_memory_back_until_it_has_leaked_again() {
    let machine = machine(Scenario::Oom);
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(5));
    assert!(machine.is_healthy());
    machine.clock().advance(Duration::from_secs(3 * 3_600));
    assert!(!machine.is_healthy(), "the cause was not taken away");
}

#[test]
fn a_stalled_disk_writes_nothing_and_a_healthy_one_does() {
    let writes = |machine: &Machine| machine.step(|state, now| state.power.disk_writes(now));
    for (scenario, flat) in [
        (Scenario::IoStall, true),
        (Scenario::Panic, true),
        (Scenario::Oom, false),
    ] {
        let machine = machine(scenario);
        let before = writes(&machine);
        machine.clock().advance(Duration::from_secs(10));
        assert_eq!(writes(&machine) == before, flat, "{scenario}");
    }
}

#[test]
fn a_reboot_empties_tmp_and_starts_the_clock_anew() {
    let machine = machine(Scenario::DiskFull);
    machine.step(|state, now| {
        state
            .guest
            .disk
            .write("/tmp/x", "1", false, "root", now)
            .unwrap();
    });
    machine.step(State::reset);
    machine.clock().advance(Duration::from_secs(5));
    machine.step(|state, now| {
        assert_eq!(
            state.guest.disk.get("/tmp/x").err(),
            Some(DiskError::Missing)
        );
        assert!(now.since(state.guest.booted) < Duration::from_secs(10));
    });
}
