//! Secrets that an earlier version wrote into the catalog as they are.

use sqlx::Connection;
use uuid::Uuid;

use crate::catalog::{Catalog, Error, Result};

impl Catalog {
    /// Whether there are secrets that are not sealed.
    pub async fn has_open_secrets(&self) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM webhooks WHERE sealed_secret IS NULL)")
            .fetch_one(&self.readers)
            .await
            .map_err(|error| Error::from_sqlx("look for open secrets", &self.place, error))
    }

    /// Seals them, each for the id of its webhook, all or none; how many. What is left of them in pages that are free, and in the
    /// journal, is overwritten.
    pub async fn seal_secrets(&self, seal: impl Fn(&str, Uuid) -> Vec<u8>) -> Result<u64> {
        let failed = |error| Error::from_sqlx("seal secrets", &self.place, error);
        let mut writer = self.writer.acquire().await.map_err(failed)?;
        // Until the connection is closed: it costs a little for each row that is deleted, and rows of calls are not.
        sqlx::query("PRAGMA secure_delete = ON")
            .execute(&mut *writer)
            .await
            .map_err(failed)?;
        let mut writing = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let open: Vec<(Uuid, String)> =
            sqlx::query_as("SELECT id, secret FROM webhooks WHERE sealed_secret IS NULL")
                .fetch_all(&mut *writing)
                .await
                .map_err(failed)?;
        for (webhook, secret) in &open {
            sqlx::query("UPDATE webhooks SET sealed_secret = ?, secret = '' WHERE id = ?")
                .bind(seal(secret, *webhook))
                .bind(webhook)
                .execute(&mut *writing)
                .await
                .map_err(failed)?;
        }
        writing.commit().await.map_err(failed)?;
        // Somebody who reads may keep the journal from being emptied: its pages are written over in time.
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *writer)
            .await;
        let _ = sqlx::query("PRAGMA secure_delete = OFF")
            .execute(&mut *writer)
            .await;
        Ok(open.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::SealingKey;
    use crate::catalog::testing::tenant;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Whether a copy of the catalog's files holds the text.
    fn lies_in(folder: &std::path::Path, text: &str) -> bool {
        let files = std::fs::read_dir(folder).unwrap();
        files.into_iter().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    #[tokio::test]
    async fn what_an_earlier_version_left_open_is_sealed_and_nothing_of_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url).await.unwrap();
        catalog.register_for_tests(tenant(1), "one").await;
        assert!(!catalog.has_open_secrets().await.unwrap());
        let id = Uuid::from_u128(7);
        sqlx::query(
            "INSERT INTO webhooks (id, tenant_id, url, description, events, secret, created_at, changed_at) \
             VALUES (?, ?, 'https://x', '', '[]', ?, 0, 0)",
        )
        .bind(id)
        .bind(tenant(1).0)
        .bind(SECRET)
        .execute(&catalog.writer)
        .await
        .unwrap();
        assert!(lies_in(folder.path(), SECRET));
        assert!(catalog.has_open_secrets().await.unwrap());
        let key = SealingKey::drawn();
        let seal = |plain: &str, id: Uuid| key.seal(plain.as_bytes(), id.as_bytes());
        assert_eq!(catalog.seal_secrets(seal).await.unwrap(), 1);
        assert_eq!(catalog.seal_secrets(seal).await.unwrap(), 0);
        assert!(!catalog.has_open_secrets().await.unwrap());
        assert!(!lies_in(folder.path(), SECRET));
        let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed_secret FROM webhooks")
            .fetch_one(&catalog.readers)
            .await
            .unwrap();
        let opened = key.open(&sealed, id.as_bytes()).unwrap();
        assert_eq!(opened.as_slice(), SECRET.as_bytes());
    }
}
