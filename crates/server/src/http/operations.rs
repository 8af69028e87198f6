use axum::Json;
use axum::extract::State;
use breakglass_control::OperationView;
use breakglass_model::OperationId;

use super::extract::PathOf;
use super::problem::Problem;
use super::state::AppState;
use crate::auth::Identity;

/// `GET /api/operations/{operation}`.
pub(super) async fn show(
    State(state): State<AppState>,
    _: Identity,
    PathOf(operation): PathOf<OperationId>,
) -> Result<Json<OperationView>, Problem> {
    let missing = || {
        Problem::not_found(format!(
            "There is no operation {operation} in this server's memory; its incident's log has \
             what became of it."
        ))
    };
    state
        .control
        .operation(operation)
        .map(Json)
        .ok_or_else(missing)
}
