//! The status of a receiver, for the API and as a check of readiness.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use breakglass_config::{NotificationKind, ReceiverConfig, Shape};
use breakglass_readiness::Check;

/// Results of one receiver's deliveries. Never contains its address.
#[derive(Debug, Clone, Serialize, TS, JsonSchema)]
#[ts(export, rename = "NotificationReceiver")]
#[schemars(rename = "NotificationReceiver")]
pub struct ReceiverStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The format of its messages.
    pub shape: Shape,
    /// The kinds of notifications that it gets.
    pub events: Vec<NotificationKind>,
    /// Number of pending notifications.
    pub waiting: usize,
    /// Number of delivered notifications.
    #[ts(type = "number")]
    pub delivered: u64,
    /// Number of notifications that it refused, or did not accept in 20 attempts or one day.
    #[ts(type = "number")]
    pub given_up: u64,
    /// Number of notifications that were dropped for newer ones.
    #[ts(type = "number")]
    pub dropped: u64,
    /// Number of notifications given up or dropped since the last delivery, or since the server started.
    #[ts(type = "number")]
    pub missed: u64,
    /// Number of consecutive failed attempts.
    pub failures: u32,
    /// The last failed attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub last_error: Option<LastError>,
    /// Time of the last delivery, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub last_success: Option<String>,
    /// Why pending notifications cannot be saved and would be lost on a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub unsaved: Option<String>,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export, rename = "NotificationError")]
#[schemars(rename = "NotificationError")]
pub struct LastError {
    /// Its time, RFC 3339 in UTC.
    pub at: String,
    /// The reason, as a sentence. Contains neither the receiver's text nor its address.
    pub message: String,
}

impl ReceiverStatus {
    /// The status of a receiver without any notification.
    pub fn of(receiver: &ReceiverConfig) -> ReceiverStatus {
        ReceiverStatus {
            name: receiver.name.clone(),
            shape: receiver.shape,
            events: receiver.kinds.iter().copied().collect(),
            waiting: 0,
            delivered: 0,
            given_up: 0,
            dropped: 0,
            missed: 0,
            failures: 0,
            last_error: None,
            last_success: None,
            unsaved: None,
        }
    }

    /// Whether the receiver gets notifications of this kind.
    pub fn wants(&self, kind: NotificationKind) -> bool {
        kind == NotificationKind::Test || self.events.contains(&kind)
    }
}

/// The check `notify.NAME`: red if notifications were lost, amber while they are being retried.
pub(crate) fn check(status: &ReceiverStatus) -> Check {
    let name = format!("notify.{}", status.name);
    let last = status.last_error.as_ref();
    let last = last.map_or_else(String::new, |error| {
        format!(" At {} {}.", error.at, error.message)
    });
    let remedy = "`breakglass notify test --config FILE` prints the answer of each receiver; correct its url \
                  or token in [[notifications.receivers]]";
    if status.missed > 0 {
        let missed = status.missed;
        let evidence = format!("{missed} notifications were not delivered, and none since.{last}");
        return Check::red(name, evidence, remedy);
    }
    if status.failures > 0 {
        let waiting = status.waiting;
        let failures = status.failures;
        let evidence =
            format!("{waiting} notifications are pending after {failures} failed attempts.{last}");
        return Check::amber(name, evidence, remedy);
    }
    if let Some(why) = &status.unsaved {
        let evidence = format!("Pending notifications would be lost on a restart: {why}.");
        return Check::amber(
            name,
            evidence,
            "free space in data_dir/notify, and make it writable",
        );
    }
    let evidence = match &status.last_success {
        Some(at) => format!("Accepted the last notification at {at}."),
        None => "There was nothing to notify yet.".to_owned(),
    };
    Check::green(name, evidence)
}
