//! Operations that have no parameters: whoever gives them one has mistaken something, and is told so.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use super::request::no_such_parameter;
use crate::access::Principal;

/// Methods and paths of operations without parameters behind the path's question mark.
#[derive(Debug)]
pub(super) struct Bare {
    operations: HashSet<(Method, String)>,
    /// Those that nobody signs in for.
    open: HashSet<(Method, String)>,
}

impl Bare {
    /// As the document describes them.
    pub(super) fn of(document: &OpenApi) -> Bare {
        let mut bare = Bare {
            operations: HashSet::new(),
            open: HashSet::new(),
        };
        for (path, item) in &document.paths.paths {
            for (method, operation) in [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
            ] {
                let Some(operation) = operation.as_ref().filter(|one| is_bare(one)) else {
                    continue;
                };
                let name = (method, path.clone());
                if operation.security.is_some() {
                    bare.open.insert(name.clone());
                }
                bare.operations.insert(name);
            }
        }
        bare
    }
}

fn is_bare(operation: &Operation) -> bool {
    let parameters = operation.parameters.iter().flatten();
    let mut in_query = parameters.filter(|one| match one {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => true,
    });
    in_query.next().is_none()
}

/// Answers requests with a parameter that their operation does not have. Who has not signed in is told that first.
pub(super) async fn without_parameters(
    State(bare): State<Arc<Bare>>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let first = form_urlencoded::parse(query.as_bytes()).next();
    let path = request.extensions().get::<MatchedPath>();
    if let (Some((name, _)), Some(path)) = (first, path) {
        let method = match request.method() {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        let operation = (method, path.as_str().to_owned());
        let may_ask = request.extensions().get::<Principal>().is_some();
        if bare.operations.contains(&operation) && (may_ask || bare.open.contains(&operation)) {
            return no_such_parameter(&name).into_response();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use crate::access::Preset;
    use crate::api::testing::World;

    #[tokio::test]
    async fn a_parameter_that_there_is_not_is_named_wherever_it_is_given() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        for path in [
            "/me",
            "/session",
            "/sessions",
            "/permissions",
            "/tenant",
            "/service-accounts",
            "/dispositions",
            "/groups",
        ] {
            let refused = ann.get(&format!("{path}?colour=red")).await.expect(400);
            assert_eq!(refused.json()["field"], "colour", "{path}");
        }
        let body = serde_json::json!({ "name": "Sales" });
        ann.post("/groups?dry_run=true", body).await.expect(400);
        assert_eq!(world.audit("acme").await, [""; 0]);
        world.nobody().get("/me?colour=red").await.expect(401);
        let body = serde_json::json!({ "login": "ann" });
        let asked = world.nobody().post("/password-resets?x=1", body).await;
        asked.expect(400);
    }
}
