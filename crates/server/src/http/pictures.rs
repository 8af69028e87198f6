//! The guest's screen: as it is now, and as it was just before a verb.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use breakglass_control::NoPicture;
use breakglass_model::OperationId;

use super::extract::PathOf;
use super::problem::Problem;
use super::state::AppState;
use super::targets;
use crate::auth::Identity;
use breakglass_model::sentence;

/// `GET /api/targets/{target}/screenshot`: the host's gate is asked now; nothing is recorded.
pub(super) async fn now(
    State(state): State<AppState>,
    _: Identity,
    PathOf(target): PathOf<String>,
) -> Result<Response, Problem> {
    targets::find(&state, &target)?;
    let picture = state.control.screenshot(&target).await;
    picture.map(png).map_err(|why| no_picture(&why))
}

/// `GET /api/operations/{operation}/screenshot`: what was kept, also for an operation that is long
/// forgotten otherwise.
pub(super) async fn before(
    State(state): State<AppState>,
    _: Identity,
    PathOf(operation): PathOf<OperationId>,
) -> Result<Response, Problem> {
    match state.control.picture(operation).await {
        Ok(Some(picture)) => Ok(png(picture)),
        Ok(None) => Err(Problem::not_found(format!(
            "No picture is kept for operation {operation}: there was none to be had, or newer ones \
             took its place."
        ))),
        Err(error) => {
            tracing::error!(%operation, %error, "a picture can't be read");
            Err(Problem::unavailable(
                "The picture is there and can't be read; see the server's log.",
            ))
        }
    }
}

/// `no-store` comes with every answer that does not say otherwise: a screen may show secrets.
fn png(picture: Vec<u8>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    ([kind], picture).into_response()
}

fn no_picture(why: &NoPicture) -> Problem {
    let detail = sentence(why.to_string().trim_end_matches('.'));
    match why {
        NoPicture::UnknownTarget(_) => Problem::not_found(detail),
        NoPicture::Unreachable(_) => Problem::unavailable(detail),
        NoPicture::Refused(_) | NoPicture::Invalid => {
            Problem::conflict("no-picture", "No picture", detail)
        }
    }
}
