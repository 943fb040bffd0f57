//! The OpenAPI document of what can be asked: <https://spec.openapis.org/oas/v3.1.0>

use serde_json::{Map, Value, json};

use crate::query::{Kind, Options, Parameter};

/// Describes the queries of the pipeline of this name.
pub(super) fn document(pipeline: &str, options: &Options) -> Value {
    let mut paths = Map::new();
    for query in &options.queries {
        let name = &query.path[1..];
        let mut responses = json!({
            "200": {
                "description": "The answer.",
                "content": { "application/json": { "schema": envelope() }, "text/csv": { "schema": { "type": "string" } } },
            },
            "500": problem("The question as it stands cannot be answered, or not in so many rows."),
            "503": problem("There is nothing to ask yet, or too many ask at once."),
            "504": problem("The answer takes too long."),
        });
        if !query.parameters.is_empty() {
            responses["400"] = problem("A parameter is missing, unknown or not of its kind.");
        }
        let parameters: Vec<Value> = query.parameters.iter().map(parameter).collect();
        let mut get = json!({ "operationId": name, "parameters": parameters, "responses": responses });
        if let Some(summary) = &query.summary {
            get["summary"] = json!(summary);
        }
        paths.insert(query.path.clone(), json!({ "get": get }));
    }
    if let Some(begin) = &options.begin {
        let answer =
            |what: &str| json!({ "description": what, "content": { "application/json": { "schema": envelope() } } });
        let get = json!({
            "operationId": &begin[1..],
            "summary": "Begins the run, and reports what has become of the messages.",
            "responses": {
                "200": answer("The report, at the end of the input."),
                "202": answer("The report so far."),
                "500": problem("The pipeline failed."),
            },
        });
        paths.insert(begin.clone(), json!({ "get": get }));
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": pipeline, "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { "Envelope": {
            "type": "object",
            "required": ["data", "error", "message", "statusCode"],
            "properties": {
                "data": { "type": "array" },
                "error": { "type": "boolean" },
                "message": { "type": "string" },
                "statusCode": { "type": "integer" },
            },
        } } },
    });
    if options.token.is_some() {
        document["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
        document["security"] = json!([{ "token": [] }]);
    }
    document
}

fn envelope() -> Value {
    json!({ "$ref": "#/components/schemas/Envelope" })
}

fn problem(what: &str) -> Value {
    json!({ "description": what, "content": { "application/json": { "schema": envelope() } } })
}

fn parameter(Parameter { name, kind, default }: &Parameter) -> Value {
    let kind = match kind {
        Kind::Text => "string",
        Kind::Integer => "integer",
        Kind::Float => "number",
        Kind::Boolean => "boolean",
    };
    let mut schema = json!({ "type": kind });
    if let Some(default) = default {
        schema["default"] = default.clone();
    }
    json!({ "name": name, "in": "query", "required": default.is_none(), "schema": schema })
}
