//! Follows everything that may be told, and puts it into the outboxes. Each turn of its loop looks at
//! all of it; what wakes it only says that there may be something.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use breakglass_log::{IncidentSummary, LogError, Unrecorded};
use breakglass_model::Time;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Sources;
use super::notification::Notification;
use super::outbox::{MAX_AGE, Outbox};
use super::progress::Progress;
use super::what::{self, Hold};
use breakglass_config::NotifyConfig;
use breakglass_readiness::{Change, State};

/// How often vital signs are looked at.
const TICK: Duration = Duration::from_secs(1);
/// What comes within this time is looked at once: the changes of one examination, a flood of events.
const SETTLE: Duration = Duration::from_millis(200);
/// The shortest time between two notifications of readiness; what went and came back in between is
/// not told.
const READINESS_GAP: Duration = Duration::from_secs(60);

pub(crate) struct Watch<'a> {
    sources: Sources,
    config: &'a NotifyConfig,
    outboxes: &'a [Arc<Outbox>],
    progress: Progress,
    holds: HashMap<String, Hold>,
    started: Instant,
    readiness_told: Option<Instant>,
    /// The log could not be read the last time.
    log_fails: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        sources: Sources,
        config: &'a NotifyConfig,
        outboxes: &'a [Arc<Outbox>],
        progress: Progress,
    ) -> Watch<'a> {
        let hold = |name: &String| {
            let down = progress.told.down.contains(name);
            Hold::new(down, config.down_after, config.up_after)
        };
        let names = sources.control.targets().map(|target| &target.name);
        let holds = names.map(|name| (name.clone(), hold(name))).collect();
        Watch {
            sources,
            config,
            outboxes,
            progress,
            holds,
            started: Instant::now(),
            readiness_told: None,
            log_fails: false,
        }
    }

    /// Until `end`; then once more.
    pub(crate) async fn run(mut self, end: &CancellationToken) {
        let log = self.sources.log.clone();
        let mut appended = log.watch_appended();
        let mut degraded = log.watch_degraded();
        let mut unrecorded = log.watch_unrecorded();
        let mut changes = self.sources.findings.changes();
        // What happened while nobody watched comes first.
        let (mut open, mut moved, mut lost) = (true, true, Vec::new());
        loop {
            self.look(lost, moved).await;
            if !open {
                return;
            }
            (moved, lost) = (false, Vec::new());
            tokio::select! {
                () = end.cancelled() => (open, moved) = (false, true),
                // No sender ends before this does.
                _ = appended.changed() => {
                    moved = true;
                    sleep(SETTLE).await;
                }
                _ = degraded.changed() => sleep(SETTLE).await,
                _ = changes.recv() => sleep(SETTLE).await,
                event = unrecorded.recv() => match event {
                    Ok(event) => lost.push(event),
                    Err(RecvError::Lagged(count)) => missed(count),
                    Err(RecvError::Closed) => {}
                },
                () = sleep(TICK) => {}
            }
            moved |= appended.has_changed().unwrap_or(true);
            appended.mark_unchanged();
            drain(&mut changes);
            drain_into(&mut lost, &mut unrecorded);
        }
    }

    /// Everything once, the log where it moved: what is to be told goes into each outbox, and then it
    /// counts as told.
    async fn look(&mut self, lost: Vec<Unrecorded>, moved: bool) {
        let mut told: Vec<Notification> = lost.iter().filter_map(of_unrecorded).collect();
        if moved || self.log_fails {
            let read = self.read_log(&mut told).await;
            if let (Err(error), false) = (&read, self.log_fails) {
                tracing::warn!(%error, "the log can't be read for notifications; it is tried again");
            }
            self.log_fails = read.is_err();
        }
        told.extend(self.readiness());
        told.extend(self.guests());
        let url = self.config.public_url.as_deref();
        let told: Vec<_> = told.into_iter().map(|one| one.linked(url)).collect();
        if !told.is_empty() {
            self.outboxes.iter().for_each(|outbox| outbox.put(&told));
        }
        self.progress.save();
    }

    /// Where logs have grown, what came since the last time.
    async fn read_log(&mut self, told: &mut Vec<Notification>) -> Result<(), LogError> {
        let age = SignedDuration::try_from(MAX_AGE).unwrap_or_default();
        let now = Timestamp::now();
        let floor = Time::from(now - age);
        let begun = &mut self.progress.told.begun;
        if *begun > now.into() {
            // The clock was set back. What was told before is known by its place in the log.
            *begun = floor;
        }
        let floor = floor.max(*begun);
        let log = self.sources.log.clone();
        let active = log.incidents_active_since(floor).await?;
        let is_active = |incident| active.iter().any(|it| it.incident == incident);
        let seen = &mut self.progress.told.incidents;
        seen.retain(|incident, _| is_active(*incident));
        for summary in active.iter().filter(|summary| what::is_live(summary)) {
            self.read_incident(summary, floor, told).await?;
        }
        Ok(())
    }

    async fn read_incident(
        &mut self,
        summary: &IncidentSummary,
        floor: Time,
        told: &mut Vec<Notification>,
    ) -> Result<(), LogError> {
        let (incident, target) = (summary.incident, &summary.target);
        let seen = &mut self.progress.told.incidents;
        let at = seen.get(&incident).copied().unwrap_or(0);
        if at >= summary.head {
            return Ok(());
        }
        let mut events = self.sources.log.read(incident, at).only(what::KINDS);
        while let Some(event) = events.next().await? {
            if event.at >= floor {
                told.extend(what::of_event(
                    Some(target),
                    incident,
                    event.at,
                    &event.body,
                ));
            }
            seen.insert(incident, event.seq);
        }
        seen.insert(incident, events.position());
        Ok(())
    }

    fn readiness(&mut self) -> Option<Notification> {
        let early = |told: Instant| told.elapsed() < READINESS_GAP;
        if self.readiness_told.is_some_and(early) {
            return None;
        }
        let mut now = what::tried(self.sources.findings.last());
        let store = match self.sources.log.degraded() {
            None => State::Green,
            Some(_) => State::Red,
        };
        now.push(("store".to_owned(), store));
        let told = what::of_checks(&mut self.progress.told, &now);
        if told.is_some() {
            self.readiness_told = Some(Instant::now());
        }
        told
    }

    fn guests(&mut self) -> Vec<Notification> {
        let now = self.started.elapsed();
        let mut told = Vec::new();
        for (target, hold) in &mut self.holds {
            let control = &self.sources.control;
            let Some(vitals) = control.vitals(target) else {
                continue;
            };
            let sign = what::sign(&vitals, control.running(target).is_some());
            let Some(down) = hold.observe(now, sign) else {
                continue;
            };
            let held = if down {
                self.config.down_after
            } else {
                self.config.up_after
            };
            let progress = &mut self.progress.told;
            told.push(what::of_guest(progress, target, down, &vitals, held));
        }
        told
    }
}

/// What the log does not hold: power that a person used while the record was degraded, above all.
fn of_unrecorded(event: &Unrecorded) -> Option<Notification> {
    let told = what::of_event(None, event.incident, event.at, &event.body)?;
    // There may be no such incident to look at.
    Some(Notification {
        incident: None,
        ..told
    })
}

/// The checks are looked at themselves, all at once: a change only wakes.
fn drain(changes: &mut broadcast::Receiver<Change>) {
    while !matches!(
        changes.try_recv(),
        Err(TryRecvError::Empty | TryRecvError::Closed)
    ) {}
}

fn drain_into(lost: &mut Vec<Unrecorded>, unrecorded: &mut broadcast::Receiver<Unrecorded>) {
    loop {
        match unrecorded.try_recv() {
            Ok(event) => lost.push(event),
            Err(TryRecvError::Lagged(count)) => missed(count),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

fn missed(count: u64) {
    tracing::warn!(
        count,
        "so many unrecorded events came at once that some are not notified"
    );
}
