//! `GET /api/incidents/{incident}/report.md`: the log as a Markdown report.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use breakglass_model::IncidentId;

use super::extract::PathOf;
use super::lookup;
use super::state::AppState;
use crate::auth::Identity;
use crate::problem::Problem;
use crate::report::Report;

pub(super) async fn show(
    State(state): State<AppState>,
    _: Identity,
    PathOf(incident): PathOf<IncidentId>,
) -> Result<Response, Problem> {
    let summary = lookup::incident(&state, incident).await?;
    let measured = state.control.vitals_summary(&summary.target);
    let report = Report::new(summary, state.log.degraded(), state.report_rules.get());
    let mut report = report.with_measured(measured);
    let mut events = state.log.read(incident, 0);
    while let Some(event) = events.next().await? {
        report.add(&event);
    }
    let name = format!("attachment; filename=\"incident-{incident}.md\"");
    let headers = [
        (
            header::CONTENT_TYPE,
            "text/markdown; charset=utf-8".to_owned(),
        ),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, report.finish()).into_response())
}
