//! The API asked from inside the program, so that the command line does what a request does, with the same checks and the
//! same audit.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::state::Api;
use crate::access::Principal;

/// Requests of one principal, without a connection.
#[derive(Clone, Debug)]
pub struct Inside {
    router: Router,
    principal: Principal,
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub etag: Option<String>,
    /// Null where there is none.
    pub body: Value,
}

/// What was asked is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Because(String),
    #[error("the answer cannot be read")]
    Unreadable,
}

impl Inside {
    pub fn new(api: Api, principal: Principal) -> Inside {
        Inside {
            router: super::v1(api),
            principal,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Answer, Refused> {
        self.ask(Method::GET, path, None, None).await
    }

    pub async fn create(&self, path: &str, body: Value) -> Result<Answer, Refused> {
        self.ask(Method::POST, path, None, Some(body)).await
    }

    /// Changes what `read` was the answer to.
    pub async fn edit(&self, path: &str, read: &Answer, body: Value) -> Result<Answer, Refused> {
        let etag = read.etag.as_deref();
        self.ask(Method::PUT, path, etag, Some(body)).await
    }

    /// Removes what `read` was the answer to.
    pub async fn remove(&self, path: &str, read: &Answer) -> Result<Answer, Refused> {
        let etag = read.etag.as_deref();
        self.ask(Method::DELETE, path, etag, None).await
    }

    /// `path` is below `/api/v1`.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer, Refused> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(etag) = etag {
            request = request.header(header::IF_MATCH, etag);
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let mut request = request.body(body).map_err(|_| Refused::Unreadable)?;
        request.extensions_mut().insert(self.principal.clone());
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|_| Refused::Unreadable)?;
        let bytes = bytes.to_bytes();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).map_err(|_| Refused::Unreadable)?,
        };
        if !head.status.is_success() {
            return Err(Refused::Because(in_words(&body)));
        }
        let etag = head.headers.get(header::ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        Ok(Answer { etag, body })
    }
}

/// A problem as a line: its title, the field at fault, and what is wrong.
fn in_words(problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    let (title, field, detail) = (text("title"), text("field"), text("detail"));
    match (field.is_empty(), detail.is_empty()) {
        (true, true) => title,
        (true, false) => format!("{title}: {detail}"),
        (false, _) => format!("{title}: {field}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{World, tenant};
    use super::*;
    use crate::base::SYSTEM_TENANT;

    #[tokio::test]
    async fn what_is_asked_from_inside_is_checked_and_audited() {
        let world = World::new().await;
        let operator = Inside::new(world.api.clone(), Principal::operator("ops"));
        let made = operator
            .create(
                "/groups",
                json!({ "name": "Sales", "tenant_id": tenant("acme") }),
            )
            .await
            .unwrap();
        let path = format!("/groups/{}", made.body["id"].as_str().unwrap());
        let read = operator.get(&path).await.unwrap();
        assert_eq!(read, made);
        let refused = operator.edit(&path, &read, json!({ "name": "" })).await;
        let why = refused.unwrap_err().to_string();
        assert_eq!(why, "The request is not valid: name: 1 to 100 characters");
        let stale = Answer::default();
        let refused = operator.remove(&path, &stale).await;
        assert!(refused.unwrap_err().to_string().contains("which version"));
        assert_eq!(
            operator.remove(&path, &read).await.unwrap().body,
            Value::Null
        );
        assert_eq!(
            world.audit("acme").await,
            ["groups.create", "groups.delete"]
        );
        assert_eq!(
            world.catalog.audited_actions_for_tests(SYSTEM_TENANT).await,
            [""; 0]
        );
    }
}
