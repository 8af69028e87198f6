//! One route as the document tells it. What follows from its method, path and body is added by
//! itself: path parameters, who may ask, and the problems that all such routes have.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// A type's schema, once there is a generator.
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What this server knows, where only some words are accepted.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) targets: Vec<String>,
    /// Of all agents.
    pub(super) models: Vec<String>,
    pub(super) agents: Vec<String>,
    pub(super) verbs: Vec<&'static str>,
    pub(super) checks: Vec<&'static str>,
}

/// What an answer or a body holds.
#[derive(Clone, Copy)]
enum Content {
    Nothing,
    Json(SchemaOf),
    Text(&'static str),
    Bytes(&'static str),
    Stream(SchemaOf),
}

/// One answer that is no problem.
struct Answer {
    status: u16,
    description: &'static str,
    content: Content,
    headers: &'static [(&'static str, &'static str)],
}

/// A parameter beside the path's.
struct Parameter {
    place: &'static str,
    name: &'static str,
    description: &'static str,
    schema: Value,
}

/// One route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    open: bool,
    body: Option<SchemaOf>,
    parameters: Vec<Parameter>,
    answers: Vec<Answer>,
    problems: BTreeMap<u16, &'static str>,
}

/// A route that reads.
pub(super) fn get(path: &'static str, summary: &'static str) -> Route {
    Route::new("GET", path, summary)
}

/// A route that changes something.
pub(super) fn post(path: &'static str, summary: &'static str) -> Route {
    let forbidden = "Does not come from our own page";
    Route::new("POST", path, summary).problem(403, forbidden)
}

impl Route {
    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Route {
        let route = Route {
            method,
            path,
            summary,
            open: false,
            body: None,
            parameters: Vec::new(),
            answers: Vec::new(),
            problems: BTreeMap::new(),
        };
        let route = route
            .problem(401, "No proof of an identity, or a wrong one")
            .problem(421, "`Host` is not one of this server's names")
            .problem(429, "Too much at once; `type` says of what");
        if path.contains('{') {
            route.problem(404, "No such thing")
        } else {
            route
        }
    }

    /// Needs no identity.
    pub(super) fn open(mut self) -> Route {
        self.open = true;
        self
    }

    /// Takes this as JSON.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Route {
        self.body = Some(|generator| T::json_schema(generator));
        self.problem(400, "Could not be read")
            .problem(408, "The body did not arrive in time")
            .problem(413, "The body is too large")
            .problem(415, "The body is not JSON")
            .problem(422, "Understood, and not acceptable")
    }

    /// Takes this in the query; unknown names are refused.
    pub(super) fn query(
        self,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> Route {
        self.parameter("query", name, description, schema)
    }

    /// Takes this header.
    pub(super) fn header(
        self,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> Route {
        self.parameter("header", name, description, schema)
    }

    fn parameter(
        mut self,
        place: &'static str,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> Route {
        self.parameters.push(Parameter {
            place,
            name,
            description,
            schema,
        });
        self.problem(400, "Could not be read")
    }

    /// Answers with this as JSON.
    pub(super) fn json<T: JsonSchema>(self, status: u16, description: &'static str) -> Route {
        let schema: SchemaOf = |generator| generator.subschema_for::<T>();
        self.answer(status, description, Content::Json(schema))
    }

    /// Answers with text of this media type.
    pub(super) fn text(self, status: u16, media: &'static str, description: &'static str) -> Route {
        self.answer(status, description, Content::Text(media))
    }

    /// Answers with bytes of this media type.
    pub(super) fn bytes(
        self,
        status: u16,
        media: &'static str,
        description: &'static str,
    ) -> Route {
        self.answer(status, description, Content::Bytes(media))
    }

    /// Answers with server-sent events, each with this as JSON.
    pub(super) fn stream<T: JsonSchema>(self, status: u16, description: &'static str) -> Route {
        let schema: SchemaOf = |generator| generator.subschema_for::<T>();
        self.answer(status, description, Content::Stream(schema))
    }

    /// Answers without a body.
    pub(super) fn nothing(self, status: u16, description: &'static str) -> Route {
        self.answer(status, description, Content::Nothing)
    }

    fn answer(mut self, status: u16, description: &'static str, content: Content) -> Route {
        self.answers.push(Answer {
            status,
            description,
            content,
            headers: &[],
        });
        self
    }

    /// The last answer has these headers.
    pub(super) fn with_headers(
        mut self,
        headers: &'static [(&'static str, &'static str)],
    ) -> Route {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers = headers;
        }
        self
    }

    /// Answers with problem details of this status when `description` holds.
    pub(super) fn problem(mut self, status: u16, description: &'static str) -> Route {
        self.problems.insert(status, description);
        self
    }

    /// The operation object.
    pub(super) fn operation(&self, generators: &mut Generators, facts: &Facts) -> Value {
        let mut operation = Map::new();
        operation.insert("summary".to_owned(), json!(self.summary));
        operation.insert("operationId".to_owned(), json!(self.id()));
        if self.open {
            operation.insert("security".to_owned(), json!([]));
        }
        let parameters = self.parameters(facts);
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), json!(parameters));
        }
        if let Some(body) = self.body {
            let mut schema = body(&mut generators.taken).to_value();
            narrow(&mut schema, facts);
            let content = json!({ "application/json": { "schema": schema } });
            let body = json!({ "required": true, "content": content });
            operation.insert("requestBody".to_owned(), body);
        }
        let responses = self.responses(&mut generators.given);
        operation.insert("responses".to_owned(), Value::Object(responses));
        Value::Object(operation)
    }

    /// The method and the path in letters and underscores.
    fn id(&self) -> String {
        let words = self
            .path
            .split(|letter: char| !letter.is_ascii_alphanumeric());
        let words: Vec<&str> = words
            .filter(|word| !word.is_empty() && *word != "api")
            .collect();
        format!("{}_{}", self.method.to_ascii_lowercase(), words.join("_"))
    }

    fn parameters(&self, facts: &Facts) -> Vec<Value> {
        let names = self.path.split('{').skip(1);
        let names = names.filter_map(|rest| rest.split('}').next());
        let of_path = names.map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": facts.of_path(name) })
        });
        let others = self.parameters.iter().map(|parameter| {
            let Parameter {
                place,
                name,
                description,
                schema,
            } = parameter;
            json!({ "name": name, "in": place, "description": description, "schema": schema })
        });
        of_path.chain(others).collect()
    }

    fn responses(&self, generator: &mut SchemaGenerator) -> Map<String, Value> {
        let mut responses = Map::new();
        for (status, description) in &self.problems {
            let open = self.open && *status == 401 && self.body.is_none();
            if !open {
                responses.insert(status.to_string(), problem(*status, description));
            }
        }
        for answer in &self.answers {
            let mut response = json!({ "description": answer.description });
            if let Some((media, content)) = answer.content.object(generator) {
                response["content"] = json!({ media: content });
            }
            for (name, what) in answer.headers {
                let header = json!({ "description": what, "required": true, "schema": { "type": "string" } });
                response["headers"][*name] = header;
            }
            merge(&mut responses, answer.status, response);
        }
        responses
    }
}

/// Two answers may have one status: readiness is told with 503 as well.
fn merge(responses: &mut Map<String, Value>, status: u16, response: Value) {
    match responses.get_mut(&status.to_string()) {
        Some(Value::Object(known)) => {
            if let (Some(Value::Object(of)), Some(Value::Object(more))) =
                (known.get_mut("content"), response.get("content"))
            {
                of.extend(more.clone());
            }
        }
        _ => {
            responses.insert(status.to_string(), response);
        }
    }
}

impl Content {
    fn object(self, generator: &mut SchemaGenerator) -> Option<(&'static str, Value)> {
        match self {
            Content::Nothing => None,
            Content::Json(schema) => {
                Some(("application/json", json!({ "schema": schema(generator) })))
            }
            Content::Text(media) => Some((media, json!({ "schema": { "type": "string" } }))),
            Content::Bytes(media) => Some((media, json!({}))),
            Content::Stream(schema) => {
                let data = json!({
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": schema(generator),
                });
                let id = json!({ "type": "string", "pattern": "^[0-9]+$" });
                let properties = json!({ "id": id, "event": { "type": "string" }, "data": data });
                let required = ["event", "data"];
                let item =
                    json!({ "type": "object", "properties": properties, "required": required });
                Some(("text/event-stream", json!({ "itemSchema": item })))
            }
        }
    }
}

impl Facts {
    fn of_path(&self, name: &str) -> Value {
        match name {
            "target" => json!({ "type": "string", "enum": self.targets }),
            "verb" => json!({ "type": "string", "enum": self.verbs }),
            "check" => json!({ "type": "string", "enum": self.checks }),
            "incident" | "operation" => json!({ "type": "string", "format": "uuid" }),
            _ => json!({ "type": "string", "minLength": 1 }),
        }
    }
}

/// Puts the words that this server takes into a body's schema.
fn narrow(schema: &mut Value, facts: &Facts) {
    let Some(properties) = schema.get_mut("properties") else {
        return;
    };
    if let Some(target) = properties.get_mut("target") {
        target["enum"] = json!(facts.targets);
    }
    for (name, words) in [("model", &facts.models), ("agent", &facts.agents)] {
        if let Some(property) = properties.get_mut(name) {
            let words = words.iter().map(|word| json!(word));
            property["enum"] = words.chain([Value::Null]).collect();
        }
    }
}

fn problem(status: u16, description: &str) -> Value {
    let mut problem = json!({
        "description": description,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    if status == 401 {
        let header =
            json!({ "required": true, "schema": { "type": "string", "enum": ["Bearer"] } });
        problem["headers"] = json!({ "WWW-Authenticate": header });
    }
    problem
}

/// What is taken is told in place, what is given by name.
pub(super) struct Generators {
    pub(super) taken: SchemaGenerator,
    pub(super) given: SchemaGenerator,
}
