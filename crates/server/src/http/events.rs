//! `GET /api/incidents/{incident}/events`: the log as a stream of server-sent events.
//!
//! The log renders the frames. This module sends them, with a comment every 15 s so that no proxy
//! on the way closes the connection as idle. The stream ends if the reader falls behind its buffer,
//! if the incident is closed, and on shutdown. The reader resumes with the id of the last event that
//! it received.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use breakglass_log::Attachment;
use breakglass_model::IncidentId;
use bytes::Bytes;
use futures_util::Stream;
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::extract::{PathOf, QueryOf};
use super::lookup;
use super::state::AppState;
use super::streams::StreamSlot;
use crate::auth::Identity;
use crate::problem::Problem;

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The event to resume after, for clients that can't set a header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    after: Option<u64>,
}

pub(super) async fn stream(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
    QueryOf(resume): QueryOf<Resume>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?.or(resume.after).unwrap_or(0);
    let summary = lookup::incident(&state, incident).await?;
    if summary.closed_at.is_some() && after >= summary.head {
        // 204 makes a browser's EventSource stop reconnecting.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if after > summary.head {
        let detail = format!(
            "This incident's log ends at event {}, so it can't be resumed after event {after}. Read \
             it from the start.",
            summary.head
        );
        return Err(Problem::conflict("ahead", "Ahead of the log", detail));
    }
    let slot = lookup::stream_slot(&state, &identity)?;
    let attachment = state.log.attach(incident, after)?;
    let mut keep_alive = tokio::time::interval(KEEP_ALIVE_INTERVAL);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keep_alive.reset();
    let shutdown = Box::pin(state.shutdown.clone().cancelled_owned());
    let stream = EventStream {
        attachment: Box::pin(attachment),
        keep_alive,
        shutdown,
        _slot: slot,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    // `parse` alone would accept a leading `+`.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number => Ok(Some(number)),
        _ => Err(Problem::malformed(
            "Last-Event-ID is not the number of an event.",
        )),
    }
}

/// The body of the response: the log's frames and keep-alive comments.
struct EventStream {
    attachment: Pin<Box<Attachment>>,
    keep_alive: Interval,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: StreamSlot,
}

impl Stream for EventStream {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.shutdown.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = self.attachment.as_mut().poll_next(context) {
            return Poll::Ready(next.map(Ok));
        }
        match self.keep_alive.poll_tick(context) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Bytes::from_static(b": keep-alive\n\n")))),
            Poll::Pending => Poll::Pending,
        }
    }
}
