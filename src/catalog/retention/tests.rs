//! What is due and what is not, and that a removal is whole or none.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::*;
use crate::access::{Event, Principal};
use crate::base::InteractionId;
use crate::catalog::testing::{call, in_memory, tenant, unrecorded};
use crate::catalog::{CallQuery, CallRecord, Disposition, NoteDraft};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn end(call: &CallRecord) -> Timestamp {
    call.ended_at.unwrap()
}

/// A call that ended then; all of it lies before that.
fn ended(tenant: u128, number: u64, at: Timestamp) -> CallRecord {
    CallRecord {
        started_at: at - 60 * SECOND,
        ended_at: Some(at),
        ..call(tenant, number)
    }
}

async fn due(catalog: &Catalog, of: u128, before: Timestamp) -> Vec<DueCall> {
    let found = catalog.due_calls(tenant(of), before, None, 1000).await;
    found.unwrap()
}

async fn due_ids(catalog: &Catalog, of: u128, before: Timestamp) -> Vec<Uuid> {
    let found = due(catalog, of, before).await;
    found.into_iter().map(|call| call.id).collect()
}

fn expiring(due: &[DueCall]) -> Vec<Expiring> {
    let one = |call: &DueCall| Expiring {
        row: call.row,
        id: call.id,
        file_path: call.file_path.clone(),
    };
    due.iter().map(one).collect()
}

fn event(of: u128) -> Event {
    Event::by_system(tenant(of), "retention", "calls.expire")
}

/// What of it goes in this change.
async fn take(change: &mut Change, of: u128, before: Timestamp, found: &[DueCall]) -> usize {
    let calls = expiring(found);
    let gone = change.expire(tenant(of), before, &calls, &[]).await;
    gone.unwrap().len()
}

/// Removes what is due, as the daemon does.
async fn expire(catalog: &Catalog, of: u128, before: Timestamp) -> Vec<Uuid> {
    let found = due(catalog, of, before).await;
    let told = catalog.told_of(tenant(of), &found).await.unwrap();
    let mut change = catalog.change().await.unwrap();
    let calls = expiring(&found);
    let gone = change.expire(tenant(of), before, &calls, &told).await;
    change.commit(event(of)).await.unwrap();
    gone.unwrap().into_iter().map(|call| call.id).collect()
}

async fn all(catalog: &Catalog) -> Vec<Uuid> {
    let query = CallQuery {
        limit: 1000,
        ..CallQuery::default()
    };
    let page = catalog.calls(&Scope::root(), &query).await.unwrap();
    let mut ids: Vec<Uuid> = page.calls.iter().map(|call| call.id).collect();
    ids.sort_unstable();
    ids
}

async fn count(catalog: &Catalog, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {what}");
    let count = sqlx::query_scalar(AssertSqlSafe(sql));
    count.fetch_one(&catalog.readers).await.unwrap()
}

/// A catalog that knows tenants 1 and 2.
async fn with_tenants() -> Catalog {
    let catalog = in_memory().await;
    for (of, slug) in [(1, "one"), (2, "two")] {
        catalog.register_for_tests(tenant(of), slug).await;
    }
    catalog
}

#[tokio::test]
async fn a_call_is_due_at_the_second_and_not_before() {
    let catalog = with_tenants().await;
    let one = call(1, 1);
    catalog.record(std::slice::from_ref(&one)).await.unwrap();
    assert!(due_ids(&catalog, 1, end(&one) - SECOND).await.is_empty());
    assert_eq!(due_ids(&catalog, 1, end(&one)).await, [one.id]);
    // It is not enough that it began then.
    let long = CallRecord {
        ended_at: Some(end(&one) + DAY),
        ..call(1, 2)
    };
    catalog.record(std::slice::from_ref(&long)).await.unwrap();
    assert_eq!(due_ids(&catalog, 1, end(&long) - SECOND).await, [one.id]);
}

#[tokio::test]
async fn a_call_without_an_end_has_that_of_its_audio_and_no_call_ends_before_it() {
    let catalog = with_tenants().await;
    let broken = CallRecord {
        ended_at: None,
        length_ms: 90_000,
        ..call(1, 1)
    };
    let odd = CallRecord {
        ended_at: Some(broken.started_at - DAY),
        length_ms: 90_000,
        ..call(1, 2)
    };
    let calls = [broken, odd];
    catalog.record(&calls).await.unwrap();
    let over = calls[0].started_at + 90 * SECOND;
    assert!(due_ids(&catalog, 1, over - SECOND).await.is_empty());
    assert_eq!(due_ids(&catalog, 1, over).await, [calls[0].id]);
    let over = calls[1].started_at + 90 * SECOND;
    assert_eq!(due_ids(&catalog, 1, over).await.len(), 2);
}

#[tokio::test]
async fn only_the_tenants_own_are_due_and_only_they_go() {
    let catalog = with_tenants().await;
    let calls = [call(1, 1), call(2, 1), call(1, 2), call(2, 2)];
    catalog.record(&calls).await.unwrap();
    let late = end(&calls[3]) + DAY;
    assert_eq!(expire(&catalog, 1, late).await.len(), 2);
    assert_eq!(all(&catalog).await, [calls[1].id, calls[3].id]);
    // Rows of another tenant are not taken for the own, whatever is asked.
    let foreign = due(&catalog, 2, late).await;
    let mut change = catalog.change().await.unwrap();
    assert_eq!(take(&mut change, 1, late, &foreign).await, 0);
    change.commit(event(1)).await.unwrap();
    assert_eq!(all(&catalog).await.len(), 2);
}

#[tokio::test]
async fn calls_without_a_recording_go_too_and_leave_nothing() {
    let catalog = with_tenants().await;
    let calls = [
        unrecorded(1, 1, Disposition::NoMedia),
        unrecorded(1, 2, Disposition::NotAnswered),
    ];
    catalog.record(&calls).await.unwrap();
    expire(&catalog, 1, end(&calls[1])).await;
    for table in ["calls", "participants", "interactions", "deleted_calls"] {
        assert_eq!(count(&catalog, table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn what_is_held_stays_and_so_does_its_interaction() {
    let catalog = with_tenants().await;
    let talk = Some(InteractionId(Uuid::from_u128(9)));
    let mut calls = [call(1, 1), call(1, 2), call(1, 3), call(1, 4), call(2, 5)];
    for leg in [0, 1, 4] {
        calls[leg].interaction = talk;
    }
    catalog.record(&calls).await.unwrap();
    let late = end(&calls[4]) + DAY;
    let scope = Scope::tenant(tenant(1));
    for held in [1, 2] {
        let mut change = catalog.change().await.unwrap();
        let found = change.call_to_mark(&scope, calls[held].id).await;
        let found = found.unwrap().unwrap();
        change.set_hold(&found, "ann", "court").await.unwrap();
        change.commit(event(1)).await.unwrap();
    }
    assert_eq!(due_ids(&catalog, 1, late).await, [calls[3].id]);
    // A hold of one tenant holds nothing of another's.
    assert_eq!(due_ids(&catalog, 2, late).await, [calls[4].id]);
    assert_eq!(expire(&catalog, 1, late).await, [calls[3].id]);
    let mut change = catalog.change().await.unwrap();
    let found = change.call_to_mark(&scope, calls[1].id).await;
    let found = found.unwrap().unwrap();
    change.release_hold(&found).await.unwrap();
    change.commit(event(1)).await.unwrap();
    let released = expire(&catalog, 1, late).await;
    assert_eq!(released, [calls[0].id, calls[1].id]);
}

#[tokio::test]
async fn a_hold_that_comes_between_the_look_and_the_removal_holds() {
    let catalog = with_tenants().await;
    let one = call(1, 1);
    catalog.record(std::slice::from_ref(&one)).await.unwrap();
    let found = due(&catalog, 1, end(&one)).await;
    let mut change = catalog.change().await.unwrap();
    let scope = Scope::tenant(tenant(1));
    let to_hold = change.call_to_mark(&scope, one.id).await.unwrap().unwrap();
    change.set_hold(&to_hold, "ann", "court").await.unwrap();
    change.commit(event(1)).await.unwrap();
    let mut change = catalog.change().await.unwrap();
    assert_eq!(take(&mut change, 1, end(&one), &found).await, 0);
    change.commit(event(1)).await.unwrap();
    assert_eq!(all(&catalog).await, [one.id]);
}

#[tokio::test]
async fn a_batch_is_no_larger_than_asked_and_the_next_begins_behind_it() {
    let catalog = with_tenants().await;
    // Many of the same moment, as of a call centre.
    let calls: Vec<_> = (0..25)
        .map(|number| ended(1, number, end(&call(1, number / 10))))
        .collect();
    catalog.record(&calls).await.unwrap();
    let late = end(&calls[24]) + DAY;
    let (mut seen, mut position) = (Vec::new(), None);
    loop {
        let page = catalog.due_calls(tenant(1), late, position, 4).await;
        let page = page.unwrap();
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        position = Some(last.position());
        seen.extend(page.into_iter().map(|call| call.id));
    }
    let ids: Vec<_> = calls.iter().map(|call| call.id).collect();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn all_that_was_added_goes_with_a_call_and_nothing_of_others() {
    let catalog = with_tenants().await;
    let calls = [call(1, 1), call(1, 2)];
    catalog.record(&calls).await.unwrap();
    for one in &calls {
        let mut change = catalog.change().await.unwrap();
        let scope = Scope::tenant(tenant(1));
        let found = change.call_to_mark(&scope, one.id).await.unwrap().unwrap();
        let draft = NoteDraft {
            text: "refund".into(),
            place_ms: None,
            is_pinned: false,
        };
        let author = Principal::operator("ops");
        change
            .add_note(&found, None, author.actor().name(), &draft)
            .await
            .unwrap();
        change.commit(event(1)).await.unwrap();
    }
    assert_eq!(expire(&catalog, 1, end(&calls[0])).await, [calls[0].id]);
    for table in ["call_notes", "note_words", "interactions"] {
        assert_eq!(count(&catalog, table).await, 1, "{table}");
    }
    assert_eq!(count(&catalog, "participants").await, 2);
}

#[tokio::test]
async fn the_record_is_of_the_same_change_and_without_it_nothing_goes() {
    let catalog = with_tenants().await;
    let one = call(1, 1);
    catalog.record(std::slice::from_ref(&one)).await.unwrap();
    let found = due(&catalog, 1, end(&one)).await;
    // Not committed, as when the program is killed.
    let mut change = catalog.change().await.unwrap();
    assert_eq!(take(&mut change, 1, end(&one), &found).await, 1);
    drop(change);
    assert_eq!(
        (all(&catalog).await, count(&catalog, "audit").await),
        (vec![one.id], 0)
    );
    // The audit takes nothing.
    let refuse =
        "CREATE TRIGGER no_more BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    sqlx::query(refuse).execute(&catalog.writer).await.unwrap();
    let mut change = catalog.change().await.unwrap();
    assert_eq!(take(&mut change, 1, end(&one), &found).await, 1);
    change.commit(event(1)).await.unwrap_err();
    assert_eq!(all(&catalog).await, [one.id]);
    assert_eq!(count(&catalog, "deleted_calls").await, 0);
    sqlx::query("DROP TRIGGER no_more")
        .execute(&catalog.writer)
        .await
        .unwrap();
    expire(&catalog, 1, end(&one)).await;
    assert_eq!(
        (
            count(&catalog, "calls").await,
            count(&catalog, "audit").await
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn files_are_known_to_be_still_there_until_they_are_gone() {
    let catalog = with_tenants().await;
    let calls = [call(1, 1), call(2, 1)];
    catalog.record(&calls).await.unwrap();
    expire(&catalog, 1, end(&calls[0])).await;
    let path = calls[0].file.as_ref().unwrap().path.clone();
    let left = catalog.expired_files(10).await.unwrap();
    assert_eq!(left, [(tenant(1), calls[0].id, path)]);
    // Who removes files of deleted calls finds it too.
    assert_eq!(catalog.removals(10).await.unwrap().len(), 1);
    // Found again meanwhile, by its sidecar: it is not entered.
    catalog.record(&calls[..1]).await.unwrap();
    assert_eq!(all(&catalog).await, [calls[1].id]);
    let ids = [calls[0].id, calls[1].id];
    catalog.expired_files_gone(tenant(1), &ids).await.unwrap();
    assert_eq!(count(&catalog, "deleted_calls").await, 0);
    assert_eq!(all(&catalog).await, [calls[1].id]);
}

#[tokio::test]
async fn a_call_that_was_deleted_goes_too_and_that_it_was_stays_known() {
    let catalog = with_tenants().await;
    let one = call(1, 1);
    catalog.record(std::slice::from_ref(&one)).await.unwrap();
    let mut change = catalog.change().await.unwrap();
    let scope = Scope::tenant(tenant(1));
    let found = change.call_to_mark(&scope, one.id).await.unwrap().unwrap();
    change.delete_call(&found, "ann", "asked").await.unwrap();
    change.commit(event(1)).await.unwrap();
    catalog.files_gone(tenant(1), one.id).await.unwrap();
    assert_eq!(expire(&catalog, 1, end(&one)).await, [one.id]);
    assert_eq!(
        (
            count(&catalog, "calls").await,
            count(&catalog, "deleted_calls").await
        ),
        (0, 1)
    );
    catalog
        .expired_files_gone(tenant(1), &[one.id])
        .await
        .unwrap();
    catalog.record(std::slice::from_ref(&one)).await.unwrap();
    assert_eq!(count(&catalog, "calls").await, 0, "nobody enters it again");
}

#[tokio::test]
async fn minutes_of_the_month_stay_used_and_room_is_free_again() {
    let catalog = with_tenants().await;
    let one = call(1, 1);
    catalog.record(std::slice::from_ref(&one)).await.unwrap();
    let sums = async || {
        let usage = catalog
            .usage(&Scope::tenant(tenant(1)), one.started_at)
            .await;
        let usage = usage.unwrap()[0];
        (usage.recordings, usage.bytes, usage.length_ms_of_month)
    };
    assert_eq!(sums().await, (1, 1_920_044, 60_000));
    expire(&catalog, 1, end(&one)).await;
    assert_eq!(sums().await, (0, 0, 60_000));
}

#[tokio::test]
async fn what_webhooks_are_told_of_calls_goes_with_them() {
    let catalog = with_tenants().await;
    let calls = [call(1, 1), call(1, 2)];
    catalog.record(&calls).await.unwrap();
    let mut hooks = Vec::new();
    for of in [1, 2] {
        let id = Uuid::from_u128(of);
        let sql = format!(
            "INSERT INTO webhooks (id, tenant_id, url, description, events, secret, created_at, changed_at) \
             VALUES (X'{}', X'{}', '', '', '[]', '', 0, 0)",
            id.simple(),
            tenant(of).0.simple()
        );
        let insert = sqlx::query(AssertSqlSafe(sql));
        insert.execute(&catalog.writer).await.unwrap();
        hooks.push(id);
    }
    let told = |call: &CallRecord, named: bool| {
        let id = named.then_some(call.id);
        serde_json::json!({ "data": { "call": { "interaction_id": call.interaction.unwrap().0,
            "sip_call_id": call.sip_call_id, "recording": { "id": id } }}})
        .to_string()
    };
    let at = end(&calls[0]);
    let mut sent = Vec::new();
    for (hook, body) in [
        (0, told(&calls[0], true)),
        (0, told(&calls[0], false)),
        (0, told(&calls[1], true)),
        (0, told(&calls[1], false)),
        (1, told(&calls[0], true)),
    ] {
        let queued = catalog.queue_delivery(hooks[hook], "call.ended", &body, false, at);
        sent.push(queued.await.unwrap().unwrap());
    }
    let sql = format!(
        "UPDATE deliveries SET next_at = NULL WHERE id = X'{}'",
        sent[0].simple()
    );
    sqlx::query(AssertSqlSafe(sql))
        .execute(&catalog.writer)
        .await
        .unwrap();
    expire(&catalog, 1, end(&calls[0])).await;
    let left: Vec<(Uuid, bool)> =
        sqlx::query_as("SELECT id, body = '' FROM deliveries ORDER BY id")
            .fetch_all(&catalog.readers)
            .await
            .unwrap();
    let expected = [
        (sent[0], true),
        (sent[2], false),
        (sent[3], false),
        (sent[4], false),
    ];
    assert_eq!(left, expected);
}

#[tokio::test]
async fn what_is_in_force_is_kept_for_each_tenant_and_read_within_the_scope() {
    let catalog = with_tenants().await;
    let one = Retention {
        days: Some(30),
        shorter: Some(Shorter {
            days: 7,
            since: Timestamp::from_secs_nanos(5, 0),
        }),
    };
    let two = Retention {
        days: Some(9),
        shorter: None,
    };
    let set = async |of, retention: &Retention| {
        let mut change = catalog.change().await.unwrap();
        change.set_retention(tenant(of), retention).await.unwrap();
        change.commit(event(of)).await.unwrap();
    };
    set(1, &Retention { days: None, ..one }).await;
    set(1, &one).await;
    set(2, &two).await;
    let known = catalog.retentions(&Scope::root()).await.unwrap();
    assert_eq!(known, [(tenant(1), one), (tenant(2), two)]);
    let own = Scope::tenant(tenant(2));
    assert_eq!(catalog.retentions(&own).await.unwrap(), [(tenant(2), two)]);
    assert_eq!(catalog.retention(&own, tenant(2)).await.unwrap(), two);
    assert_eq!(
        catalog.retention(&own, tenant(1)).await.unwrap(),
        Retention::default()
    );
    set(1, &Retention::default()).await;
    assert_eq!(count(&catalog, "retentions").await, 1);
}

#[tokio::test]
async fn a_time_that_somebody_said_is_not_written_over() {
    let catalog = with_tenants().await;
    let at = |seconds| Timestamp::from_secs_nanos(seconds, 0);
    assert!(catalog.keep_believed_time(at(1), None).await.unwrap());
    assert!(
        catalog
            .keep_believed_time(at(2), Some(at(1)))
            .await
            .unwrap()
    );
    let mut change = catalog.change().await.unwrap();
    change.set_believed_time(at(99)).await.unwrap();
    change.commit(event(1)).await.unwrap();
    for before in [Some(at(2)), None] {
        assert!(!catalog.keep_believed_time(at(3), before).await.unwrap());
    }
    assert_eq!(catalog.believed_time().await.unwrap(), Some(at(99)));
}

#[tokio::test]
async fn a_rebuild_does_not_bring_back_what_went() {
    use crate::catalog::Rebuild;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/c.db", folder.path().display());
    let catalog = Catalog::open(&url).await.unwrap();
    catalog.register_for_tests(tenant(1), "one").await;
    let calls = [call(1, 1), call(1, 2)];
    catalog.record(&calls).await.unwrap();
    expire(&catalog, 1, end(&calls[0])).await;
    catalog.close().await;
    // Its sidecar was not removed yet.
    let mut rebuild = Rebuild::begin(&url).await.unwrap();
    rebuild.record(&calls).await.unwrap();
    rebuild.finish().await.unwrap();
    let catalog = Catalog::open(&url).await.unwrap();
    assert_eq!(all(&catalog).await, [calls[1].id]);
    let removal = catalog.removals(10).await.unwrap().remove(0);
    catalog
        .files_gone(removal.tenant, removal.id)
        .await
        .unwrap();
    for (table, left) in [("calls", 1), ("interactions", 1), ("deleted_calls", 0)] {
        assert_eq!(count(&catalog, table).await, left, "{table}");
    }
}
