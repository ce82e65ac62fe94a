//! The OpenAPI document as these tests read it: operations, and the places where they take ids.

use serde_json::Value;

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: String,
    pub method: String,
    /// With `{parameters}`.
    pub path: String,
    pub ids: Vec<Form>,
    pub needs_version: bool,
    pub has_body: bool,
    /// Statuses that it says it may answer.
    pub answers: Vec<String>,
}

/// A place where an id is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A part of the path, with the part before it.
    Path {
        name: String,
        of: String,
    },
    Query {
        name: String,
    },
    /// A field of the body; whether it is a list.
    Body {
        name: String,
        list: bool,
    },
}

impl Form {
    /// The kind of object that the id is of.
    pub fn kind(&self) -> String {
        match self {
            // The tenants that people are of stay as they are.
            Form::Path { of, .. } if of == "tenants" => "customers".into(),
            Form::Path { of, .. } => of.clone(),
            Form::Query { name } | Form::Body { name, .. } => {
                let name = name.trim_end_matches("_ids").trim_end_matches("_id");
                match name {
                    "category" => "call-categories".into(),
                    "ids" => "calls".into(),
                    name => format!("{}s", name.replace('_', "-")),
                }
            }
        }
    }
}

pub fn document() -> Value {
    serde_json::to_value(callreel::api::document()).unwrap()
}

pub fn operations() -> Vec<Operation> {
    let document = document();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "put", "post", "delete", "patch", "head"].contains(&&**method) {
                operations.push(read(&document, path, method, operation));
            }
        }
    }
    assert!(!operations.is_empty());
    operations
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = operation["parameters"].as_array();
    let parameters: Vec<&Value> = parameters.into_iter().flatten().collect();
    let mut ids = Vec::new();
    for parameter in &parameters {
        let name = parameter["name"].as_str().unwrap().to_owned();
        if !is_id(&parameter["schema"]) {
            continue;
        }
        match parameter["in"].as_str().unwrap() {
            "path" => {
                let before = path.split(&format!("/{{{name}}}")).next().unwrap();
                let of = before.rsplit('/').next().unwrap().to_owned();
                ids.push(Form::Path { name, of });
            }
            "query" => ids.push(Form::Query { name }),
            _ => {}
        }
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    for (name, schema) in properties(document, body) {
        let list = is_id(&schema["items"]);
        if is_id(&schema) || list {
            ids.push(Form::Body { name, list });
        }
    }
    Operation {
        id: operation["operationId"]
            .as_str()
            .expect("every operation has an id")
            .to_owned(),
        method: method.to_uppercase(),
        path: path.to_owned(),
        ids,
        needs_version: parameters.iter().any(|one| one["name"] == "If-Match"),
        has_body: !body.is_null(),
        answers: operation["responses"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect(),
    }
}

fn is_id(schema: &Value) -> bool {
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    schema["format"] == "uuid" || one_of.clone().any(is_id)
}

fn properties(document: &Value, schema: &Value) -> Vec<(String, Value)> {
    let mut schema = schema;
    while let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        schema = document
            .pointer(pointer)
            .expect("what is referred to is there");
    }
    let own = schema["properties"].as_object().into_iter().flatten();
    let mut all: Vec<_> = own
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        all.extend(properties(document, part));
    }
    all
}
