//! `GET /api/incidents/{incident}/export`: the log as a file that can be verified alone, for an
//! archive or for the import into another server. It is sent while it is read, one block at a time.
//! On an error the connection is cut, so that no client takes an incomplete file for a complete one.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use breakglass_model::IncidentId;
use futures_util::StreamExt as _;

use super::extract::PathOf;
use super::lookup;
use super::state::AppState;
use crate::auth::Identity;
use crate::problem::Problem;

pub(super) async fn show(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
) -> Result<Response, Problem> {
    lookup::incident(&state, incident).await?;
    let slot = lookup::stream_slot(&state, &identity)?;
    let export = state.log.export(incident).await?;
    let shutdown = state.shutdown.clone();
    let blocks = export.map(move |block| {
        let _slot = &slot;
        if shutdown.is_cancelled() {
            return Err(io::Error::other("the server is shutting down"));
        }
        block.map_err(|error| {
            tracing::warn!(%incident, %error, "an export was cut off");
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
