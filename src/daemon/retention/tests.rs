//! A catalog, a storage and plans, and a clock that the tests set.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::clock::Moment;
use super::*;
use crate::access::{Event, Preset, Retention, Scope};
use crate::api::testing::{Asking, World, tenant};
use crate::base::{RecordingId, Timestamp};
use crate::catalog::{CallQuery, CallRecord, Disposition, Expiring, testing};
use crate::config;
use crate::daemon::tenancy::{Configured, Watching};
use crate::storage::{Kind, RecordingName};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// From the start of a test until plans are in force.
const THEN: Duration = DAY;

const PLANS: &str = "[plans.month]\nretention_days = 30\n[plans.year]\nretention_days = 365\n[plans.large]\nusers = 9\n";

struct Ground {
    world: World,
    tenancy: Arc<Tenancy>,
    watching: Option<Watching>,
    state: Arc<RetentionState>,
    /// When the test began.
    start: Timestamp,
}

impl Ground {
    async fn new() -> Ground {
        let world = World::new().await;
        std::fs::create_dir_all(world.folder().join("recordings")).unwrap();
        std::fs::create_dir_all(world.folder().join("tenants")).unwrap();
        let path = world.folder().join("callreel.toml");
        std::fs::write(&path, PLANS).unwrap();
        let configured = Configured::new(&config::load(&path).unwrap());
        let (tenancy, nudges) = Tenancy::new(configured, world.folder());
        world.api.set_installation(tenancy.clone());
        let (of_thread, url) = (tenancy.clone(), world.url());
        let start = move || Watching::start(of_thread, Home::new(&url), nudges).unwrap();
        let watching = std::thread::spawn(start).join().unwrap();
        Ground {
            world,
            tenancy,
            watching: Some(watching),
            state: Arc::default(),
            start: wall_clock(),
        }
    }

    fn root(&self) -> Asking<'_> {
        self.world.user("system", Preset::RootAdministrator)
    }

    async fn subscribe(&self, slug: &str, plan: &str) -> Value {
        let path = format!("/tenants/{}", self.world.tenant(slug));
        let network = match slug {
            "acme" => "10.1.0.0/16",
            _ => "10.2.0.0/16",
        };
        let rules = json!({ "match": [{ "networks": [network] }] });
        let body =
            json!({ "name": slug.to_uppercase(), "slug": slug, "plan": plan, "rules": rules });
        self.root().put(&path, "*", body).await.expect(200).json()
    }

    fn layout(&self) -> Layout {
        Layout::new(self.world.folder().join("recordings"))
    }

    fn sweeper(&self) -> Sweeper {
        let home = Home::new(&self.world.url());
        let tenancy = self.tenancy.clone();
        Sweeper::new(home, tenancy, self.layout(), self.state.clone())
    }

    /// A sweeper under whose eyes the plans of this moment have come into force.
    async fn in_force(&self) -> Sweeper {
        let mut sweeper = self.sweeper();
        self.look(&mut sweeper, Duration::ZERO).await;
        self.look(&mut sweeper, THEN).await;
        sweeper
    }

    /// All that there is to do after so long, by a clock that goes evenly.
    async fn look(&self, sweeper: &mut Sweeper, after: Duration) {
        self.look_at(sweeper, self.start + after, after).await;
    }

    async fn look_at(&self, sweeper: &mut Sweeper, wall: Timestamp, steady: Duration) {
        for _ in 0..1000 {
            if !sweeper.look(Moment { wall, steady }).await {
                return;
            }
        }
        panic!("it never ends");
    }

    /// A recorded call with all its files, that ended so long before [`THEN`].
    async fn call(&self, slug: &str, number: u64, age: Duration) -> CallRecord {
        let call = self.row(slug, number, age);
        let files = self.files(&call);
        std::fs::create_dir_all(files[0].parent().unwrap()).unwrap();
        for file in files {
            std::fs::write(file, slug).unwrap();
        }
        let rows = std::slice::from_ref(&call);
        self.world.catalog.record(rows).await.unwrap();
        call
    }

    fn row(&self, slug: &str, number: u64, age: Duration) -> CallRecord {
        let ended_at = self.start + THEN - age;
        let like = testing::call(9, number);
        let id = Uuid::from_u128(tenant(slug).0.as_u128() << 64 | u128::from(number));
        let mut call = CallRecord {
            id,
            tenant: tenant(slug),
            started_at: ended_at - 60 * SECOND,
            ended_at: Some(ended_at),
            ..like
        };
        let path = self.name(&call).relative(Kind::Audio);
        call.file.as_mut().unwrap().path = path;
        call
    }

    fn name(&self, call: &CallRecord) -> RecordingName {
        RecordingName::new(call.tenant, RecordingId(call.id), call.started_at)
    }

    fn files(&self, call: &CallRecord) -> Vec<PathBuf> {
        [Kind::Audio, Kind::Sidecar, Kind::Raw, Kind::Signalling]
            .map(|kind| self.layout().path(&self.name(call), kind))
            .to_vec()
    }

    /// How many of its files are there, of four.
    fn on_disk(&self, call: &CallRecord) -> usize {
        let files = self.files(call).into_iter();
        files.filter(|path| path.exists()).count()
    }

    /// Whether the catalog has it.
    async fn has(&self, call: &CallRecord) -> bool {
        let scope = Scope::tenant(call.tenant);
        let found = self.world.catalog.call(&scope, call.id).await;
        !found.unwrap().is_empty()
    }

    async fn is_whole(&self, call: &CallRecord) -> bool {
        self.has(call).await && self.on_disk(call) == 4
    }

    async fn is_gone(&self, call: &CallRecord) -> bool {
        !self.has(call).await && self.on_disk(call) == 0
    }

    async fn retention(&self, slug: &str) -> Retention {
        let catalog = &self.world.catalog;
        catalog
            .retention(&Scope::root(), tenant(slug))
            .await
            .unwrap()
    }

    async fn detail(&self, call: &CallRecord) -> Value {
        let path = format!("/calls/{}", call.id);
        self.root().get(&path).await.expect(200).json()
    }

    async fn hold(&self, call: &CallRecord) {
        let path = format!("/calls/{}/hold", call.id);
        let body = json!({ "reason": "court" });
        self.root().put(&path, "*", body).await.expect(200);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.watching.take().into_iter().for_each(Watching::finish);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tenants_calls_go_by_its_own_plan_and_with_all_their_files() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    ground.subscribe("globex", "year").await;
    let gone = [
        ground.call("acme", 1, 30 * DAY).await,
        ground.call("acme", 2, 400 * DAY).await,
        ground.call("globex", 3, 365 * DAY).await,
    ];
    let stay = [
        ground.call("acme", 4, 30 * DAY - SECOND).await,
        ground.call("globex", 5, 364 * DAY).await,
        ground.call("system", 6, 4000 * DAY).await,
    ];
    let mut unheard = ground.row("acme", 7, 31 * DAY);
    (unheard.file, unheard.disposition) = (None, Disposition::NotAnswered);
    let rows = std::slice::from_ref(&unheard);
    ground.world.catalog.record(rows).await.unwrap();

    let mut sweeper = ground.sweeper();
    ground.look(&mut sweeper, Duration::ZERO).await;
    ground.look(&mut sweeper, THEN - SECOND).await;
    for call in gone.iter().chain(&stay) {
        assert!(ground.is_whole(call).await, "a plan begins a day later");
    }
    ground.look(&mut sweeper, THEN).await;
    for call in &gone {
        assert!(ground.is_gone(call).await, "{}", call.id);
    }
    for call in &stay {
        assert!(ground.is_whole(call).await, "{}", call.id);
        assert_eq!(
            std::fs::read(&ground.files(call)[0]).unwrap().len(),
            if call.tenant == tenant("acme") { 4 } else { 6 }
        );
    }
    assert!(!ground.has(&unheard).await);
    assert_eq!(ground.state.removed.load(Ordering::Relaxed), 4);
    assert_eq!(
        ground.state.overdue(wall_clock() + 10 * DAY),
        Duration::ZERO
    );
    // Nothing is left of days that are empty.
    let folders = gone[1..]
        .iter()
        .map(|call| ground.layout().folder(&ground.name(call)));
    assert!(folders.into_iter().all(|folder| !folder.exists()));
    ground.look(&mut sweeper, THEN + SECOND).await;
    assert!(ground.is_gone(&stay[0]).await, "a second later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_says_what_went_and_why_in_the_tenants_own_chain() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let calls = [
        ground.call("acme", 1, 31 * DAY).await,
        ground.call("acme", 2, 40 * DAY).await,
    ];
    ground.in_force().await;
    let asking = ground.world.user("acme", Preset::TenantAdministrator);
    let audit = asking.get("/audit?action=calls.expire").await.expect(200);
    let audit = audit.json();
    let records = audit["items"].as_array().unwrap();
    assert_eq!(records.len(), 1, "one for the batch");
    let actor = &records[0]["actor"];
    assert_eq!(
        (&actor["kind"], &actor["name"]),
        (&json!("system"), &json!("retention"))
    );
    let before = &records[0]["before"];
    assert_eq!(
        (
            &before["calls"],
            &before["recordings"],
            &before["plan"],
            &before["retention_days"]
        ),
        (&json!(2), &json!(2), &json!("month"), &json!(30))
    );
    let time = |call: &CallRecord| json!(call.ended_at.unwrap().to_string());
    assert_eq!(
        (&before["ended_from"], &before["ended_to"]),
        (&time(&calls[1]), &time(&calls[0]))
    );
    let mut ids: Vec<_> = before["ids"].as_array().unwrap().clone();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(ids, [json!(calls[0].id), json!(calls[1].id)]);
    let limits = asking.get("/audit?action=retention.edit").await.expect(200);
    assert_eq!(
        limits.json()["items"].as_array().unwrap().len(),
        2,
        "seen, and in force"
    );
    assert!(ground.world.audit("globex").await.is_empty());
    assert!(
        !ground
            .world
            .audit("system")
            .await
            .contains(&"calls.expire".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_audit_does_not_take_does_not_happen() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let call = ground.call("acme", 1, 31 * DAY).await;
    let mut sweeper = ground.sweeper();
    ground.look(&mut sweeper, Duration::ZERO).await;
    ground
        .world
        .catalog
        .refuse_records_for_tests("calls.expire")
        .await;
    ground.look(&mut sweeper, THEN).await;
    assert!(ground.is_whole(&call).await);
    assert!(ground.state.failing.why().is_some());
    assert!(ground.state.failures.load(Ordering::Relaxed) > 0);
    assert!(
        ground.state.overdue(ground.start + THEN) >= DAY,
        "it is told as overdue"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_stopped_between_rows_and_files_is_finished_by_the_next_start() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let call = ground.call("acme", 1, 31 * DAY).await;
    let other = ground.call("acme", 2, DAY).await;
    // The rows, and then nothing.
    let catalog = &ground.world.catalog;
    let before = ground.start - DAY * 20;
    let due = catalog
        .due_calls(call.tenant, before, None, 10)
        .await
        .unwrap();
    assert_eq!(due.len(), 1);
    let going = Expiring {
        row: due[0].row,
        id: call.id,
        file_path: due[0].file_path.clone(),
    };
    let mut change = catalog.change().await.unwrap();
    change
        .expire(call.tenant, before, &[going], &[])
        .await
        .unwrap();
    let event = Event::by_system(call.tenant, "retention", "calls.expire");
    change.commit(event).await.unwrap();
    assert_eq!((ground.has(&call).await, ground.on_disk(&call)), (false, 4));
    // As its sidecar is found.
    let row = std::slice::from_ref(&call);
    catalog.record(row).await.unwrap();
    assert!(!ground.has(&call).await);
    let mut sweeper = ground.sweeper();
    ground.look(&mut sweeper, Duration::ZERO).await;
    assert!(ground.is_gone(&call).await);
    assert!(ground.is_whole(&other).await);
    assert!(catalog.removals(10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_removes_nothing_until_somebody_says_that_it_is_right() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "year").await;
    let mut sweeper = ground.in_force().await;
    let call = ground.call("acme", 1, DAY).await;
    let years = DAY * (5 * 365);
    for hours in 0..48 {
        let steady = THEN + HOUR * hours;
        let wall = ground.start + steady + years;
        ground.look_at(&mut sweeper, wall, steady).await;
    }
    assert!(ground.is_whole(&call).await);
    let ahead = ground.state.doubted_clock().unwrap();
    assert!(ahead > years - DAY && ahead < years + DAY, "{ahead:?}");
    // Nor does a restart: then the machine is only said to have been off for long.
    let mut sweeper = ground.sweeper();
    let wall = ground.start + THEN + HOUR * 48 + years;
    ground.look_at(&mut sweeper, wall, Duration::ZERO).await;
    assert!(ground.is_whole(&call).await);
    let mut change = ground.world.catalog.change().await.unwrap();
    change.set_believed_time(wall).await.unwrap();
    let event = Event::by_system(tenant("system"), "test", "retention.confirm_clock");
    change.commit(event).await.unwrap();
    ground.look_at(&mut sweeper, wall + SECOND, SECOND).await;
    assert!(ground.is_gone(&call).await);
    assert_eq!(ground.state.doubted_clock(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_that_passed_unseen_does_not_count_for_what_waits_to_be_in_force() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let call = ground.call("acme", 1, 31 * DAY).await;
    let mut sweeper = ground.sweeper();
    ground.look(&mut sweeper, Duration::ZERO).await;
    // The machine was off for two days; then its clock is believed after as long.
    let mut sweeper = ground.sweeper();
    let wall = |steady: Duration| ground.start + DAY * 2 + steady;
    let waits = |retention: Retention| retention.shorter.map(|shorter| shorter.since);
    ground.look_at(&mut sweeper, wall(HOUR), HOUR).await;
    let steady = HOUR + DAY * 2;
    // Seen to pass: nearly a day.
    ground
        .look_at(&mut sweeper, wall(HOUR * 23), HOUR * 23)
        .await;
    assert!(waits(ground.retention("acme").await).is_some());
    // And somebody says that the clock is right.
    let mut change = ground.world.catalog.change().await.unwrap();
    let said = wall(HOUR * 23 + SECOND);
    change.set_believed_time(said).await.unwrap();
    let event = Event::by_system(tenant("system"), "test", "retention.confirm_clock");
    change.commit(event).await.unwrap();
    assert_eq!(waits(ground.retention("acme").await), Some(said));
    ground
        .look_at(&mut sweeper, wall(HOUR * 24), HOUR * 24)
        .await;
    ground
        .look_at(&mut sweeper, wall(HOUR * 46), HOUR * 46)
        .await;
    assert!(ground.is_whole(&call).await);
    ground.look_at(&mut sweeper, wall(steady), steady).await;
    assert!(ground.is_gone(&call).await);

    // The same where nobody says it.
    ground.subscribe("globex", "month").await;
    let call = ground.call("globex", 2, 40 * DAY).await;
    let start = wall(steady);
    ground.look_at(&mut sweeper, start, steady).await;
    let mut sweeper = ground.sweeper();
    let wall = |steady: Duration| start + DAY / 2 + steady;
    for hours in [0, 11, 12] {
        ground
            .look_at(&mut sweeper, wall(HOUR * hours), HOUR * hours)
            .await;
    }
    assert_eq!(
        waits(ground.retention("globex").await),
        Some(wall(HOUR * 12))
    );
    ground
        .look_at(&mut sweeper, wall(HOUR * 35), HOUR * 35)
        .await;
    assert!(ground.is_whole(&call).await);
    ground
        .look_at(&mut sweeper, wall(HOUR * 36), HOUR * 36)
        .await;
    assert!(ground.is_gone(&call).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_with_a_clock_that_is_ahead_of_all_calls_believes_the_calls() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let call = ground.call("acme", 1, Duration::ZERO).await;
    let mut sweeper = ground.sweeper();
    for hours in 0..72 {
        let steady = HOUR * hours;
        let wall = ground.start + DAY * 400 + steady;
        ground.look_at(&mut sweeper, wall, steady).await;
    }
    assert_eq!(
        ground.retention("acme").await.days,
        Some(30),
        "by the time that passed"
    );
    assert!(ground.is_whole(&call).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_shortened_by_mistake_can_be_put_right_for_a_day() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "year").await;
    let mut sweeper = ground.in_force().await;
    let call = ground.call("acme", 1, 100 * DAY).await;
    let end = call.ended_at.unwrap();
    let expires = |at: Timestamp| json!(at.to_string());
    assert_eq!(
        ground.detail(&call).await["expires_at"],
        expires(end + 365 * DAY)
    );
    let told = ground.subscribe("acme", "month").await;
    assert_eq!(
        (
            &told["retention"]["days"],
            &told["retention"]["shorter_days"]
        ),
        (&json!(365), &json!(30))
    );
    assert!(told["retention"]["shorter_from"].is_string());
    ground.look(&mut sweeper, THEN + HOUR).await;
    let from = ground
        .retention("acme")
        .await
        .shorter
        .unwrap()
        .in_force_at();
    assert_eq!(from, ground.start + THEN + HOUR + DAY);
    ground.look(&mut sweeper, THEN + HOUR + DAY - SECOND).await;
    assert!(ground.is_whole(&call).await);
    // Put right, and wrong again: another day.
    ground.subscribe("acme", "year").await;
    ground.look(&mut sweeper, THEN + DAY * 2).await;
    ground.subscribe("acme", "month").await;
    ground.look(&mut sweeper, THEN + DAY * 2 + HOUR).await;
    // Over a restart, too.
    let mut sweeper = ground.sweeper();
    let later = |after: Duration| THEN + DAY * 2 + HOUR + after;
    let start = ground.start;
    ground
        .look_at(&mut sweeper, start + later(HOUR / 2), Duration::ZERO)
        .await;
    ground
        .look_at(&mut sweeper, start + later(DAY - SECOND), DAY - HOUR / 2)
        .await;
    assert!(ground.is_whole(&call).await);
    ground
        .look_at(&mut sweeper, start + later(DAY), DAY - HOUR / 2 + SECOND)
        .await;
    assert!(ground.is_gone(&call).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_plan_answers_from_when_on_it_holds() {
    let ground = Ground::new().await;
    let body = |days: u32| json!({ "name": "trial", "limits": { "retention_days": days } });
    let made = ground.root().post("/plans", body(100)).await.expect(201);
    ground.subscribe("acme", "trial").await;
    let mut sweeper = ground.in_force().await;
    let told = ground.root().get(&made.location()).await.expect(200).json();
    assert_eq!(told["retention_in_force_at"], Value::Null);
    let told = ground.root().put(&made.location(), "*", body(50)).await;
    assert!(told.expect(200).json()["retention_in_force_at"].is_string());
    ground.look(&mut sweeper, THEN + HOUR).await;
    let told = ground.root().get("/plans").await.expect(200).json();
    let plans = told["items"].as_array().unwrap();
    let trial = plans.iter().find(|plan| plan["name"] == "trial").unwrap();
    assert!(trial["retention_in_force_at"].is_string());
    // More days hold at once.
    let told = ground.root().put(&made.location(), "*", body(200)).await;
    assert_eq!(
        told.expect(200).json()["retention_in_force_at"],
        Value::Null
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_with_its_interaction_and_does_not_expire() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let mut sweeper = ground.in_force().await;
    let held = ground.call("acme", 1, 31 * DAY).await;
    let mut leg = ground.row("acme", 2, 31 * DAY);
    leg.interaction = held.interaction;
    ground.world.catalog.record(&[leg.clone()]).await.unwrap();
    ground.hold(&held).await;
    ground.look(&mut sweeper, THEN).await;
    assert!(ground.is_whole(&held).await && ground.has(&leg).await);
    for call in [&held, &leg] {
        assert_eq!(ground.detail(call).await["expires_at"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_tenants_without_a_limit_or_that_are_gone_nothing_goes() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    ground.subscribe("globex", "large").await;
    let mut sweeper = ground.in_force().await;
    let calls = [
        ground.call("acme", 1, 4000 * DAY).await,
        ground.call("globex", 2, 4000 * DAY).await,
        ground.call("system", 3, 4000 * DAY).await,
    ];
    assert_eq!(ground.detail(&calls[1]).await["expires_at"], Value::Null);
    let path = format!("/tenants/{}", ground.world.tenant("acme"));
    ground.root().delete(&path, "*").await.expect(204);
    ground.look(&mut sweeper, THEN + DAY).await;
    for call in &calls {
        assert!(ground.is_whole(call).await, "{}", call.id);
    }
    assert_eq!(ground.retention("acme").await, Retention::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_have_changed_unseen_are_asked_for_before_anything_goes() {
    let mut ground = Ground::new().await;
    let limits = |days: u32| json!({ "name": "trial", "limits": { "retention_days": days } });
    let made = ground.root().post("/plans", limits(30)).await.expect(201);
    ground.subscribe("acme", "trial").await;
    let mut sweeper = ground.in_force().await;
    let call = ground.call("acme", 1, 31 * DAY).await;
    // Nobody looks at the catalog any more, and the plan becomes longer.
    ground
        .watching
        .take()
        .into_iter()
        .for_each(Watching::finish);
    let edited = ground.root().put(&made.location(), "*", limits(60)).await;
    edited.expect(200);
    let wall = ground.start + THEN + SECOND;
    let steady = THEN + SECOND;
    assert!(
        sweeper.look(Moment { wall, steady }).await,
        "it is asked again"
    );
    assert!(ground.is_whole(&call).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_the_storage_keeps_stop_the_removal_of_more() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let mut sweeper = ground.in_force().await;
    let stuck = ground.call("acme", 1, 40 * DAY).await;
    let audio = ground.files(&stuck).remove(0);
    std::fs::remove_file(&audio).unwrap();
    std::fs::create_dir_all(audio.join("in the way")).unwrap();
    ground.look(&mut sweeper, THEN).await;
    assert!(!ground.has(&stuck).await);
    let next = ground.call("acme", 2, 35 * DAY).await;
    ground.look(&mut sweeper, THEN + SECOND).await;
    assert!(ground.is_whole(&next).await);
    let why = ground.state.failing.why().unwrap();
    assert!(why.contains(".wav"), "{why}");
    assert_eq!(ground.state.files_waiting.load(Ordering::Relaxed), 1);
    std::fs::remove_dir_all(&audio).unwrap();
    ground.look(&mut sweeper, THEN + SECOND * 2).await;
    assert!(ground.is_gone(&stuck).await && ground.is_gone(&next).await);
    assert_eq!(ground.state.failing.why(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_storage_is_away_nothing_goes() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let mut sweeper = ground.in_force().await;
    let call = ground.call("acme", 1, 31 * DAY).await;
    let (root, aside) = (
        ground.layout().root().to_owned(),
        ground.world.folder().join("aside"),
    );
    std::fs::rename(&root, &aside).unwrap();
    ground.look(&mut sweeper, THEN).await;
    assert!(ground.has(&call).await);
    std::fs::rename(&aside, &root).unwrap();
    ground.look(&mut sweeper, THEN + SECOND).await;
    assert!(ground.is_gone(&call).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_storage_had_not_taken_yet_goes_too() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let mut sweeper = ground.in_force().await;
    let mut call = ground.row("acme", 1, 31 * DAY);
    let part = ground.layout().path(&ground.name(&call), Kind::AudioPart);
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, "half").unwrap();
    (call.file, call.disposition) = (None, Disposition::DiskError);
    ground.world.catalog.record(&[call.clone()]).await.unwrap();
    ground.look(&mut sweeper, THEN).await;
    assert!(!ground.has(&call).await && !part.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_names_anothers_file_goes_and_the_file_stays() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let mut sweeper = ground.in_force().await;
    let theirs = ground.call("globex", 1, 31 * DAY).await;
    let mut call = ground.row("acme", 2, 31 * DAY);
    call.file.clone_from(&theirs.file);
    ground.world.catalog.record(&[call.clone()]).await.unwrap();
    ground.look(&mut sweeper, THEN).await;
    assert!(!ground.has(&call).await);
    assert!(ground.is_whole(&theirs).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_go_in_small_batches_each_with_its_record() {
    let ground = Ground::new().await;
    ground.subscribe("acme", "month").await;
    let mut sweeper = ground.in_force().await;
    let mut rows: Vec<_> = (0..1200)
        .map(|number| ground.row("acme", number, 31 * DAY + SECOND * (number as u32)))
        .collect();
    for row in &mut rows {
        (row.file, row.disposition) = (None, Disposition::NoMedia);
    }
    ground.world.catalog.record(&rows).await.unwrap();
    let canary = ground.call("globex", 1, 4000 * DAY).await;
    ground.look(&mut sweeper, THEN).await;
    let left = CallQuery {
        limit: 10,
        ..CallQuery::default()
    };
    let left = ground.world.catalog.calls(&Scope::root(), &left).await;
    let left: Vec<_> = left.unwrap().calls.iter().map(|call| call.id).collect();
    assert_eq!(left, [canary.id]);
    let audit = ground.world.audit("acme").await;
    let records = audit
        .iter()
        .filter(|action| *action == "calls.expire")
        .count();
    assert!((3..=40).contains(&records), "{records}");
    assert_eq!(ground.state.removed.load(Ordering::Relaxed), 1200);
    let chains = ground.world.catalog.verify_audit(&[]).await.unwrap();
    assert!(chains.iter().all(|chain| chain.broken.is_none()));
}
