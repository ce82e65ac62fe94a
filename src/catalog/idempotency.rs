//! Answers to requests that are to have their effect once, however often they are sent.

use std::time::Duration;

use sqlx::{Sqlite, Transaction};

use super::change::now;
use super::{Catalog, Error, Result};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Answers kept of one principal; past it the oldest go.
const MOST: i64 = 1000;
/// What has expired is removed a few at a time, by who comes next.
const SWEEP: i64 = 50;

/// A request with a key, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    /// Kind and id of who asks: nobody sees another's answers.
    pub principal: String,
    pub key: String,
    /// Of all that the answer depends on.
    pub hash: [u8; 32],
}

/// What is known of a request when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It may go on: nobody else with this key will until it is finished or forgotten.
    First,
    /// It was sent before, and its answer is not there yet, or never came.
    Unfinished,
    Answered(KeptAnswer),
    /// The key was sent with another request.
    Another,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    pub status: u16,
    /// JSON: name to value.
    pub headers: String,
    /// None: it held a secret, which is told once.
    pub body: Option<Vec<u8>>,
}

type Row = (Vec<u8>, Option<i64>, String, Option<Vec<u8>>);

impl Catalog {
    /// Notes that a request has come, or tells what became of it before.
    pub async fn begin_keyed(&self, request: &KeyedRequest) -> Result<Asked> {
        let failed = |error| Error::from_sqlx("look for an answer", &self.place, error);
        let mut writing = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let asked = begin(&mut writing, request).await.map_err(failed)?;
        writing.commit().await.map_err(failed)?;
        Ok(asked)
    }

    /// Keeps the answer.
    pub async fn finish_keyed(&self, request: &KeyedRequest, answer: &KeptAnswer) -> Result<()> {
        let failed = |error| Error::from_sqlx("keep an answer", &self.place, error);
        sqlx::query("UPDATE idempotent_answers SET status = ?, headers = ?, body = ? WHERE principal = ? AND key = ?")
            .bind(i64::from(answer.status))
            .bind(&answer.headers)
            .bind(&answer.body)
            .bind(&request.principal)
            .bind(&request.key)
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(failed)
    }

    /// The request had no effect: it may be sent again.
    pub async fn forget_keyed(&self, request: &KeyedRequest) -> Result<()> {
        let failed = |error| Error::from_sqlx("forget a request", &self.place, error);
        sqlx::query("DELETE FROM idempotent_answers WHERE principal = ? AND key = ?")
            .bind(&request.principal)
            .bind(&request.key)
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

async fn begin(
    writing: &mut Transaction<'static, Sqlite>,
    request: &KeyedRequest,
) -> sqlx::Result<Asked> {
    let now = now();
    let expired = (now - KEPT).as_nanos();
    sqlx::query(
        "DELETE FROM idempotent_answers WHERE (principal, key) IN \
         (SELECT principal, key FROM idempotent_answers WHERE asked_at < ? ORDER BY asked_at LIMIT ?)",
    )
    .bind(expired)
    .bind(SWEEP)
    .execute(&mut **writing)
    .await?;
    let known: Option<Row> = sqlx::query_as(
        "SELECT request, status, headers, body FROM idempotent_answers WHERE principal = ? AND key = ? AND asked_at >= ?",
    )
    .bind(&request.principal)
    .bind(&request.key)
    .bind(expired)
    .fetch_optional(&mut **writing)
    .await?;
    if let Some(known) = known {
        return Ok(asked_before(request, known));
    }
    sqlx::query(
        "DELETE FROM idempotent_answers WHERE principal = ?1 AND key IN (SELECT key FROM idempotent_answers \
         WHERE principal = ?1 ORDER BY asked_at DESC LIMIT -1 OFFSET ?2)",
    )
    .bind(&request.principal)
    .bind(MOST - 1)
    .execute(&mut **writing)
    .await?;
    sqlx::query("INSERT OR REPLACE INTO idempotent_answers (principal, key, request, asked_at) VALUES (?, ?, ?, ?)")
        .bind(&request.principal)
        .bind(&request.key)
        .bind(&request.hash[..])
        .bind(now.as_nanos())
        .execute(&mut **writing)
        .await?;
    Ok(Asked::First)
}

fn asked_before(request: &KeyedRequest, (hash, status, headers, body): Row) -> Asked {
    if hash != request.hash {
        return Asked::Another;
    }
    match status.and_then(|status| u16::try_from(status).ok()) {
        None => Asked::Unfinished,
        Some(status) => Asked::Answered(KeptAnswer {
            status,
            headers,
            body,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::in_memory;
    use super::*;

    fn request(principal: &str, key: &str, hash: u8) -> KeyedRequest {
        KeyedRequest {
            principal: principal.into(),
            key: key.into(),
            hash: [hash; 32],
        }
    }

    #[tokio::test]
    async fn a_key_belongs_to_one_request_of_one_principal() {
        let catalog = in_memory().await;
        let first = request("user:1", "a", 1);
        assert_eq!(catalog.begin_keyed(&first).await.unwrap(), Asked::First);
        assert_eq!(
            catalog.begin_keyed(&first).await.unwrap(),
            Asked::Unfinished
        );
        assert_eq!(
            catalog
                .begin_keyed(&request("user:1", "a", 2))
                .await
                .unwrap(),
            Asked::Another
        );
        assert_eq!(
            catalog
                .begin_keyed(&request("user:2", "a", 2))
                .await
                .unwrap(),
            Asked::First
        );
        let answer = KeptAnswer {
            status: 201,
            headers: "{}".into(),
            body: Some(b"x".to_vec()),
        };
        catalog.finish_keyed(&first, &answer).await.unwrap();
        assert_eq!(
            catalog.begin_keyed(&first).await.unwrap(),
            Asked::Answered(answer)
        );
        catalog.forget_keyed(&first).await.unwrap();
        assert_eq!(catalog.begin_keyed(&first).await.unwrap(), Asked::First);
    }

    #[tokio::test]
    async fn answers_are_kept_for_a_day_and_no_more_than_so_many() {
        let catalog = in_memory().await;
        let first = request("user:1", "0", 1);
        catalog.begin_keyed(&first).await.unwrap();
        sqlx::query("UPDATE idempotent_answers SET asked_at = asked_at - 86401000000000")
            .execute(&catalog.writer)
            .await
            .unwrap();
        assert_eq!(catalog.begin_keyed(&first).await.unwrap(), Asked::First);
        for number in 1..=MOST {
            catalog
                .begin_keyed(&request("user:1", &number.to_string(), 1))
                .await
                .unwrap();
        }
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM idempotent_answers")
            .fetch_one(&catalog.readers)
            .await
            .unwrap();
        assert_eq!(kept, MOST);
        assert_eq!(catalog.begin_keyed(&first).await.unwrap(), Asked::First);
    }
}
