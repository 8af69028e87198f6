//! `GET /api/incidents/{incident}/events`: the log as a stream of server-sent events.
//!
//! The journal renders the frames; here they are put on the wire, with a comment every 15 s so
//! that nothing between us and the reader takes silence for death. The stream ends when the
//! reader lagged behind what is kept for it, when the incident closed, and on shutdown; the
//! reader resumes with the id of the last event that it saw.

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
use super::problem::Problem;
use super::state::AppState;
use super::streams::Place;
use crate::auth::Identity;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where to resume, for clients that can't set a header.
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
    let summary = super::incidents::find(&state, incident).await?;
    if summary.closed_at.is_some() && after >= summary.head {
        // Tells a browser's EventSource that there is no more to come.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if after > summary.head {
        let detail = format!(
            "This incident's log ends at {}, so it can't be resumed after {after}; read it from \
             the start.",
            summary.head
        );
        return Err(Problem::conflict("ahead", "Ahead of the log", detail));
    }
    let place = state.streams.take(identity.name());
    let place = place.ok_or_else(|| Problem::too_many_streams(identity.name()))?;
    let attachment = state.log.attach(incident, after)?;
    let mut tick = tokio::time::interval(KEEP_ALIVE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    let ended = Box::pin(state.shutdown.clone().cancelled_owned());
    let live = Live {
        attachment: Box::pin(attachment),
        tick,
        ended,
        _place: place,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(live)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.to_str().ok().filter(digits);
    let number = number.and_then(|text| text.parse().ok());
    let malformed = || Problem::malformed("Last-Event-ID is not the number of an event.");
    number.map(Some).ok_or_else(malformed)
}

struct Live {
    attachment: Pin<Box<Attachment>>,
    tick: Interval,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl Stream for Live {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = self.attachment.as_mut().poll_next(context) {
            return Poll::Ready(next.map(Ok));
        }
        match self.tick.poll_tick(context) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Bytes::from_static(b": keep-alive\n\n")))),
            Poll::Pending => Poll::Pending,
        }
    }
}
