//! Every route, in the order of docs/api.md. A new one is one entry here, one in the router and one
//! in `PROTECTED`; a test holds the three together.

use breakglass_control::{Accepted, OperationView};
use breakglass_log::IncidentSummary;
use breakglass_model::{Event, Frame};
use schemars::JsonSchema;
use serde_json::json;

use super::route::{Route, get, post};
use crate::http::health::Readiness;
use crate::http::incidents::{IncidentOpened, OpenIncident, Prompt, PromptTaken, Stopped};
use crate::http::leave::{ApprovalTaken, AutonomySetting, CutOffSetting, DecideApproval};
use crate::http::notifications::Notifications;
use crate::http::session::{Login, Me};
use crate::http::targets::TargetView;

const CONFLICT: &str = "Not now; `type` says why, and what is in the way is named";
const UNAVAILABLE: &str = "The agent, the record, or a server that is ending";

pub(super) fn all() -> Vec<Route> {
    let mut routes = of_the_server();
    routes.extend(of_targets());
    routes.extend(of_incidents());
    routes.extend(of_the_agent());
    routes
}

fn of_the_server() -> Vec<Route> {
    vec![
        get("/health", "Liveness")
            .open()
            .text(200, "text/plain", "The process answers"),
        get("/ready", "Readiness, each check by name")
            .json::<Readiness>(200, "No check is red")
            .json::<Readiness>(503, "A check is red"),
        get("/api/readiness", "Readiness, for people").json::<Readiness>(200, "As it stands"),
        post("/api/readiness/check", "Have everything examined, and wait")
            .json::<Readiness>(200, "As it stands then"),
        get("/api/notifications", "What became of notifications")
            .json::<Notifications>(200, "That"),
        get("/metrics", "Metrics as Prometheus text")
            .text(200, "text/plain", "Version 0.0.4 of the format")
            .problem(503, "Could not be written"),
        get("/api/openapi.json", "This document").json::<serde_json::Value>(200, "OpenAPI 3.2"),
        post("/api/login", "Sign a browser in")
            .open()
            .takes::<Login>()
            .nothing(204, "Signed in")
            .with_headers(&[("Set-Cookie", "The session, for 12 h")]),
        post("/api/logout", "End this session")
            .nothing(204, "Ended")
            .with_headers(&[("Set-Cookie", "The session's cookie, emptied")]),
        get("/api/me", "Who one is, and what one is talking to").json::<Me>(200, "That"),
    ]
}

fn of_targets() -> Vec<Route> {
    let verb = post(
        "/api/targets/{target}/verbs/{verb}",
        "Run a verb on the host",
    );
    let check = post("/api/targets/{target}/checks/{check}", "Look at the guest");
    vec![
        get("/api/targets", "The machines to be saved").json::<Vec<TargetView>>(200, "All"),
        get("/api/targets/{target}", "One machine").json::<TargetView>(200, "That machine"),
        get("/api/targets/{target}/screenshot", "The guest's screen now")
            .bytes(200, "image/png", "The picture")
            .problem(409, "There is none; the detail has the gate's words")
            .problem(503, "The host can't be reached"),
        run(verb),
        run(check),
        get(
            "/api/operations/{operation}",
            "One run of a verb or a check",
        )
        .json::<OperationView>(200, "As it stands"),
        get(
            "/api/operations/{operation}/screenshot",
            "The screen before a verb",
        )
        .bytes(200, "image/png", "The picture")
        .problem(503, "It can't be read"),
    ]
}

fn run(route: Route) -> Route {
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,128}$" });
    let wait = "Answer only with the result, or after 15 minutes";
    route
        .query("wait", wait, json!({ "type": "boolean", "default": false }))
        .query(
            "incident",
            "In whose log; else the newest open one of the target, else a new one",
            json!({ "type": "string", "format": "uuid" }),
        )
        .header("Idempotency-Key", "The same key never runs twice", key)
        .json::<OperationView>(200, "The result, where it was waited for")
        .json::<Accepted>(202, "Begun, or begun before under the same key")
        .problem(408, "The body did not arrive in time")
        .problem(409, CONFLICT)
        .problem(413, "The body is too large")
        .problem(
            422,
            "The key belongs to another request, or there is a body",
        )
        .problem(503, "The server is ending")
}

fn of_incidents() -> Vec<Route> {
    vec![
        get("/api/incidents", "The newest 1,000 incidents")
            .json::<Vec<IncidentSummary>>(200, "Newest first")
            .problem(503, UNAVAILABLE),
        post("/api/incidents", "Open an incident")
            .takes::<OpenIncident>()
            .json::<IncidentOpened>(201, "Opened")
            .with_headers(&[("Location", "Where it is")])
            .problem(404, "No such target")
            .problem(503, UNAVAILABLE),
        get("/api/incidents/{incident}", "One incident")
            .json::<IncidentSummary>(200, "In one line")
            .problem(503, UNAVAILABLE),
        events(),
        bare("/api/incidents/{incident}/close", "Close it")
            .nothing(204, "Closed; a running turn was stopped first"),
        get("/api/incidents/{incident}/report.md", "The report")
            .text(200, "text/markdown", "At most 4 MiB or little more")
            .problem(503, UNAVAILABLE),
        get(
            "/api/incidents/{incident}/export",
            "The log as a file that proves itself",
        )
        .text(
            200,
            "application/jsonl",
            "A head, and each event as it is chained",
        )
        .problem(503, UNAVAILABLE),
    ]
}

fn events() -> Route {
    let seq = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    // A header is text.
    let id = json!({ "type": "string", "pattern": "^[0-9]{1,19}$" });
    get("/api/incidents/{incident}/events", "The log as it happens")
        .query("after", "Resume after this event", seq)
        .header("Last-Event-ID", "The same, and it wins", id)
        .stream::<Data>(200, "Replay, `caught-up`, then what happens")
        .nothing(204, "Closed, and there is no more")
        .problem(409, "The log ends before that event")
        .problem(503, UNAVAILABLE)
}

/// `data` of the stream's frames: the journal writes these bytes, and this is their schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "nothing is made of it but its schema")]
enum Data {
    /// With an `id`: durable.
    Event(Event),
    /// `caught-up`.
    CaughtUp {
        /// The last event that the reader has been given.
        seq: u64,
    },
    /// Not kept.
    Frame(Frame),
}

fn of_the_agent() -> Vec<Route> {
    let prompts = "/api/incidents/{incident}/prompts";
    let approvals = "/api/incidents/{incident}/approvals/{approval}";
    let autonomy = "/api/incidents/{incident}/autonomy";
    let cut_off = "/api/incidents/{incident}/cut-off";
    vec![
        post(prompts, "Ask the agent")
            .takes::<Prompt>()
            .json::<PromptTaken>(202, "Its turn has begun")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
        bare("/api/incidents/{incident}/stop", "Stop the agent")
            .json::<Stopped>(200, "Whether a turn ran; it has ended"),
        post(approvals, "Answer the agent's question")
            .takes::<DecideApproval>()
            .json::<ApprovalTaken>(200, "It took effect")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
        post(autonomy, "Set what it may do without asking")
            .takes::<AutonomySetting>()
            .json::<AutonomySetting>(200, "From the next command on")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
        post(cut_off, "Close the bastion to it, or open it again")
            .takes::<CutOffSetting>()
            .json::<CutOffSetting>(200, "With `true`, its commands have ended")
            .problem(409, CONFLICT)
            .problem(503, UNAVAILABLE),
    ]
}

/// A change that takes no body, or `{}`.
fn bare(path: &'static str, summary: &'static str) -> Route {
    post(path, summary)
        .problem(408, "The body did not arrive in time")
        .problem(409, CONFLICT)
        .problem(413, "The body is too large")
        .problem(422, "There is a body")
        .problem(503, UNAVAILABLE)
}
