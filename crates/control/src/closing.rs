//! Ending an incident's log, which nothing may write into any more from then on.

use std::time::Duration;

use breakglass_log::LogError;
use breakglass_model::{Actor, EventBody, IncidentId, Level, OperationId, Vital, Vitals};
use tokio::time::timeout;

use crate::control::Control;
use crate::vitals::NOT_YET;

/// Longest wait for an operation that is just finding its incident.
const LIMIT: Duration = Duration::from_secs(5);

/// Why an incident was not closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseRefusal {
    /// An operation writes into its log.
    #[error(
        "{what} is running and writes into this incident; wait for its end and close then, or \
         watch operation {operation}"
    )]
    Busy {
        /// What runs.
        operation: OperationId,
        /// Its verb or check.
        what: String,
    },
    /// The log refuses.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Control {
    /// Closes `incident`, which is about `target`, unless an operation writes into it. One that
    /// begins at the same moment either refuses the closing or goes into another incident, so
    /// nothing that happens is lost.
    ///
    /// # Errors
    /// See [`CloseRefusal`].
    pub async fn close(
        &self,
        target: &str,
        incident: IncidentId,
        actor: &Actor,
    ) -> Result<(), CloseRefusal> {
        let station = self.station(target).ok();
        let _no_newcomer = match station {
            Some(station) => Some(
                timeout(LIMIT, station.opening.lock())
                    .await
                    .map_err(|_| late())?,
            ),
            // A target that is not configured any more has no operations.
            None => None,
        };
        for running in self.inner.table.running() {
            let view = running.view();
            if view.incident == Some(incident) {
                let (operation, what) = (view.operation, view.verb);
                return Err(CloseRefusal::Busy { operation, what });
            }
        }
        let log = &self.inner.log;
        if let Some(measured) = station.and_then(|station| measured(&station.vitals.read())) {
            let last = last_measured(&measured);
            // What refuses this refuses the closing too, and says why.
            let _ = log.append(incident, Actor::System, last).await;
        }
        let closing = EventBody::IncidentClosed {};
        log.append(incident, actor.clone(), closing).await?;
        Ok(())
    }
}

/// The code of the notice that keeps the state of a target as it was measured last, at the closing: vital
/// signs are no events, and a report has to say how it ended.
pub const LAST_MEASURED: &str = "last_measured";

fn last_measured(measured: &str) -> EventBody {
    EventBody::Notice {
        level: Level::Info,
        code: LAST_MEASURED.to_owned(),
        message: format!("Measured last before the closing: {measured}."),
    }
}

/// How a target is by its vital signs, and when that was seen, as a part of a sentence; none if it was
/// never looked at.
#[must_use]
pub fn measured(vitals: &Vitals) -> Option<String> {
    let one = |name: &str, vital: &Vital| {
        let seen = vital.seen.get(11..19).unwrap_or(&vital.seen);
        format!("{name} {} (at {seen})", vital.text)
    };
    if vitals.ssh.text == NOT_YET && vitals.vm.text == NOT_YET {
        return None;
    }
    let (ssh, vm) = (one("SSH", &vitals.ssh), one("machine", &vitals.vm));
    let finding = vitals.finding.as_ref();
    let finding = finding.map_or(String::new(), |finding| format!("; {}", finding.summary));
    let text = format!("{ssh}; {vm}{finding}");
    Some(text.trim_end_matches('.').to_owned())
}

fn late() -> CloseRefusal {
    let reason = "an operation did not find its place in it in time".to_owned();
    CloseRefusal::Log(LogError::Unwritable { reason })
}

#[cfg(test)]
mod tests {
    use breakglass_model::{SignsFinding, VitalState};

    use super::*;

    fn vital(text: &str, seen: &str) -> Vital {
        Vital {
            state: VitalState::Dead,
            text: text.to_owned(),
            since: String::new(),
            seen: seen.to_owned(),
        }
    }

    #[test]
    fn the_last_measurement_is_a_sentence_with_its_times_or_nothing_where_there_was_none() {
        let mut vitals = Vitals {
            target: "devvm".to_owned(),
            ssh: vital("no answer for 40 s", "2026-11-30T03:12:05.123Z"),
            vm: vital("running", "2026-11-30T03:12:01.000Z"),
            machine: None,
            finding: None,
        };
        let said = "SSH no answer for 40 s (at 03:12:05); machine running (at 03:12:01)";
        assert_eq!(measured(&vitals).as_deref(), Some(said));
        vitals.finding = Some(SignsFinding {
            signature: "io-stall".to_owned(),
            summary: "No disk completes a write.".to_owned(),
            evidence: Vec::new(),
            recommend: None,
        });
        let said = format!("{said}; No disk completes a write");
        assert_eq!(measured(&vitals), Some(said));
        (vitals.ssh, vitals.vm) = (vital(NOT_YET, ""), vital(NOT_YET, ""));
        assert_eq!(measured(&vitals), None);
    }
}
