//! Screenshots of the guest: now, and just before a verb.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use breakglass_control::NoPicture;
use breakglass_model::OperationId;

use super::extract::PathOf;
use super::lookup;
use super::state::AppState;
use crate::auth::Identity;
use crate::problem::Problem;
use breakglass_model::sentence;

/// `GET /api/targets/{target}/screenshot`: takes a new screenshot through the gate. Nothing is recorded.
pub(super) async fn now(
    State(state): State<AppState>,
    _: Identity,
    PathOf(target): PathOf<String>,
) -> Result<Response, Problem> {
    lookup::target(&state, &target)?;
    let picture = state.control.screenshot(&target).await;
    picture.map(png).map_err(|error| no_picture(&error))
}

/// `GET /api/operations/{operation}/screenshot`: the stored screenshot. It may exist for an operation
/// that is no longer in memory.
pub(super) async fn before(
    State(state): State<AppState>,
    _: Identity,
    PathOf(operation): PathOf<OperationId>,
) -> Result<Response, Problem> {
    match state.control.picture(operation).await {
        Ok(Some(picture)) => Ok(png(picture)),
        Ok(None) => Err(Problem::not_found(format!(
            "No screenshot is stored for operation {operation}: none could be taken, or it was \
             replaced by newer ones."
        ))),
        Err(error) => {
            tracing::error!(%operation, %error, "a screenshot can't be read");
            Err(Problem::unavailable(
                "The screenshot exists but can't be read; see the server's log.",
            ))
        }
    }
}

/// The response is not cached (`no-store` is the default): a screen may show secrets.
fn png(picture: Vec<u8>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    ([kind], picture).into_response()
}

fn no_picture(error: &NoPicture) -> Problem {
    let detail = sentence(error.to_string().trim_end_matches('.'));
    match error {
        NoPicture::UnknownTarget(_) => Problem::not_found(detail),
        NoPicture::Unreachable(_) => Problem::unavailable(detail),
        NoPicture::Refused(_) | NoPicture::Invalid => {
            Problem::conflict("no-picture", "No screenshot", detail)
        }
    }
}
