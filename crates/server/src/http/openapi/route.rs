//! One route as an OpenAPI operation. Path parameters, security and the problems that all similar
//! routes share are derived from its method, path and body.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Makes a type's schema with a generator.
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The values that this server accepts for parameters and fields with a closed set of values.
#[derive(Debug, Clone)]
pub(super) struct AllowedValues {
    pub(super) targets: Vec<String>,
    /// The models of all agents.
    pub(super) models: Vec<String>,
    pub(super) agents: Vec<String>,
    pub(super) verbs: Vec<&'static str>,
    pub(super) checks: Vec<&'static str>,
}

/// The content of a response.
#[derive(Clone, Copy)]
enum Content {
    Nothing,
    Json(SchemaOf),
    Text(&'static str),
    Bytes(&'static str),
    Stream(SchemaOf),
}

/// A response that is not a problem detail.
struct Answer {
    status: u16,
    description: &'static str,
    content: Content,
    headers: &'static [(&'static str, &'static str)],
}

/// A query parameter or a header.
struct Parameter {
    location: &'static str,
    name: &'static str,
    description: &'static str,
    schema: Value,
}

/// One route: a method and a path.
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
    let forbidden = "The request comes from another site";
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
            .problem(401, "Not signed in, or wrong credentials")
            .problem(421, "`Host` is not one of this server's names")
            .problem(429, "A limit is exceeded; see `type`");
        if path.contains('{') {
            route.problem(404, "Not found")
        } else {
            route
        }
    }

    /// Marks the route as open: it needs no identity.
    pub(super) fn open(mut self) -> Route {
        self.open = true;
        self
    }

    /// Sets the type of the JSON body.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Route {
        self.body = Some(|generator| T::json_schema(generator));
        self.problem(400, "The request could not be parsed")
            .problem(408, "The body did not arrive in time")
            .problem(413, "The body is too large")
            .problem(415, "The body is not JSON")
            .problem(422, "The body is not acceptable")
    }

    /// Adds a query parameter. The server refuses unknown names.
    pub(super) fn query(
        self,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> Route {
        self.parameter("query", name, description, schema)
    }

    /// Adds a header parameter.
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
        location: &'static str,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> Route {
        self.parameters.push(Parameter {
            location,
            name,
            description,
            schema,
        });
        self.problem(400, "The request could not be parsed")
    }

    /// Adds a JSON response.
    pub(super) fn json<T: JsonSchema>(self, status: u16, description: &'static str) -> Route {
        let schema: SchemaOf = |generator| generator.subschema_for::<T>();
        self.answer(status, description, Content::Json(schema))
    }

    /// Adds a text response of this media type.
    pub(super) fn text(self, status: u16, media: &'static str, description: &'static str) -> Route {
        self.answer(status, description, Content::Text(media))
    }

    /// Adds a binary response of this media type.
    pub(super) fn bytes(
        self,
        status: u16,
        media: &'static str,
        description: &'static str,
    ) -> Route {
        self.answer(status, description, Content::Bytes(media))
    }

    /// Adds a response of server-sent events whose data is JSON.
    pub(super) fn stream<T: JsonSchema>(self, status: u16, description: &'static str) -> Route {
        let schema: SchemaOf = |generator| generator.subschema_for::<T>();
        self.answer(status, description, Content::Stream(schema))
    }

    /// Adds a response without a body.
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

    /// Sets the headers of the response that was added last.
    pub(super) fn with_headers(
        mut self,
        headers: &'static [(&'static str, &'static str)],
    ) -> Route {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers = headers;
        }
        self
    }

    /// Adds a problem detail of this status; `description` is its condition.
    pub(super) fn problem(mut self, status: u16, description: &'static str) -> Route {
        self.problems.insert(status, description);
        self
    }

    /// The OpenAPI operation object.
    pub(super) fn operation(&self, generators: &mut Generators, allowed: &AllowedValues) -> Value {
        let mut operation = Map::new();
        operation.insert("summary".to_owned(), json!(self.summary));
        operation.insert("operationId".to_owned(), json!(self.id()));
        if self.open {
            operation.insert("security".to_owned(), json!([]));
        }
        let parameters = self.parameters(allowed);
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), json!(parameters));
        }
        if let Some(body) = self.body {
            let mut schema = body(&mut generators.request).to_value();
            restrict(&mut schema, allowed);
            let content = json!({ "application/json": { "schema": schema } });
            let body = json!({ "required": true, "content": content });
            operation.insert("requestBody".to_owned(), body);
        }
        let responses = self.responses(&mut generators.response);
        operation.insert("responses".to_owned(), Value::Object(responses));
        Value::Object(operation)
    }

    /// The operation id: method and path, joined by underscores.
    fn id(&self) -> String {
        let words = self
            .path
            .split(|letter: char| !letter.is_ascii_alphanumeric());
        let words: Vec<&str> = words
            .filter(|word| !word.is_empty() && *word != "api")
            .collect();
        format!("{}_{}", self.method.to_ascii_lowercase(), words.join("_"))
    }

    fn parameters(&self, allowed: &AllowedValues) -> Vec<Value> {
        let names = self.path.split('{').skip(1);
        let names = names.filter_map(|rest| rest.split('}').next());
        let of_path = names.map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": allowed.path_parameter(name) })
        });
        let others = self.parameters.iter().map(|parameter| {
            let Parameter {
                location,
                name,
                description,
                schema,
            } = parameter;
            json!({ "name": name, "in": location, "description": description, "schema": schema })
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
            for (name, description) in answer.headers {
                let header = json!({ "description": description, "required": true, "schema": { "type": "string" } });
                response["headers"][*name] = header;
            }
            merge(&mut responses, answer.status, response);
        }
        responses
    }
}

/// Merges responses of the same status: `/ready` has two kinds of 503.
fn merge(responses: &mut Map<String, Value>, status: u16, response: Value) {
    match responses.get_mut(&status.to_string()) {
        Some(Value::Object(known)) => {
            if let (Some(Value::Object(content)), Some(Value::Object(more))) =
                (known.get_mut("content"), response.get("content"))
            {
                content.extend(more.clone());
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

impl AllowedValues {
    fn path_parameter(&self, name: &str) -> Value {
        match name {
            "target" => json!({ "type": "string", "enum": self.targets }),
            "verb" => json!({ "type": "string", "enum": self.verbs }),
            "check" => json!({ "type": "string", "enum": self.checks }),
            "incident" | "operation" => json!({ "type": "string", "format": "uuid" }),
            _ => json!({ "type": "string", "minLength": 1 }),
        }
    }
}

/// Restricts a body's schema to the values that this server accepts.
fn restrict(schema: &mut Value, allowed: &AllowedValues) {
    let Some(properties) = schema.get_mut("properties") else {
        return;
    };
    if let Some(target) = properties.get_mut("target") {
        target["enum"] = json!(allowed.targets);
    }
    for (name, values) in [("model", &allowed.models), ("agent", &allowed.agents)] {
        if let Some(property) = properties.get_mut(name) {
            let values = values.iter().map(|value| json!(value));
            property["enum"] = values.chain([Value::Null]).collect();
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

/// Schemas of requests are inlined; schemas of responses are shared by name.
pub(super) struct Generators {
    pub(super) request: SchemaGenerator,
    pub(super) response: SchemaGenerator,
}
