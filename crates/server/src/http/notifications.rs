use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use ts_rs::TS;

use super::state::AppState;
use crate::auth::Identity;
use breakglass_notify::ReceiverStatus;

/// The delivery status of notifications.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Notifications {
    /// The receivers, in the order of the configuration.
    receivers: Vec<ReceiverStatus>,
}

/// `GET /api/notifications`.
pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Json<Notifications> {
    let receivers = state.notifier.statuses();
    Json(Notifications { receivers })
}
