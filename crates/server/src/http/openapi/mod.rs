//! `GET /api/openapi.json`: the API as an OpenAPI 3.2 document (the first version that can describe
//! event streams).
//!
//! Schemas come from the serialised types, routes from a table ([`routes`]). The document is built
//! for each request and lists the targets and models of this server.

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

use super::state::{AgentChoice, AppState};
use crate::auth::{COOKIE, Identity};
use crate::problem::ProblemBody;
use route::{AllowedValues, Generators};

pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Json<Value> {
    let allowed = AllowedValues {
        targets: state.control.targets().map(|it| it.name.clone()).collect(),
        models: all_models(state.info.agents.iter()),
        agents: state.info.agents.iter().map(|it| it.name.clone()).collect(),
        verbs: Verb::ALL.map(Verb::as_str).into(),
        checks: Diagnosis::ALL.iter().map(|it| it.as_str()).collect(),
    };
    Json(document(&allowed, &state.info.version))
}

/// The models of all agents.
fn all_models<'a>(agents: impl Iterator<Item = &'a AgentChoice>) -> Vec<String> {
    let all: BTreeSet<&String> = agents.flat_map(|agent| &agent.models).collect();
    all.into_iter().cloned().collect()
}

fn document(allowed: &AllowedValues, version: &str) -> Value {
    let mut generators = Generators {
        request: SchemaSettings::draft2020_12()
            .for_deserialize()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator(),
        response: SchemaSettings::draft2020_12()
            .for_serialize()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
            .into_generator(),
    };
    let mut paths = Map::new();
    for route in routes::all() {
        let operation = route.operation(&mut generators, allowed);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation;
    }
    let response = &mut generators.response;
    response.subschema_for::<ProblemBody>();
    json!({
        "openapi": "3.2.0",
        "info": {
            "title": "breakglass",
            "version": version,
            "summary": "Recovers a virtual machine that is down.",
            "description": "See docs/api.md. A POST with a cookie, or through a proxy that signs \
                            people in, must have `Origin` or `Sec-Fetch-Site`.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": COOKIE },
            },
            "schemas": response.take_definitions(true),
        },
    })
}
