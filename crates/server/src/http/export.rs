//! `GET /api/incidents/{incident}/export`: the log as a file that proves itself, for an archive or
//! for another record. Sent as it is read: no more than a block of it is in memory. What can't be
//! sent whole breaks off with the connection, so that nobody takes half of it for all.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use breakglass_model::IncidentId;
use futures_util::StreamExt as _;

use super::extract::PathOf;
use super::incidents;
use super::problem::Problem;
use super::state::AppState;
use crate::auth::Identity;

pub(super) async fn show(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
) -> Result<Response, Problem> {
    incidents::find(&state, incident).await?;
    let place = state.streams.take(identity.name());
    let place = place.ok_or_else(|| Problem::too_many_streams(identity.name()))?;
    let export = state.log.export(incident).await?;
    let shutdown = state.shutdown.clone();
    let blocks = export.map(move |block| {
        let _held = &place;
        if shutdown.is_cancelled() {
            return Err(io::Error::other("the server is ending"));
        }
        block.map_err(|error| {
            tracing::warn!(%incident, %error, "an export broke off");
            io::Error::other(error)
        })
    });
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"incident-{incident}.jsonl\""),
        ),
    ];
    Ok((headers, Body::from_stream(blocks)).into_response())
}
