use std::time::Duration;

use serde_json::Value;

use super::{Driver, Evidence, Monitor, Qemu};

/// Timeout for the run state of a guest. A healthy monitor takes a millisecond.
pub(crate) const MONITOR_TIMEOUT: Duration = Duration::from_secs(3);

/// The guest's process and run state, without the hypervisor's knowledge.
pub(crate) fn observe(driver: &mut dyn Driver, timeout: Duration) -> Evidence {
    let qemu = driver.find_qemu();
    let monitor = match qemu {
        Qemu::Alive(_) => query_run_state(driver, timeout),
        Qemu::Absent | Qemu::Unknown(_) => Monitor::NotAsked,
    };
    Evidence {
        qemu,
        monitor,
        ..Evidence::default()
    }
}

fn query_run_state(driver: &mut dyn Driver, timeout: Duration) -> Monitor {
    match driver.query_monitor("query-status", Value::Null, timeout) {
        Ok(answer) => match answer.get("status").and_then(Value::as_str) {
            Some(state) => Monitor::State(state.into()),
            None => Monitor::Silent("its answer has no run state".to_owned()),
        },
        Err(why) => match driver.daemon_error(timeout) {
            Some(error) => Monitor::Unreachable(error),
            None => Monitor::Silent(why),
        },
    }
}
