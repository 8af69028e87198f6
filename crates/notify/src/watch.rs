//! Follows all sources and adds notifications to the outboxes. Every cycle of its loop reads all sources; a wake-up
//! only means that something may have changed.

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
use super::notified::NotifiedFile;
use super::outbox::{NOTIFICATION_MAX_AGE, Outbox};
use super::select::{self, Debounce};
use breakglass_config::NotifyConfig;
use breakglass_readiness::{Change, State};

/// Interval between readings of the vital signs.
const VITALS_INTERVAL: Duration = Duration::from_secs(1);
/// Wait after a wake-up, so that the changes of one readiness run, or many events, are read together.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// Minimum time between two notifications of readiness. A change that is reverted in between is not notified.
const READINESS_MIN_INTERVAL: Duration = Duration::from_secs(60);

pub(crate) struct Watch<'a> {
    sources: Sources,
    config: &'a NotifyConfig,
    outboxes: &'a [Arc<Outbox>],
    notified: NotifiedFile,
    guests: HashMap<String, Debounce>,
    started: Instant,
    readiness_notified_at: Option<Instant>,
    /// Whether the last attempt to read the log failed.
    log_fails: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        sources: Sources,
        config: &'a NotifyConfig,
        outboxes: &'a [Arc<Outbox>],
        notified: NotifiedFile,
    ) -> Watch<'a> {
        let debounce = |name: &String| {
            let down = notified.current.down.contains(name);
            Debounce::new(down, config.guest_state_after)
        };
        let names = sources.control.targets().map(|target| &target.name);
        let guests = names.map(|name| (name.clone(), debounce(name))).collect();
        Watch {
            sources,
            config,
            outboxes,
            notified,
            guests,
            started: Instant::now(),
            readiness_notified_at: None,
            log_fails: false,
        }
    }

    /// Runs until `end` is cancelled, then reads all sources once more.
    pub(crate) async fn run(mut self, end: &CancellationToken) {
        let log = self.sources.log.clone();
        let mut appended = log.watch_appended();
        let mut degraded = log.watch_degraded();
        let mut unrecorded = log.watch_unrecorded();
        let mut changes = self.sources.readiness.changes();
        let mut ending = false;
        // The first cycle reads the events since the last run of the server.
        let mut log_grew = true;
        let mut missing_events = Vec::new();
        loop {
            self.cycle(missing_events, log_grew).await;
            if ending {
                return;
            }
            log_grew = false;
            missing_events = Vec::new();
            tokio::select! {
                () = end.cancelled() => {
                    ending = true;
                    log_grew = true;
                }
                // The senders live at least as long as this task.
                _ = appended.changed() => {
                    log_grew = true;
                    sleep(BATCH_WAIT).await;
                }
                _ = degraded.changed() => sleep(BATCH_WAIT).await,
                _ = changes.recv() => sleep(BATCH_WAIT).await,
                event = unrecorded.recv() => match event {
                    Ok(event) => missing_events.push(event),
                    Err(RecvError::Lagged(count)) => missed(count),
                    Err(RecvError::Closed) => {}
                },
                () = sleep(VITALS_INTERVAL) => {}
            }
            log_grew |= appended.has_changed().unwrap_or(true);
            appended.mark_unchanged();
            drain(&mut changes);
            drain_into(&mut missing_events, &mut unrecorded);
        }
    }

    /// Reads all sources once (the log only if it grew), adds the notifications to the outboxes, and then saves
    /// the notified state.
    async fn cycle(&mut self, unrecorded: Vec<Unrecorded>, log_grew: bool) {
        let mut new: Vec<Notification> = unrecorded.iter().filter_map(of_unrecorded).collect();
        if log_grew || self.log_fails {
            let read = self.read_log(&mut new).await;
            if let (Err(error), false) = (&read, self.log_fails) {
                tracing::warn!(%error, "the log cannot be read for notifications; it will be retried");
            }
            self.log_fails = read.is_err();
        }
        new.extend(self.readiness());
        new.extend(self.guests());
        let url = self.config.public_url.as_deref();
        let new: Vec<_> = new.into_iter().map(|one| one.linked(url)).collect();
        if !new.is_empty() {
            self.outboxes.iter().for_each(|outbox| outbox.add(&new));
        }
        self.notified.save();
    }

    /// Reads the new events of all active incidents.
    async fn read_log(&mut self, new: &mut Vec<Notification>) -> Result<(), LogError> {
        let age = SignedDuration::try_from(NOTIFICATION_MAX_AGE).unwrap_or_default();
        let now = Timestamp::now();
        let floor = Time::from(now - age);
        let begun = &mut self.notified.current.begun;
        if *begun > now.into() {
            // The clock was set back. Events that were notified are recognised by their place in the log.
            *begun = floor;
        }
        let floor = floor.max(*begun);
        let log = self.sources.log.clone();
        let active = log.incidents_active_since(floor).await?;
        let is_active = |incident| active.iter().any(|it| it.incident == incident);
        let seen = &mut self.notified.current.incidents;
        seen.retain(|incident, _| is_active(*incident));
        for summary in active.iter().filter(|summary| select::is_live(summary)) {
            self.read_incident(summary, floor, new).await?;
        }
        Ok(())
    }

    async fn read_incident(
        &mut self,
        summary: &IncidentSummary,
        floor: Time,
        new: &mut Vec<Notification>,
    ) -> Result<(), LogError> {
        let (incident, target) = (summary.incident, &summary.target);
        let seen = &mut self.notified.current.incidents;
        let at = seen.get(&incident).copied().unwrap_or(0);
        if at >= summary.head {
            return Ok(());
        }
        let mut events = self.sources.log.read(incident, at).only(select::KINDS);
        while let Some(event) = events.next().await? {
            if event.at >= floor {
                new.extend(select::of_event(
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
        let is_recent = |at: Instant| at.elapsed() < READINESS_MIN_INTERVAL;
        if self.readiness_notified_at.is_some_and(is_recent) {
            return None;
        }
        let mut now = select::tried_states(self.sources.readiness.current());
        let store = match self.sources.log.degraded() {
            None => State::Green,
            Some(_) => State::Red,
        };
        now.push(("store".to_owned(), store));
        let notification = select::of_checks(&mut self.notified.current, &now);
        if notification.is_some() {
            self.readiness_notified_at = Some(Instant::now());
        }
        notification
    }

    fn guests(&mut self) -> Vec<Notification> {
        let now = self.started.elapsed();
        let mut new = Vec::new();
        for (target, debounce) in &mut self.guests {
            let control = &self.sources.control;
            let Some(vitals) = control.vitals(target) else {
                continue;
            };
            let state = select::guest_state(&vitals, control.running(target).is_some());
            let Some(down) = debounce.observe(now, state) else {
                continue;
            };
            let notified = &mut self.notified.current;
            let lasted = self.config.guest_state_after;
            new.push(select::of_guest(notified, target, down, &vitals, lasted));
        }
        new
    }
}

/// The notification of an event that could not be recorded: mostly verbs that ran while the log was degraded.
fn of_unrecorded(event: &Unrecorded) -> Option<Notification> {
    let notification = select::of_event(None, event.incident, event.at, &event.body)?;
    // The incident may not exist in the log, so there is no link to it.
    Some(Notification {
        incident: None,
        ..notification
    })
}

/// Discards the changes: they only wake the loop, which reads all checks.
fn drain(changes: &mut broadcast::Receiver<Change>) {
    while !matches!(
        changes.try_recv(),
        Err(TryRecvError::Empty | TryRecvError::Closed)
    ) {}
}

fn drain_into(
    missing_events: &mut Vec<Unrecorded>,
    unrecorded: &mut broadcast::Receiver<Unrecorded>,
) {
    loop {
        match unrecorded.try_recv() {
            Ok(event) => missing_events.push(event),
            Err(TryRecvError::Lagged(count)) => missed(count),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

fn missed(count: u64) {
    tracing::warn!(
        count,
        "too many unrecorded events at once: some are not notified"
    );
}
