//! Two watchers per target: one asks whether the guest answers on SSH, one what the gate reports of its
//! machine. Each is one task, so probes of the same kind never overlap.
//!
//! ```text
//!   due? (sooner while an incident is open) ── probe ── VitalsState ─┬─ page
//!                                                └─ no answer yet    └─ findings ── log, once each
//! ```

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::{Actor, Frame, IncidentId, OutputStream, Side};
use breakglass_verbs::Verb;
use tokio::time::{Instant, timeout};

use crate::handle::TargetHandle;
use crate::invoke::{VerbResult, invoke_within};
use crate::shared::Shared;
use crate::ssh::SshError;
use crate::ssh::exec::RemoteCommand;
use crate::ssh::warm::Priority;
use crate::vitals::{GUEST_ANSWER_EXPECTED, GateOutput};

/// How often a watcher checks whether an incident was opened, which makes probes more frequent.
const INCIDENT_CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// Shortest pause between two probes. It is longer than the first backoff of the SSH connection, so that the
/// second probe of a silent machine dials again.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(1_100);
/// Timeout for the guest's answer.
const GUEST_PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which the wait for the host is reported. A healthy host needs one second for its counters,
/// and its tools another.
const HOST_ANSWER_EXPECTED: Duration = Duration::from_secs(3);
/// Timeout for the host. An older gate needs 24 s to find that a monitor is dead, and that result is needed.
const HOST_PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout for the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

const fn probe_interval(side: Side, incident_is_open: bool) -> Duration {
    Duration::from_secs(match (side, incident_is_open) {
        (Side::Guest, true) => 3,
        (Side::Guest, false) => 30,
        // With the intervals above, a QEMU that hangs is visible within 8 s.
        (Side::Host, true) => 5,
        (Side::Host, false) => 60,
    })
}

/// Starts both watchers of `target`; they end when the server shuts down.
pub(crate) fn spawn(shared: &Arc<Shared>, target: &Arc<TargetHandle>) {
    for side in [Side::Guest, Side::Host] {
        let watcher = Watcher {
            shared: Arc::clone(shared),
            target: Arc::clone(target),
            side,
        };
        shared.tasks.spawn(async move {
            let shutdown = watcher.shared.shutdown.clone();
            shutdown.run_until_cancelled(watcher.run()).await;
        });
    }
}

struct Watcher {
    shared: Arc<Shared>,
    target: Arc<TargetHandle>,
    side: Side,
}

impl Watcher {
    async fn run(&self) {
        let name = &self.target.config.name;
        let mut last_probe: Option<Instant> = None;
        loop {
            let open = self.open_incidents().await;
            let interval = probe_interval(self.side, !open.is_empty());
            let is_due = last_probe.is_none_or(|at| at.elapsed() >= interval);
            let verb_is_running = self.shared.admission.lock().mutating(name).is_some();
            // During a mutating verb the machine is between two states; its end wakes the watchers.
            if verb_is_running {
                if self.target.vitals.withdraw_finding() {
                    self.publish(&open);
                }
            } else if is_due {
                last_probe = Some(Instant::now());
                self.probe_and_report(&open).await;
            }
            let left = last_probe.map_or(INCIDENT_CHECK_INTERVAL, |at| {
                interval.saturating_sub(at.elapsed())
            });
            let pause = left.clamp(PROBE_PAUSE_MIN, INCIDENT_CHECK_INTERVAL);
            let woken = self.target.watcher(self.side).notified();
            if timeout(pause, woken).await.is_ok() {
                last_probe = None;
            }
        }
    }

    async fn open_incidents(&self) -> Vec<IncidentId> {
        let open = self.shared.log.open_incidents(&self.target.config.name);
        let open = timeout(LOG_TIMEOUT, open).await;
        open.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Probes, publishes the vital signs, and records what is new in the newest open incident.
    async fn probe_and_report(&self, open: &[IncidentId]) {
        let error = match self.side {
            Side::Guest => self.probe_guest(open).await,
            Side::Host => self.probe_host(open).await,
        };
        let newest = open.first().copied();
        let vitals = &self.target.vitals;
        let mut news = vitals.key_news(self.side, newest, error.as_ref());
        news.extend(vitals.update_finding(newest, self.target.since_change()));
        self.publish(open);
        if let Some(newest) = newest {
            for body in news {
                self.shared.log.record(newest, Actor::System, body).await;
            }
        }
    }

    async fn probe_guest(&self, open: &[IncidentId]) -> Option<SshError> {
        let command = RemoteCommand {
            command: "true",
            timeout: GUEST_PROBE_TIMEOUT,
            priority: Priority::Background,
        };
        let started = Instant::now();
        let mut ignore = |_: OutputStream, _: &str| {};
        let mut answering = pin!(self.target.guest.exec(command, &mut ignore));
        let answer = match timeout(GUEST_ANSWER_EXPECTED, &mut answering).await {
            Ok(answer) => answer,
            Err(_) => {
                // A dial can take several seconds more: report the missing answer now.
                self.target.vitals.record_guest_wait();
                self.publish(open);
                answering.await
            }
        };
        let guest = self.target.vitals.record_guest(&answer, started.elapsed());
        if guest.is_silent() {
            // Its machine's last state, up to a minute old, explains nothing: probe the host too.
            self.target.watcher(Side::Host).notify_one();
        }
        answer.err()
    }

    async fn probe_host(&self, open: &[IncidentId]) -> Option<SshError> {
        let mut probing = pin!(self.ask_gate());
        let mut waited = HOST_ANSWER_EXPECTED;
        let (output, result) = loop {
            match timeout(HOST_ANSWER_EXPECTED, &mut probing).await {
                Ok(answer) => break answer,
                Err(_) => {
                    self.target.vitals.record_host_wait(waited);
                    self.publish(open);
                    waited += HOST_ANSWER_EXPECTED;
                }
            }
        };
        self.target
            .vitals
            .record_host(output.into_measurement(), &result);
        result.error
    }

    /// Asks the gate for the vital signs; an older gate knows `status` only.
    async fn ask_gate(&self) -> (GateOutput, VerbResult) {
        let vitals = &self.target.vitals;
        let mut output = GateOutput::default();
        if !vitals.gate_knows_vitals() {
            let result = self.run_verb(Verb::Status, &mut output).await;
            return (output, result);
        }
        let mut result = self.run_verb(Verb::Vitals, &mut output).await;
        let mut is_old = false;
        if result.is_unknown_verb {
            result = self
                .run_verb(Verb::Status, &mut GateOutput::default())
                .await;
            is_old = result.verdict.is_some();
        }
        vitals.set_gate_is_old(is_old);
        (output, result)
    }

    async fn run_verb(&self, verb: Verb, output: &mut GateOutput) -> VerbResult {
        let host = &self.target.host;
        let mut sink = |stream, line: &str| output.push(stream, line);
        invoke_within(
            host,
            verb,
            HOST_PROBE_TIMEOUT,
            Priority::Background,
            &mut sink,
        )
        .await
    }

    fn publish(&self, open: &[IncidentId]) {
        for incident in open {
            let frame = Frame::Vitals(self.target.vitals.read());
            self.shared.log.publish(*incident, frame);
        }
    }
}
