//! `GET /api/openapi.json`: the interface for programs, as OpenAPI 3.2, the first version that
//! has a word for event streams.
//!
//! Schemas come from the types that are on the wire, routes from a table ([`routes`]). It is made
//! when it is asked for, and tells the targets and models of this very server.

mod route;
mod routes;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use breakglass_model::Diagnosis;
use breakglass_verbs::Verb;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::problem::ProblemBody;
use super::session::AgentChoice;
use super::state::AppState;
use crate::auth::{COOKIE, Identity};
use route::{Facts, Generators};

pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Json<Value> {
    let facts = Facts {
        targets: state.control.targets().map(|it| it.name.clone()).collect(),
        models: all_models(state.about.agents.iter()),
        agents: state
            .about
            .agents
            .iter()
            .map(|it| it.name.clone())
            .collect(),
        verbs: Verb::ALL.map(Verb::as_str).into(),
        checks: Diagnosis::ALL.iter().map(|it| it.as_str()).collect(),
    };
    Json(document(&facts, &state.about.version))
}

/// What any of the agents has.
fn all_models<'a>(agents: impl Iterator<Item = &'a AgentChoice>) -> Vec<String> {
    let all: BTreeSet<&String> = agents.flat_map(|agent| &agent.models).collect();
    all.into_iter().cloned().collect()
}

fn document(facts: &Facts, version: &str) -> Value {
    let mut generators = Generators {
        taken: SchemaSettings::draft2020_12()
            .for_deserialize()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator(),
        given: SchemaSettings::draft2020_12()
            .for_serialize()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
            .into_generator(),
    };
    let mut paths = Map::new();
    for route in routes::all() {
        let operation = route.operation(&mut generators, facts);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation;
    }
    let given = &mut generators.given;
    given.subschema_for::<ProblemBody>();
    json!({
        "openapi": "3.2.0",
        "info": {
            "title": "breakglass",
            "version": version,
            "summary": "Saves a machine that is down.",
            "description": "docs/api.md tells the rest. A change with a cookie, or through a proxy \
                            that signs people in, has to carry `Origin` or `Sec-Fetch-Site`.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": COOKIE },
            },
            "schemas": given.take_definitions(true),
        },
    })
}
