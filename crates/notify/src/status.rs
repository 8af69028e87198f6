//! How a receiver stands, for the API and for readiness.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use breakglass_config::{NotificationKind, ReceiverConfig, Shape};
use breakglass_readiness::Check;

/// What became of one receiver's notifications. Never holds its address.
#[derive(Debug, Clone, Serialize, TS, JsonSchema)]
#[ts(export, rename = "NotificationReceiver")]
#[schemars(rename = "NotificationReceiver")]
pub struct ReceiverStatus {
    /// Its name in the configuration.
    pub name: String,
    /// How it is told.
    pub shape: Shape,
    /// What it is told.
    pub events: Vec<NotificationKind>,
    /// How many are still to be delivered.
    pub waiting: usize,
    /// How many it took.
    #[ts(type = "number")]
    pub delivered: u64,
    /// How many it refused, or did not take in 20 attempts or a day.
    #[ts(type = "number")]
    pub given_up: u64,
    /// How many made room for newer ones.
    #[ts(type = "number")]
    pub dropped: u64,
    /// How many of both since it last took one, or since the server's start.
    #[ts(type = "number")]
    pub missed: u64,
    /// How many attempts in a row have failed until now.
    pub failures: u32,
    /// The last attempt that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub last_error: Option<LastError>,
    /// When it last took one; RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub last_success: Option<String>,
    /// Why what waits would not survive the server's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub unsaved: Option<String>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export, rename = "NotificationError")]
#[schemars(rename = "NotificationError")]
pub struct LastError {
    /// When; RFC 3339 in UTC.
    pub at: String,
    /// Why, as a sentence. Nothing in it is the receiver's own text or address.
    pub message: String,
}

impl ReceiverStatus {
    /// Of one that was told nothing yet.
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

    /// Whether it is told of this kind.
    pub fn wants(&self, kind: NotificationKind) -> bool {
        kind == NotificationKind::Test || self.events.contains(&kind)
    }
}

/// The check `notify.NAME`: red where something was not delivered, amber where it is still tried.
pub(crate) fn check(status: &ReceiverStatus) -> Check {
    let name = format!("notify.{}", status.name);
    let last = status.last_error.as_ref();
    let last = last.map_or_else(String::new, |error| {
        format!(" At {} {}.", error.at, error.message)
    });
    let remedy = "`breakglass notify test --config FILE` says what each receiver answers; mend its url \
                  or token in [[notify]]";
    if status.missed > 0 {
        let missed = status.missed;
        let evidence = format!("Not delivered, and nothing since: {missed}.{last}");
        return Check::red(name, evidence, remedy);
    }
    if status.failures > 0 {
        let (waiting, failures) = (status.waiting, status.failures);
        let evidence = format!("{waiting} wait, after {failures} attempts.{last}");
        return Check::amber(name, evidence, remedy);
    }
    if let Some(why) = &status.unsaved {
        let evidence = format!("What waits would not survive the server's end: {why}.");
        return Check::amber(
            name,
            evidence,
            "free space in data_dir/notify and make it writable",
        );
    }
    let evidence = match &status.last_success {
        Some(at) => format!("Took the last notification at {at}."),
        None => "Had nothing to be told yet.".to_owned(),
    };
    Check::green(name, evidence)
}
