use axum::Json;
use axum::extract::State;
use breakglass_control::OperationView;
use breakglass_model::OperationId;

use super::extract::PathOf;
use super::state::AppState;
use crate::auth::Identity;
use crate::problem::Problem;

/// `GET /api/operations/{operation}`.
pub(super) async fn show(
    State(state): State<AppState>,
    _: Identity,
    PathOf(operation): PathOf<OperationId>,
) -> Result<Json<OperationView>, Problem> {
    let missing = || {
        Problem::not_found(format!(
            "This server has no operation {operation} in memory. The log of its incident has the \
             result."
        ))
    };
    state
        .control
        .operation(operation)
        .map(Json)
        .ok_or_else(missing)
}
