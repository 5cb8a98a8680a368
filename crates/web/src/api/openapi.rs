//! The description of the API, made from the table of routes and the types of the answers.

use pawang_store::state::Permission;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::reply;
use crate::problem::{Problem, ProblemDocument};
use crate::routes::{self, Kind, Look, Reply, Route};
use crate::server::permission_name;

/// Where schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// Answers with the description.
pub(crate) fn description(_: &Look<'_>) -> Result<Reply, Problem> {
    reply(&openapi())
}

/// Returns the description of everything that can be asked, as OpenAPI 3.1.
pub fn openapi() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<ProblemDocument>().to_value();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        let operation = operation(route, &problem, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.name().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Pawang",
            "version": "1",
            "description": "What `pawang serve` shows, for programs. Every address takes GET; what changes something \
                            takes POST and is written into the journal.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "pawang token create NAME"},
                "session": {"type": "apiKey", "in": "cookie", "name": "pawang"},
            },
        },
    })
}

fn operation(route: &Route, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = parts(route.path)
        .map(|part| {
            json!({"name": part, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    parameters.extend(route.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.summary,
            "schema": {"type": "string"},
        })
    }));
    if let (Some(_), Kind::Api) = (route.action, route.kind) {
        parameters.push(json!({
            "name": "X-CSRF-Token",
            "in": "header",
            "description": "the secret of the session, which GET /api/v1/session tells; not for tokens",
            "schema": {"type": "string"},
        }));
    }
    let content_type = content_type(route);
    let schema = route.schema.map(|schema| schema(generator).to_value());
    let content = schema.map_or_else(|| json!({}), |schema| json!({"schema": schema}));
    let mut operation = json!({
        "summary": route.summary,
        "operationId": identifier(route),
        "tags": [tag(route.kind)],
        "responses": {
            "200": {"description": "the answer", "content": {content_type: content}},
            "default": {
                "description": "a problem",
                "content": {"application/problem+json": {"schema": problem}},
            },
        },
        "security": security(route.needs),
    });
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(permission) = route.needs {
        operation["x-permission"] = json!(permission_name(permission));
    }
    if let Some(action) = route.action {
        operation["x-journal"] = json!(action);
    }
    operation
}

fn security(needs: Option<Permission>) -> Value {
    match needs {
        Some(_) => json!([{"token": []}, {"session": []}]),
        None => json!([]),
    }
}

fn content_type(route: &Route) -> &'static str {
    match route.kind {
        Kind::Page => "text/html",
        Kind::Api => "application/json",
        Kind::Asset | Kind::File => "*/*",
        Kind::Metrics | Kind::Health => "text/plain",
        Kind::Events => "text/event-stream",
    }
}

fn tag(kind: Kind) -> &'static str {
    match kind {
        Kind::Page => "pages",
        Kind::Api => "api",
        Kind::Asset => "assets",
        Kind::File => "files",
        Kind::Metrics => "metrics",
        Kind::Events => "events",
        Kind::Health => "health",
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    let segments = path.split('/');
    segments.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// Returns a name of the operation that generated clients use: method and path in words.
fn identifier(route: &Route) -> String {
    let words: Vec<&str> = route
        .path
        .split(['/', '{', '}', '.', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    format!("{}-{}", route.method.name().to_lowercase(), words.join("-"))
}
