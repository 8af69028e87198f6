use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ts_rs::TS;

/// Who did something. On the wire: `agent`, `system`, or `operator:` and the identity, so that
/// no identity can pass itself off as one of the other two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, TS)]
#[ts(export, type = "`operator:${string}` | 'agent' | 'system'")]
pub enum Actor {
    /// A person, by identity.
    Operator(String),
    /// The agent.
    Agent,
    /// breakglass itself.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Operator(identity) => write!(f, "operator:{identity}"),
            Actor::Agent => f.write_str("agent"),
            Actor::System => f.write_str("system"),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "agent" => Ok(Actor::Agent),
            "system" => Ok(Actor::System),
            other => match other.strip_prefix("operator:") {
                Some(identity) => Ok(Actor::Operator(identity.to_owned())),
                None => Err(serde::de::Error::custom(format!("unknown actor {other:?}"))),
            },
        }
    }
}

impl JsonSchema for Actor {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Actor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Who did something: `agent`, `system`, or `operator:` and the identity.",
            "type": "string",
            "pattern": "^(agent$|system$|operator:)",
        })
    }
}
