//! Every route, in the order of docs/api.md. A new route needs an entry here, in the router and in
//! `PROTECTED`; tests compare the three.

use breakglass_control::{Accepted, OperationView};
use breakglass_log::IncidentSummary;
use breakglass_model::{Event, Frame};
use schemars::JsonSchema;
use serde_json::json;

use super::route::{Route, get, post};
use crate::http::health::Readiness;
use crate::http::incidents::{IncidentOpened, OpenIncident, Prompt, PromptTaken, Stopped};
use crate::http::notifications::Notifications;
use crate::http::permission::{ApprovalTaken, AutonomySetting, CutOffSetting, DecideApproval};
use crate::http::session::{Login, Me};
use crate::http::targets::TargetView;

const CONFLICT: &str = "Not possible now; `type` has the reason";
const UNAVAILABLE: &str = "The agent or the log is unavailable, or the server is shutting down";

pub(super) fn all() -> Vec<Route> {
    let mut routes = server_routes();
    routes.extend(target_routes());
    routes.extend(incident_routes());
    routes.extend(agent_routes());
    routes
}

fn server_routes() -> Vec<Route> {
    vec![
        get("/health", "Liveness")
            .open()
            .text(200, "text/plain", "The process answers"),
        get("/ready", "The readiness state, for probes")
            .json::<Readiness>(200, "No check is red")
            .json::<Readiness>(503, "A check is red"),
        get("/api/readiness", "The readiness state").json::<Readiness>(200, "OK"),
        post("/api/readiness/check", "Run all readiness checks")
            .json::<Readiness>(200, "The new readiness state"),
        get("/api/notifications", "The delivery status of notifications")
            .json::<Notifications>(200, "OK"),
        get("/metrics", "Metrics as Prometheus text")
            .text(200, "text/plain", "Version 0.0.4 of the format")
            .problem(503, "The metrics could not be encoded"),
        get("/api/openapi.json", "This document").json::<serde_json::Value>(200, "OpenAPI 3.2"),
        post("/api/login", "Sign a browser in")
            .open()
            .takes::<Login>()
            .nothing(204, "Signed in")
            .with_headers(&[("Set-Cookie", "The session cookie, valid for 12 h")]),
        post("/api/logout", "Sign out")
            .nothing(204, "Signed out")
            .with_headers(&[("Set-Cookie", "Clears the session cookie")]),
        get("/api/me", "The signed-in identity and the server's version").json::<Me>(200, "OK"),
    ]
}

fn target_routes() -> Vec<Route> {
    let verb = post(
        "/api/targets/{target}/verbs/{verb}",
        "Run a verb on the host",
    );
    let check = post(
        "/api/targets/{target}/checks/{check}",
        "Run a read-only check of the guest",
    );
    vec![
        get("/api/targets", "All targets").json::<Vec<TargetView>>(200, "OK"),
        get("/api/targets/{target}", "One target").json::<TargetView>(200, "OK"),
        get(
            "/api/targets/{target}/screenshot",
            "A new screenshot of the guest",
        )
        .bytes(200, "image/png", "The screenshot")
        .problem(
            409,
            "No screenshot could be taken; `detail` has the gate's reason",
        )
        .problem(503, "The host can't be reached"),
        run(verb),
        run(check),
        get(
            "/api/operations/{operation}",
            "The state of one verb or check",
        )
        .json::<OperationView>(200, "OK"),
        get(
            "/api/operations/{operation}/screenshot",
            "The guest's screen before a verb",
        )
        .bytes(200, "image/png", "The screenshot")
        .problem(503, "The screenshot can't be read"),
    ]
}

fn run(route: Route) -> Route {
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,128}$" });
    let wait = "Respond when the result is known, or after 15 minutes";
    route
        .query("wait", wait, json!({ "type": "boolean", "default": false }))
        .query(
            "incident",
            "The incident to record in. Default: the target's newest open one, else a new one",
            json!({ "type": "string", "format": "uuid" }),
        )
        .header(
            "Idempotency-Key",
            "A request with a used key returns the earlier operation",
            key,
        )
        .json::<OperationView>(200, "The result, with `wait`")
        .json::<Accepted>(202, "Started, now or earlier with the same key")
        .problem(408, "The body did not arrive in time")
        .problem(409, CONFLICT)
        .problem(413, "The body is too large")
        .problem(
            422,
            "The key was used for another request, or there is a body",
        )
        .problem(503, "The server is shutting down")
}

fn incident_routes() -> Vec<Route> {
    vec![
        get("/api/incidents", "The newest 1,000 incidents")
            .json::<Vec<IncidentSummary>>(200, "Newest first")
            .problem(503, UNAVAILABLE),
        post("/api/incidents", "Open an incident")
            .takes::<OpenIncident>()
            .json::<IncidentOpened>(201, "Opened")
            .with_headers(&[("Location", "The incident's path")])
            .problem(404, "No such target")
            .problem(503, UNAVAILABLE),
        get("/api/incidents/{incident}", "One incident")
            .json::<IncidentSummary>(200, "OK")
            .problem(503, UNAVAILABLE),
        events(),
        without_body("/api/incidents/{incident}/close", "Close the incident")
            .nothing(204, "Closed; a running turn was stopped first"),
        get(
            "/api/incidents/{incident}/report.md",
            "The incident's report",
        )
        .text(200, "text/markdown", "About 4 MiB at most")
        .problem(503, UNAVAILABLE),
        get(
            "/api/incidents/{incident}/export",
            "The log as a file that can be verified alone",
        )
        .text(
            200,
            "application/jsonl",
            "A header line, then one line per event with its hash",
        )
        .problem(503, UNAVAILABLE),
    ]
}

fn events() -> Route {
    let seq = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    let id = json!({ "type": "string", "pattern": "^[0-9]{1,19}$" });
    get(
        "/api/incidents/{incident}/events",
        "The log as a stream of events",
    )
    .query("after", "Resume after this event", seq)
    .header(
        "Last-Event-ID",
        "Resume after this event; overrides `after`",
        id,
    )
    .stream::<Data>(200, "Earlier events, `caught-up`, then new events")
    .nothing(204, "The incident is closed and has no further events")
    .problem(409, "The log ends before that event")
    .problem(503, UNAVAILABLE)
}

/// The schema of `data` in the stream's frames. The log's crate writes the bytes.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Data {
    /// A durable event; the frame has an `id`.
    Event(Event),
    /// The `caught-up` frame.
    CaughtUp {
        /// The last event that was sent to the reader.
        seq: u64,
    },
    /// Data that is shown and not stored.
    Frame(Frame),
}

fn agent_routes() -> Vec<Route> {
    let prompts = "/api/incidents/{incident}/prompts";
    let approvals = "/api/incidents/{incident}/approvals/{approval}";
    let autonomy = "/api/incidents/{incident}/autonomy";
    let cut_off = "/api/incidents/{incident}/cut-off";
    vec![
        post(prompts, "Send a prompt to the agent")
            .takes::<Prompt>()
            .json::<PromptTaken>(202, "The turn has started")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
        without_body("/api/incidents/{incident}/stop", "Stop the agent")
            .json::<Stopped>(200, "Whether a turn was running; it has ended"),
        post(approvals, "Answer the agent's question")
            .takes::<DecideApproval>()
            .json::<ApprovalTaken>(200, "The decision took effect")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
        post(autonomy, "Set the agent's autonomy")
            .takes::<AutonomySetting>()
            .json::<AutonomySetting>(200, "In effect from the next command on")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
        post(cut_off, "Cut the agent off, or lift the cut-off")
            .takes::<CutOffSetting>()
            .json::<CutOffSetting>(200, "Done; with `true`, the agent's commands have ended")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
    ]
}

/// A POST that takes no body, or `{}`.
fn without_body(path: &'static str, summary: &'static str) -> Route {
    post(path, summary)
        .problem(408, "The body did not arrive in time")
        .problem(409, CONFLICT)
        .problem(413, "The body is too large")
        .problem(422, "There is a body")
        .problem(503, UNAVAILABLE)
}
