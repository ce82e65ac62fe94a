//! Signing in, over requests, as browsers and programs do it.

use axum::http::{Method, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::now;
use crate::access::{
    Event, Password, PasswordCost, PasswordHasher, Preset, Principal, RecoveryCode, ResetToken,
    TotpSecret,
};
use crate::api::testing::{Tried, World, tenant};
use crate::base::{SYSTEM_TENANT, Timestamp, UserId};
use crate::catalog::UserDraft;
use crate::mail::testing::Server;
use crate::mail::{Mailer, Outbox};

const PASSWORD: &str = "correct horse battery";

fn hash(password: &str) -> String {
    let cost = PasswordCost {
        memory_kib: 8,
        passes: 1,
    };
    PasswordHasher::new(cost).hash(&Password::new(password.into()))
}

impl World {
    /// A user of the catalog, with [`PASSWORD`] as password and an address at `acme.example`.
    async fn enrol(&self, slug: &str, login: &str, preset: Preset) -> UserId {
        let tenant = tenant(slug);
        let mut change = self.catalog.change().await.unwrap();
        let draft = UserDraft {
            tenant,
            login: login.into(),
            name: format!("Miss {login}"),
            email: Some(format!("{login}@{slug}.example")),
            role: preset.role_id(tenant),
        };
        let user = change.create_user_of_operator(&draft).await.unwrap();
        change
            .set_password(user, &hash(PASSWORD), false, None)
            .await
            .unwrap();
        let event = Event::by(&Principal::operator("test"), "users.create").of_tenant(tenant);
        change.commit(event).await.unwrap();
        user
    }

    async fn set_user(&self, user: UserId, column: &str, value: i64) {
        self.catalog
            .set_user_column_for_tests(user, column, value)
            .await;
    }

    async fn try_sign_in(
        &self,
        slug: &str,
        login: &str,
        password: &str,
        code: Option<&str>,
    ) -> Tried {
        let mut body = json!({ "tenant": slug, "login": login, "password": password });
        if let Some(code) = code {
            body["code"] = code.into();
        }
        self.nobody().post("/session", body).await
    }

    async fn sign_in(&self, slug: &str, login: &str) -> Browser<'_> {
        let answer = self
            .try_sign_in(slug, login, PASSWORD, None)
            .await
            .expect(201);
        Browser::new(self, &answer)
    }
}

/// A browser that keeps its cookie and its CSRF token.
struct Browser<'w> {
    world: &'w World,
    cookie: String,
    csrf: String,
}

impl<'w> Browser<'w> {
    fn new(world: &'w World, answer: &Tried) -> Browser<'w> {
        let mut browser = Browser {
            world,
            cookie: String::new(),
            csrf: String::new(),
        };
        browser.keep(answer);
        browser
    }

    /// Keeps what an answer set.
    fn keep(&mut self, answer: &Tried) {
        let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
        self.cookie = set.split(';').next().unwrap().to_owned();
        self.csrf = answer.json()["csrf_token"].as_str().unwrap().to_owned();
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Tried {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("x-csrf-token", self.csrf.as_str()),
            ("if-match", "*"),
        ];
        self.world.nobody().ask(method, path, &headers, body).await
    }

    async fn get(&self, path: &str) -> Tried {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Tried {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Tried {
        self.ask(Method::PUT, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Tried {
        self.ask(Method::DELETE, path, None).await
    }
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis() / 1000).unwrap()
}

/// A program that shows a token.
async fn with_token(
    world: &World,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Tried {
    let bearer = format!("Bearer {token}");
    world
        .nobody()
        .ask(
            method,
            path,
            &[("authorization", &bearer), ("if-match", "*")],
            body,
        )
        .await
}

#[tokio::test]
async fn a_session_begins_is_used_and_ends() {
    let world = World::new().await;
    world
        .enrol("acme", "alice", Preset::TenantAdministrator)
        .await;
    let answer = world
        .try_sign_in("ACME", " Alice ", PASSWORD, None)
        .await
        .expect(201);
    let cookie = answer.headers[header::SET_COOKIE]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(cookie.starts_with("__Host-callreel="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    assert_eq!(answer.json()["stage"], "complete");
    let browser = Browser::new(&world, &answer);
    let me = browser.get("/me").await.expect(200).json();
    assert_eq!(
        (&me["name"], &me["role"]),
        (&json!("alice"), &json!("Tenant Administrator"))
    );
    assert_eq!(me["sign_in"]["totp"], false);
    browser
        .post("/groups", json!({ "name": "Sales" }))
        .await
        .expect(201);
    browser.delete("/session").await.expect(204);
    browser.get("/me").await.expect(401);
    let audit = world.audit("acme").await;
    assert_eq!(
        audit,
        [
            "users.create",
            "sessions.create",
            "groups.create",
            "sessions.delete"
        ]
    );
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_the_same() {
    let world = World::new().await;
    let user = world.enrol("acme", "alice", Preset::Reader).await;
    let gone = world.enrol("acme", "carol", Preset::Reader).await;
    world.set_user(gone, "active", 0).await;
    let late = world.enrol("acme", "dave", Preset::Reader).await;
    world.set_user(late, "valid_until", 1).await;
    let mut bodies = Vec::new();
    for (slug, login, password) in [
        ("acme", "alice", "wrong"),
        ("acme", "alice", ""),
        ("acme", "nobody", PASSWORD),
        ("globex", "alice", PASSWORD),
        ("nowhere", "alice", PASSWORD),
        ("acme", "carol", PASSWORD),
        ("acme", "dave", PASSWORD),
    ] {
        let answer = world
            .try_sign_in(slug, login, password, None)
            .await
            .expect(401);
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{:?}", String::from_utf8_lossy(&bodies[0]));
    world.sign_in("acme", "alice").await;
    let _ = user;
    let failed = world
        .audit("acme")
        .await
        .iter()
        .filter(|action| *action == "sessions.create")
        .count();
    assert_eq!(failed, 6);
}

#[tokio::test]
async fn a_login_is_one_however_it_is_written_and_none_passes_for_another() {
    let world = World::new().await;
    world
        .enrol("acme", "müller", Preset::TenantAdministrator)
        .await;
    for written in ["müller", "MÜLLER", "mu\u{308}ller"] {
        world.sign_in("acme", written).await;
    }
    world
        .try_sign_in("acme", "muller", PASSWORD, None)
        .await
        .expect(401);
    let bob = world.sign_in("acme", "müller").await;
    let role = Preset::Reader.role_id(tenant("acme"));
    let make = async |login: &str| {
        let body = json!({ "login": login, "name": "x", "role_id": role });
        bob.post("/users", body).await
    };
    make("Mu\u{308}ller").await.expect(409);
    make("muller").await.expect(201);
    let refused = make("m\u{443}ller").await.expect(422).json();
    assert_eq!(refused["field"], "login");
    // However it is written, it is one account that is tried.
    for written in [
        "müller",
        "MÜLLER",
        "mu\u{308}ller",
        "Müller",
        "MU\u{308}LLER",
    ] {
        world
            .try_sign_in("acme", written, "wrong", None)
            .await
            .expect(401);
    }
    world
        .try_sign_in("acme", "müller", PASSWORD, None)
        .await
        .expect(429);
}

#[tokio::test]
async fn an_account_is_locked_alike_whether_it_exists_or_not() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let mut answers = Vec::new();
    for login in ["alice", "nobody"] {
        for _ in 0..5 {
            world
                .try_sign_in("acme", login, "wrong", None)
                .await
                .expect(401);
        }
        let locked = world
            .try_sign_in("acme", login, PASSWORD, None)
            .await
            .expect(429);
        let seconds: u32 = locked.headers[header::RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((55..=61).contains(&seconds), "{seconds}");
        answers.push(locked.body);
    }
    assert_eq!(answers[0], answers[1]);
    let audit = world.audit("acme").await;
    assert_eq!(
        audit
            .iter()
            .filter(|action| *action == "sessions.lock")
            .count(),
        2
    );
}

#[tokio::test]
async fn nothing_changes_without_the_sessions_own_token() {
    let world = World::new().await;
    world
        .enrol("acme", "alice", Preset::TenantAdministrator)
        .await;
    let browser = world.sign_in("acme", "alice").await;
    let body = || Some(json!({ "name": "Forged" }));
    let other = world.sign_in("acme", "alice").await;
    let forged: [&[(&str, &str)]; 4] = [
        &[("cookie", &browser.cookie)],
        &[("cookie", &browser.cookie), ("x-csrf-token", &other.csrf)],
        &[
            ("cookie", &browser.cookie),
            ("x-csrf-token", &browser.csrf),
            ("sec-fetch-site", "cross-site"),
        ],
        &[
            ("cookie", &browser.cookie),
            ("x-csrf-token", &browser.csrf),
            ("origin", "https://evil.example"),
        ],
    ];
    for headers in forged {
        let answer = world
            .nobody()
            .ask(Method::POST, "/groups", headers, body())
            .await
            .expect(403);
        assert_eq!(
            answer.json()["type"],
            "urn:callreel:problem:csrf",
            "{headers:?}"
        );
    }
    let own = [
        ("cookie", browser.cookie.as_str()),
        ("x-csrf-token", &browser.csrf),
        ("origin", "https://callreel.example"),
        ("sec-fetch-site", "same-origin"),
    ];
    world
        .nobody()
        .ask(Method::POST, "/groups", &own, body())
        .await
        .expect(201);
    // Another site cannot sign its visitor in as somebody of its own.
    let body = json!({ "tenant": "acme", "login": "alice", "password": PASSWORD });
    let foreign = [("origin", "https://evil.example")];
    world
        .nobody()
        .ask(Method::POST, "/session", &foreign, Some(body))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_right_taken_away_is_gone_at_the_next_request() {
    let world = World::new().await;
    let user = world
        .enrol("acme", "alice", Preset::TenantAdministrator)
        .await;
    let browser = world.sign_in("acme", "alice").await;
    browser.get("/groups").await.expect(200);
    world.set_user(user, "valid_until", 1).await;
    browser.get("/groups").await.expect(401);
    world.set_user(user, "valid_until", i64::MAX).await;
    browser.get("/groups").await.expect(200);
    // Another role ends the session.
    let role = Preset::Agent.role_id(tenant("acme"));
    world.catalog.set_user_role_for_tests(user, role).await;
    browser.get("/groups").await.expect(401);
    let browser = world.sign_in("acme", "alice").await;
    browser.get("/groups").await.expect(403);
    world.set_user(user, "active", 0).await;
    world.set_user(user, "active", 1).await;
    browser.get("/me").await.expect(401);
    let browser = world.sign_in("acme", "alice").await;
    world
        .catalog
        .set_tenant_status_for_tests(tenant("acme"), "suspended")
        .await;
    browser.get("/me").await.expect(401);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let world = World::new().await;
    let alice = world.enrol("acme", "alice", Preset::Reader).await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let (here, there) = (
        world.sign_in("acme", "alice").await,
        world.sign_in("acme", "alice").await,
    );
    let list = here.get("/sessions").await.expect(200).json();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let other = items.iter().find(|item| item["current"] == false).unwrap();
    let path = format!("/sessions/{}", other["id"].as_str().unwrap());
    let bob = world.sign_in("acme", "bob").await;
    bob.delete(&path).await.expect(404);
    here.delete(&path).await.expect(204);
    here.delete(&path).await.expect(404);
    there.get("/me").await.expect(401);
    here.get("/me").await.expect(200);
    bob.delete(&format!("/users/{alice}/sessions"))
        .await
        .expect(204);
    here.get("/me").await.expect(401);
}

#[tokio::test]
async fn an_idle_session_ends() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let browser = world.sign_in("acme", "alice").await;
    let minute = 60_000_000_000;
    world.catalog.age_sessions_for_tests(29 * minute).await;
    browser.get("/me").await.expect(200);
    // The request has made it young again, but for its begin.
    world.catalog.age_sessions_for_tests(29 * minute).await;
    browser.get("/me").await.expect(200);
    world.catalog.age_sessions_for_tests(30 * minute).await;
    browser.get("/me").await.expect(401);
}

#[tokio::test]
async fn a_password_that_is_changed_while_it_is_tried_opens_nothing() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let mut browser = world.sign_in("acme", "alice").await;
    let mut current = PASSWORD.to_owned();
    for number in 0..12 {
        let new = format!("violet umbrella {number} dance");
        let body = json!({ "current_password": current, "password": new });
        let wait = std::time::Duration::from_millis(number * 3);
        let late = async {
            tokio::time::sleep(wait).await;
            world.try_sign_in("acme", "alice", &current, None).await
        };
        let (changed, tried) = tokio::join!(browser.put("/me/password", body), late);
        browser.keep(&changed.expect(200));
        if tried.status == 201 {
            let old = Browser::new(&world, &tried);
            old.get("/me").await.expect(401);
        }
        current = new;
    }
}

#[tokio::test]
async fn who_got_more_rights_while_a_password_was_hashed_keeps_the_own() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let mut permissions = json!({ "users": ["view", "edit", "reset_password"] });
    let agent = Preset::Agent.role(tenant("acme"));
    for (resource, operation) in agent.permissions.iter() {
        let listed = permissions[resource.name()].take();
        let mut listed = listed.as_array().cloned().unwrap_or_default();
        listed.push(json!(operation.name()));
        permissions[resource.name()] = json!(listed);
    }
    let role = json!({ "name": "HR", "access_level": "system", "permissions": permissions });
    let hr = ann.post("/roles", role).await.expect(201).json()["role_id"].clone();
    let body = |login: &str, role: &Value| json!({ "login": login, "role_id": role, "must_change_password": false });
    let hr = ann.post("/users", body("hr", &hr)).await.expect(201).json();
    let (hr, mut told) = (world.signed_in(&hr).await, 0);
    let agent = json!(Preset::Agent.role_id(tenant("acme")).0);
    let administrator = json!({ "role_id": Preset::TenantAdministrator.role_id(tenant("acme")).0 });
    for number in 0..10 {
        let made = ann
            .post("/users", body(&format!("x{number}"), &agent))
            .await;
        let made = made.expect(201);
        let user = made.location();
        let promoted = async {
            tokio::time::sleep(std::time::Duration::from_millis(number)).await;
            ann.put(&user, "*", administrator.clone()).await
        };
        let password = format!("{user}/password");
        let (reset, promoted) = tokio::join!(hr.put(&password, "*", json!({})), promoted);
        promoted.expect(200);
        let done = world.audit("acme").await;
        let new = done[told..].to_vec();
        told = done.len();
        let of = |action: &str| new.iter().position(|one| one == action);
        match reset.status.as_u16() {
            200 => assert!(of("users.reset_password") < of("users.edit"), "{new:?}"),
            other => assert_eq!(other, 403),
        }
    }
}

#[tokio::test]
async fn the_own_password_is_changed_by_who_knows_it() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let mut browser = world.sign_in("acme", "alice").await;
    let other = world.sign_in("acme", "alice").await;
    let change = |current: &str, new: &str| json!({ "current_password": current, "password": new });
    browser
        .put("/me/password", change("wrong", "violet umbrella 7 dance"))
        .await
        .expect(401);
    for (weak, says) in [
        ("short", "at least 12"),
        ("alice in wonderland", "login"),
        ("password1234", "easy to guess"),
        (PASSWORD, "in use already"),
    ] {
        let problem = browser
            .put("/me/password", change(PASSWORD, weak))
            .await
            .expect(422)
            .json();
        assert_eq!(problem["field"], "password");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says) || weak == "password1234", "{detail}");
    }
    let before = browser.cookie.clone();
    let changed = browser
        .put("/me/password", change(PASSWORD, "violet umbrella 7 dance"))
        .await
        .expect(200);
    other.get("/me").await.expect(401);
    browser.get("/me").await.expect(401);
    browser.keep(&changed);
    assert_ne!(browser.cookie, before);
    browser.get("/me").await.expect(200);
    // The first one is remembered.
    let back = browser
        .put("/me/password", change("violet umbrella 7 dance", PASSWORD))
        .await;
    back.expect(422);
    world
        .try_sign_in("acme", "alice", PASSWORD, None)
        .await
        .expect(401);
    world
        .try_sign_in("acme", "alice", "violet umbrella 7 dance", None)
        .await
        .expect(201);
}

#[tokio::test]
async fn an_administrator_gives_a_password_that_has_to_be_changed() {
    let world = World::new().await;
    let alice = world.enrol("acme", "alice", Preset::Reader).await;
    let root = world
        .enrol("system", "root", Preset::RootAdministrator)
        .await;
    let carol = world.enrol("globex", "carol", Preset::Reader).await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let (bob, old) = (
        world.sign_in("acme", "bob").await,
        world.sign_in("acme", "alice").await,
    );
    for foreign in [carol.0, root.0, Uuid::from_u128(7)] {
        bob.put(&format!("/users/{foreign}/password"), json!({}))
            .await
            .expect(404);
    }
    old.put(&format!("/users/{alice}/password"), json!({}))
        .await
        .expect(403);
    let reset = bob
        .put(&format!("/users/{alice}/password"), json!({}))
        .await
        .expect(200)
        .json();
    let drawn = reset["temporary_password"].as_str().unwrap();
    old.get("/me").await.expect(401);
    let answer = world
        .try_sign_in("acme", "alice", drawn, None)
        .await
        .expect(201);
    assert_eq!(answer.json()["stage"], "password_change_needed");
    let mut alice = Browser::new(&world, &answer);
    let problem = alice.get("/groups").await.expect(403).json();
    assert_eq!(
        problem["type"],
        "urn:callreel:problem:password_change_needed"
    );
    alice.get("/session").await.expect(200);
    let body = json!({ "current_password": drawn, "password": "violet umbrella 7 dance" });
    let changed = alice.put("/me/password", body).await.expect(200);
    assert_eq!(changed.json()["stage"], "complete");
    alice.keep(&changed);
    alice.get("/groups").await.expect(200);
}

#[tokio::test]
async fn nobody_takes_over_who_has_more_rights() {
    let world = World::new().await;
    let root = world
        .enrol("system", "root", Preset::RootAdministrator)
        .await;
    world.enrol("system", "adam", Preset::Administrator).await;
    let adam = world.sign_in("system", "adam").await;
    let problem = adam
        .put(&format!("/users/{root}/password"), json!({}))
        .await
        .expect(403)
        .json();
    assert_eq!(problem["type"], "urn:callreel:problem:beyond_own_rights");
    let me = adam.get("/me").await.expect(200).json();
    let own = format!("/users/{}/password", me["id"].as_str().unwrap());
    adam.put(&own, json!({})).await.expect(409);
}

/// Sets up an authenticator, and waits with its next code for nothing: the secret's next step is as good.
async fn set_up_totp(browser: &Browser<'_>) -> (TotpSecret, Vec<String>) {
    let begun = browser
        .ask(Method::POST, "/me/totp", None)
        .await
        .expect(200)
        .json();
    let uri = begun["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/Callreel%20"), "{uri}");
    let secret = unbase32(begun["secret"].as_str().unwrap());
    let wrong = browser
        .post("/me/totp/confirm", json!({ "code": "000000" }))
        .await;
    assert!(wrong.status == 422 || secret.code(seconds(now())) == "000000");
    let code = secret.code(seconds(now()) - 30);
    let confirmed = browser
        .post("/me/totp/confirm", json!({ "code": code }))
        .await
        .expect(200)
        .json();
    let codes = confirmed["recovery_codes"].as_array().unwrap().iter();
    (
        secret,
        codes
            .map(|code| code.as_str().unwrap().to_owned())
            .collect(),
    )
}

fn unbase32(text: &str) -> TotpSecret {
    let mut bits = String::new();
    for letter in text.chars() {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(letter).unwrap();
        bits += &format!("{value:05b}");
    }
    let bytes: Vec<u8> = (0..20)
        .map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap())
        .collect();
    TotpSecret::from_bytes(&bytes).unwrap()
}

#[tokio::test]
async fn an_authenticator_is_asked_for_and_no_code_works_twice() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let browser = world.sign_in("acme", "alice").await;
    let (secret, recovery) = set_up_totp(&browser).await;
    assert_eq!(recovery.len(), 10);
    assert_eq!(
        browser.get("/me").await.expect(200).json()["sign_in"]["recovery_codes_left"],
        10
    );

    let answer = world
        .try_sign_in("acme", "alice", PASSWORD, None)
        .await
        .expect(201);
    assert_eq!(answer.json()["stage"], "totp_needed");
    let mut second = Browser::new(&world, &answer);
    assert_eq!(
        second.get("/me").await.expect(403).json()["type"],
        "urn:callreel:problem:totp_needed"
    );
    second.ask(Method::POST, "/me/totp", None).await.expect(403);
    second
        .post("/session/totp", json!({ "code": "12345" }))
        .await
        .expect(401);
    let code = secret.code(seconds(now()));
    let shown = second
        .post("/session/totp", json!({ "code": code }))
        .await
        .expect(200);
    second.get("/session").await.expect(401);
    second.keep(&shown);
    second.get("/me").await.expect(200);

    // The code is spent; the one of the next step, and each recovery code, opens once.
    let again = world
        .try_sign_in("acme", "alice", PASSWORD, Some(&code))
        .await;
    again.expect(401);
    let next = secret.code(seconds(now()) + 30);
    world
        .try_sign_in("acme", "alice", PASSWORD, Some(&next))
        .await
        .expect(201);
    let typed = recovery[3].to_lowercase();
    let answer = world
        .try_sign_in("acme", "alice", PASSWORD, Some(&typed))
        .await
        .expect(201);
    assert_eq!(answer.json()["stage"], "complete");
    world
        .try_sign_in("acme", "alice", PASSWORD, Some(&typed))
        .await
        .expect(401);
    assert_eq!(
        second.get("/me").await.expect(200).json()["sign_in"]["recovery_codes_left"],
        9
    );

    second.delete("/me/totp").await.expect(204);
    let answer = world
        .try_sign_in("acme", "alice", PASSWORD, None)
        .await
        .expect(201);
    assert_eq!(answer.json()["stage"], "complete");
}

#[tokio::test]
async fn codes_cannot_be_tried_for_ever() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    set_up_totp(&world.sign_in("acme", "alice").await).await;
    let answer = world
        .try_sign_in("acme", "alice", PASSWORD, None)
        .await
        .expect(201);
    let second = Browser::new(&world, &answer);
    let mut refused = 0;
    for guess in 0..10 {
        let code = RecoveryCode::drawn().reveal().to_owned();
        let answer = second.post("/session/totp", json!({ "code": code })).await;
        refused += u32::from(answer.status == 429);
        assert!(
            answer.status == 429 || answer.status == 401,
            "{guess}: {}",
            answer.status
        );
    }
    assert!(refused >= 5, "{refused}");
}

#[tokio::test]
async fn a_tenant_may_ask_everybody_of_a_role_for_an_authenticator() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let (alice, bob) = (
        world.sign_in("acme", "alice").await,
        world.sign_in("acme", "bob").await,
    );
    let rules = bob.get("/sign-in-rules").await.expect(200);
    assert_eq!(rules.json()["totp"], "nobody");
    let reader = Preset::Reader.role_id(tenant("acme"));
    let mut wanted = rules.json();
    wanted["totp"] = json!({ "roles": [reader] });
    alice
        .put("/sign-in-rules", wanted.clone())
        .await
        .expect(403);
    bob.put(
        &format!("/sign-in-rules?tenant_id={}", world.tenant("globex")),
        wanted.clone(),
    )
    .await
    .expect(404);
    let mut wrong = wanted.clone();
    wrong["password"]["min_length"] = 4.into();
    let problem = bob.put("/sign-in-rules", wrong).await.expect(422).json();
    assert_eq!(problem["field"], "password.min_length");
    bob.put("/sign-in-rules", wanted).await.expect(200);
    // It holds from the next request.
    assert_eq!(
        alice.get("/groups").await.expect(403).json()["type"],
        "urn:callreel:problem:totp_setup_needed"
    );
    bob.get("/groups").await.expect(200);
    set_up_totp(&alice).await;
    alice.get("/groups").await.expect(200);
    alice.delete("/me/totp").await.expect(409);
}

#[tokio::test]
async fn who_asks_everybody_for_an_authenticator_has_to_set_one_up_and_is_not_shut_out() {
    let world = World::new().await;
    let administrator = Preset::TenantAdministrator;
    world.enrol("acme", "bob", administrator).await;
    let in_role = json!({ "roles": [administrator.role_id(tenant("acme"))] });
    for (turn, asked) in [json!("everybody"), in_role].into_iter().enumerate() {
        let bob = world.sign_in("acme", "bob").await;
        let mut rules = bob.get("/sign-in-rules").await.expect(200).json();
        rules["totp"] = asked;
        bob.put("/sign-in-rules", rules.clone()).await.expect(200);

        // The session that is open may set one up and nothing else, also when it is long since it showed a password.
        let shut = |tried: Tried| {
            let kind = tried.expect(403).json()["type"].clone();
            assert_eq!(kind, "urn:callreel:problem:totp_setup_needed");
        };
        shut(bob.get("/groups").await);
        shut(bob.put("/sign-in-rules", rules.clone()).await);
        world.catalog.forget_step_ups_for_tests().await;
        let problem = bob.ask(Method::POST, "/me/totp", None).await.expect(403);
        assert_eq!(
            problem.json()["type"],
            "urn:callreel:problem:step_up_required"
        );
        let mut bob = bob;
        let up = bob
            .post("/session/step-up", json!({ "password": PASSWORD }))
            .await
            .expect(200);
        assert_eq!(up.json()["stage"], "totp_setup_needed");
        bob.keep(&up);
        shut(bob.get("/groups").await);
        // So may one that begins anew.
        let again = world.sign_in("acme", "bob").await;
        shut(again.get("/groups").await);
        let enrolled = if turn == 0 { &again } else { &bob };
        let (secret, codes) = set_up_totp(enrolled).await;
        enrolled.get("/groups").await.expect(200);

        // From then on a code is asked for, and the rule can be taken back.
        let without = world.try_sign_in("acme", "bob", PASSWORD, None).await;
        let half = Browser::new(&world, &without.expect(201));
        half.get("/groups").await.expect(403);
        let recovery = Some(codes[0].as_str());
        let whole = world.try_sign_in("acme", "bob", PASSWORD, recovery).await;
        let whole = Browser::new(&world, &whole.expect(201));
        drop(secret);
        whole.delete("/me/totp").await.expect(409);
        rules["totp"] = "nobody".into();
        whole.put("/sign-in-rules", rules).await.expect(200);
        whole.delete("/me/totp").await.expect(204);
    }
}

#[tokio::test]
async fn stepping_up_takes_all_that_signing_in_takes() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let mut browser = world.sign_in("acme", "alice").await;
    let (secret, _) = set_up_totp(&browser).await;
    world.catalog.forget_step_ups_for_tests().await;
    let problem = browser
        .post("/me/totp/recovery-codes", json!({}))
        .await
        .expect(403)
        .json();
    assert_eq!(problem["type"], "urn:callreel:problem:step_up_required");
    let missing = browser
        .post("/session/step-up", json!({ "password": PASSWORD }))
        .await
        .expect(422)
        .json();
    assert_eq!(missing["field"], "code");
    let body = |password: &str, code: String| json!({ "password": password, "code": code });
    let code = || secret.code(seconds(now()));
    browser
        .post("/session/step-up", body("wrong", code()))
        .await
        .expect(401);
    browser
        .post("/session/step-up", body(PASSWORD, "000".into()))
        .await
        .expect(401);
    let up = browser
        .post("/session/step-up", body(PASSWORD, code()))
        .await
        .expect(200);
    assert!(up.json()["stepped_up_until"].is_string());
    browser.keep(&up);
    browser
        .post("/me/totp/recovery-codes", json!({}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_right_password_gives_back_no_attempts_at_codes() {
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let browser = world.sign_in("acme", "alice").await;
    set_up_totp(&browser).await;
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let body = json!({ "password": PASSWORD, "code": "ABCD-EFGH-IJKL-MNOP" });
        statuses.push(browser.post("/session/step-up", body).await.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
}

#[tokio::test]
async fn a_letter_opens_once_and_says_nothing_about_who_is_there() {
    let Some(mut server) = Server::start("open") else {
        return;
    };
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    world
        .nobody()
        .post("/password-resets", json!({ "login": "alice" }))
        .await
        .expect(409);
    let (outbox, sending) = Outbox::new(Mailer::new(&server.settings()).unwrap());
    world.api.set_outbox(outbox);
    let sending = tokio::spawn(sending);
    let old = world.sign_in("acme", "alice").await;
    for login in ["nobody", "alice", "alice@acme.example"] {
        let body = json!({ "tenant": "acme", "login": login });
        let answer = world
            .nobody()
            .post("/password-resets", body)
            .await
            .expect(202);
        assert!(answer.body.is_empty());
    }
    // Both open, until a password is set.
    let read = tokio::task::spawn_blocking(move || (server.taken(), server.taken()));
    let (first, last) = read.await.unwrap();
    assert_eq!(last["to"], json!(["alice@acme.example"]));
    let token = |letter: &Value| {
        let text = letter["text"]
            .as_str()
            .unwrap()
            .replace("=\r\n", "")
            .replace("=3D", "=");
        assert!(
            text.contains("https://callreel.example/reset-password#token="),
            "{text}"
        );
        let (_, rest) = text.split_once("#token=").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let redeem = |token: String, password: &str| json!({ "token": token, "password": password });
    let new = "violet umbrella 7 dance";
    world
        .nobody()
        .put("/password-resets", "*", redeem("x".repeat(43), new))
        .await
        .expect(410);
    for letter in [&first, &last] {
        let short = redeem(token(letter), "short");
        let refused = world.nobody().put("/password-resets", "*", short).await;
        refused.expect(422);
    }
    world
        .nobody()
        .put("/password-resets", "*", redeem(token(&last), new))
        .await
        .expect(204);
    for letter in [&first, &last] {
        let spent = redeem(token(letter), new);
        let refused = world.nobody().put("/password-resets", "*", spent).await;
        refused.expect(410);
    }
    old.get("/me").await.expect(401);
    world
        .try_sign_in("acme", "alice", new, None)
        .await
        .expect(201);
    sending.abort();
}

#[tokio::test]
async fn letters_for_one_account_are_few() {
    let Some(server) = Server::start("open") else {
        return;
    };
    let world = World::new().await;
    let (outbox, _sending) = Outbox::new(Mailer::new(&server.settings()).unwrap());
    world.api.set_outbox(outbox);
    let body = || json!({ "tenant": "acme", "login": "nobody" });
    for _ in 0..3 {
        world
            .nobody()
            .post("/password-resets", body())
            .await
            .expect(202);
    }
    world
        .nobody()
        .post("/password-resets", body())
        .await
        .expect(429);
}

#[tokio::test]
async fn nobody_uses_up_the_letters_of_an_account_and_answers_are_alike() {
    let Some(server) = Server::start("open") else {
        return;
    };
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let (outbox, _sending) = Outbox::new(Mailer::new(&server.settings()).unwrap());
    world.api.set_outbox(outbox);
    let mut waits = Vec::new();
    for login in ["alice", "nobody"] {
        let name = super::account(Some(tenant("acme")), login);
        let ask = async || {
            let body = json!({ "tenant": "acme", "login": login });
            world.nobody().post("/password-resets", body).await
        };
        for _ in 0..40 {
            // As if an hour had passed.
            world.api.sign_in().resets.forget_account(&name);
            ask().await.expect(202);
        }
        for _ in 0..2 {
            ask().await.expect(202);
        }
        let last = ask().await.expect(429);
        let wait: u64 = last.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((590..=601).contains(&wait), "{wait}");
        waits.push((last.json()["type"].clone(), last.json()["detail"].clone()));
    }
    assert_eq!(waits[0], waits[1]);
}

#[tokio::test]
async fn an_account_by_another_name_gets_no_more_letters() {
    let Some(server) = Server::start("open") else {
        return;
    };
    let world = World::new().await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let (outbox, _sending) = Outbox::new(Mailer::new(&server.settings()).unwrap());
    world.api.set_outbox(outbox);
    let ask = async |tenant: &str, login: &str| {
        let body = json!({ "tenant": tenant, "login": login });
        let answer = world.nobody().post("/password-resets", body).await;
        answer.status.as_u16()
    };
    // Blanks, capitals and the tenant's id are the same name, and of nobody alike.
    let id = world.tenant("acme").to_string();
    for login in ["alice", "nobody"] {
        let padded = [
            format!(" {login}"),
            login.to_uppercase(),
            format!("{login}\t"),
        ];
        assert_eq!(ask("acme", &padded[0]).await, 202);
        assert_eq!(ask(" acme ", &padded[1]).await, 202);
        assert_eq!(ask(&id, &padded[2]).await, 202);
        for tenant in ["acme", " acme", &id] {
            assert_eq!(ask(tenant, login).await, 429, "{tenant:?}");
        }
    }
    // By the address the answer says nothing, and no letter comes.
    for address in ["alice@acme.example", "nobody@acme.example"] {
        assert_eq!(ask("acme", address).await, 202);
    }
    let begun = async || {
        world
            .audit("acme")
            .await
            .iter()
            .filter(|act| *act == "passwords.ask_reset")
            .count()
    };
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(begun().await, 3);
}

#[tokio::test]
async fn tokens_of_who_is_removed_do_not_come_back() {
    let world = World::new().await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let carol = world.enrol("acme", "carol", Preset::Reader).await;
    let browser = world.sign_in("acme", "bob").await;
    let account = |responsible: Option<UserId>| {
        json!({
            "name": "CRM", "reason": "shows calls", "permissions": { "calls": ["view"] },
            "responsible_id": responsible.map(|user| user.0),
        })
    };
    let made = browser
        .post("/service-accounts", account(Some(carol)))
        .await;
    let path = made.expect(201).location();
    let tokens = format!("{path}/tokens");
    let given = browser
        .post(&tokens, json!({ "expires_in_days": 30 }))
        .await;
    let token = given.expect(201).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = async || with_token(&world, &token, Method::GET, "/calls", None).await;
    ask().await.expect(200);
    browser.delete(&format!("/users/{carol}")).await.expect(204);
    ask().await.expect(401);
    browser.put(&path, account(None)).await.expect(200);
    ask().await.expect(401);
    let shown = browser.get(&path).await.expect(200).json();
    assert!(shown["tokens"][0]["revoked_at"].is_string());
}

#[tokio::test]
async fn service_accounts_are_a_tenants_and_come_page_by_page() {
    let world = World::new().await;
    let bob = world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let browser = world.sign_in("acme", "bob").await;
    let account = |name: &str| json!({ "name": name, "reason": "shows calls", "permissions": { "calls": ["view"] } });
    for name in ["CRM", "archive", "Backup"] {
        browser
            .post("/service-accounts", account(name))
            .await
            .expect(201);
    }
    let mut names = Vec::new();
    let mut path = "/service-accounts?limit=2".to_owned();
    loop {
        let page = browser.get(&path).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        names.extend(
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/service-accounts?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["archive", "Backup", "CRM"]);
    let foreign = format!("/service-accounts?tenant_id={}", world.tenant("globex"));
    let listed = browser.get(&foreign).await.expect(200).json();
    assert_eq!(listed["items"], json!([]));
    // Who reaches less than the tenant makes none: also none that it would not see.
    let narrow = crate::access::Role {
        access_level: crate::access::AccessLevel::ManagedGroups,
        ..Preset::TenantAdministrator.role(tenant("acme"))
    };
    let actor = crate::access::Actor::User {
        id: bob,
        login: "bob".into(),
    };
    let principal = Principal::new(actor, tenant("acme"), "bob".into(), &narrow, [].into());
    let refused = world
        .principal(principal)
        .post("/service-accounts", account("ghost"))
        .await
        .expect(403);
    assert_eq!(
        refused.json()["type"],
        "urn:callreel:problem:beyond_own_rights"
    );
    let listed = browser.get("/service-accounts").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_token_has_a_part_of_somebodys_rights_from_some_places_until_it_is_revoked() {
    let world = World::new().await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    world.enrol("acme", "alice", Preset::Reader).await;
    let (browser, reader) = (
        world.sign_in("acme", "bob").await,
        world.sign_in("acme", "alice").await,
    );
    let account = |permissions: Value| json!({ "name": "CRM", "reason": "shows calls", "permissions": permissions });
    reader
        .post("/service-accounts", account(json!({ "calls": ["view"] })))
        .await
        .expect(403);
    let beyond = browser
        .post("/service-accounts", account(json!({ "plans": ["edit"] })))
        .await
        .expect(403);
    assert_eq!(
        beyond.json()["type"],
        "urn:callreel:problem:beyond_own_rights"
    );
    let made = browser
        .post("/service-accounts", account(json!({ "groups": ["view"] })))
        .await
        .expect(201);
    browser
        .post("/service-accounts", account(json!({ "groups": ["view"] })))
        .await
        .expect(409);
    let path = made.location();
    reader.get(&path).await.expect(403);
    let tokens = format!("{path}/tokens");
    browser
        .post(&tokens, json!({ "expires_in_days": 0 }))
        .await
        .expect(422);
    browser
        .post(
            &tokens,
            json!({ "expires_in_days": 1, "networks": ["10.0.0.1/8"] }),
        )
        .await
        .expect(422);
    let given = browser
        .post(&tokens, json!({ "expires_in_days": 30 }))
        .await
        .expect(201)
        .json();
    let token = given["token"].as_str().unwrap();
    assert!(token.starts_with("crl_") && given["hint"] == token[..8]);
    assert!(!String::from_utf8_lossy(&browser.get(&path).await.expect(200).body).contains(token));

    with_token(&world, token, Method::GET, "/groups", None)
        .await
        .expect(200);
    let problem = with_token(
        &world,
        token,
        Method::POST,
        "/groups",
        Some(json!({ "name": "x" })),
    )
    .await;
    assert_eq!(
        problem.expect(403).json()["detail"],
        "it needs groups: edit"
    );
    let me = with_token(&world, token, Method::GET, "/me", None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&me["kind"], &me["name"]),
        (&json!("service_account"), &json!("CRM"))
    );
    let shown = browser.get(&path).await.expect(200).json();
    assert!(shown["tokens"][0]["used_at"].is_string());

    // Elsewhere it opens nothing; here there is no address at all.
    let inside = browser
        .post(
            &tokens,
            json!({ "expires_in_days": 1, "networks": ["10.0.0.0/8"] }),
        )
        .await
        .expect(201)
        .json();
    with_token(
        &world,
        inside["token"].as_str().unwrap(),
        Method::GET,
        "/groups",
        None,
    )
    .await
    .expect(401);
}

#[tokio::test]
async fn what_its_user_loses_a_token_loses() {
    let world = World::new().await;
    let bob = world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let browser = world.sign_in("acme", "bob").await;
    let body =
        json!({ "name": "CRM", "reason": "shows calls", "permissions": { "groups": ["view"] } });
    let tokens = format!(
        "{}/tokens",
        browser
            .post("/service-accounts", body)
            .await
            .expect(201)
            .location()
    );
    let given = browser
        .post(&tokens, json!({ "expires_in_days": 30 }))
        .await
        .expect(201)
        .json();
    let token = given["token"].as_str().unwrap();
    world
        .catalog
        .set_user_role_for_tests(bob, Preset::Agent.role_id(tenant("acme")))
        .await;
    with_token(&world, token, Method::GET, "/groups", None)
        .await
        .expect(403);
    world.set_user(bob, "active", 0).await;
    with_token(&world, token, Method::GET, "/groups", None)
        .await
        .expect(401);
    world.set_user(bob, "active", 1).await;
    world
        .catalog
        .set_user_role_for_tests(bob, Preset::TenantAdministrator.role_id(tenant("acme")))
        .await;
    with_token(&world, token, Method::GET, "/groups", None)
        .await
        .expect(200);
    let browser = world.sign_in("acme", "bob").await;
    let revoke = format!("{tokens}/{}", given["id"].as_str().unwrap());
    browser.delete(&revoke).await.expect(204);
    browser.delete(&revoke).await.expect(404);
    with_token(&world, token, Method::GET, "/groups", None)
        .await
        .expect(401);
    with_token(&world, "crl_nonsense", Method::GET, "/groups", None)
        .await
        .expect(401);
}

#[tokio::test]
async fn a_token_cannot_make_tokens() {
    let world = World::new().await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let browser = world.sign_in("acme", "bob").await;
    let body = json!({ "name": "Root", "reason": "grows", "permissions": { "service_accounts": ["view", "edit"] } });
    let path = browser
        .post("/service-accounts", body.clone())
        .await
        .expect(201)
        .location();
    let tokens = format!("{path}/tokens");
    let given = browser
        .post(&tokens, json!({ "expires_in_days": 1 }))
        .await
        .expect(201)
        .json();
    let token = given["token"].as_str().unwrap();
    let more = Some(json!({ "expires_in_days": 1 }));
    let answer = with_token(&world, token, Method::POST, &tokens, more)
        .await
        .expect(403);
    assert_eq!(
        answer.json()["type"],
        "urn:callreel:problem:person_required"
    );
    with_token(&world, token, Method::POST, "/service-accounts", Some(body))
        .await
        .expect(403);
}

#[tokio::test]
async fn support_is_limited_in_time_and_the_tenant_reads_of_it() {
    let world = World::new().await;
    world
        .enrol("system", "root", Preset::RootAdministrator)
        .await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let (root, bob) = (
        world.sign_in("system", "root").await,
        world.sign_in("acme", "bob").await,
    );
    let acme = world.tenant("acme").to_string();
    let body = |tenant: &str| json!({ "tenant_id": tenant, "reason": "ticket 7", "minutes": 30 });
    bob.post("/support-access", body(&world.tenant("globex").to_string()))
        .await
        .expect(403);
    root.post("/support-access", body(&Uuid::from_u128(7).to_string()))
        .await
        .expect(422);
    let in_acme = [
        ("cookie", root.cookie.clone()),
        ("x-csrf-token", root.csrf.clone()),
        ("callreel-tenant", acme.clone()),
    ];
    let headers: Vec<(&str, &str)> = in_acme
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let group = || Some(json!({ "name": "Helpdesk" }));
    world
        .nobody()
        .ask(Method::POST, "/groups", &headers, group())
        .await
        .expect(403);
    let begun = root
        .post("/support-access", body(&acme))
        .await
        .expect(201)
        .json();
    let made = world
        .nobody()
        .ask(Method::POST, "/groups", &headers, group())
        .await
        .expect(201);
    assert_eq!(made.json()["tenant_id"], acme);
    let me = world
        .nobody()
        .ask(Method::GET, "/me", &headers, None)
        .await
        .expect(200)
        .json();
    assert_eq!(me["supported_tenant_id"], acme);
    let other = format!("/groups?tenant_id={}", world.tenant("globex"));
    assert_eq!(
        world
            .nobody()
            .ask(Method::GET, &other, &headers, None)
            .await
            .expect(200)
            .json()["items"],
        json!([])
    );
    root.delete(&format!(
        "/support-access/{}",
        begun["id"].as_str().unwrap()
    ))
    .await
    .expect(204);
    world
        .nobody()
        .ask(Method::GET, "/groups", &headers, None)
        .await
        .expect(403);
    let audit = world.audit("acme").await;
    assert_eq!(
        audit[2..],
        ["support.begin", "groups.create", "support.end"]
    );
    let reasons = world
        .catalog
        .audited_reasons_for_tests(tenant("acme"))
        .await;
    assert_eq!(reasons, ["ticket 7"; 3]);
}

#[tokio::test]
async fn support_that_nobody_ends_is_ended_by_its_time() {
    let world = World::new().await;
    world
        .enrol("system", "root", Preset::RootAdministrator)
        .await;
    let root = world.sign_in("system", "root").await;
    let acme = world.tenant("acme").to_string();
    let body = json!({ "tenant_id": acme, "reason": "ticket 8", "minutes": 30 });
    root.post("/support-access", body).await.expect(201);
    let headers = [
        ("cookie", root.cookie.as_str()),
        ("callreel-tenant", acme.as_str()),
    ];
    let nobody = world.nobody();
    let ask = || nobody.ask(Method::GET, "/groups", &headers, None);
    ask().await.expect(200);
    world
        .catalog
        .age_support_for_tests(31 * 60_000_000_000)
        .await;
    ask().await.expect(403);
    crate::api::routes::end_those_over(&world.catalog)
        .await
        .unwrap();
    assert_eq!(world.audit("acme").await, ["support.begin", "support.end"]);
    let list = root.get("/support-access").await.expect(200).json();
    assert!(list["items"][0]["ended_at"].is_string());
}

#[tokio::test]
async fn who_reaches_a_part_of_the_system_tenant_supports_nobody() {
    let world = World::new().await;
    let root = world.user("system", Preset::RootAdministrator);
    let acme = world.tenant("acme");
    for (level, status) in [("user", 403), ("managed_groups", 403), ("system", 201)] {
        let role = json!({
            "name": format!("Support {level}"), "access_level": level, "tenant_id": SYSTEM_TENANT,
            "permissions": { "tenants": ["view", "support"], "users": ["view"] },
        });
        let role = root.post("/roles", role).await.expect(201).json()["role_id"].clone();
        let body = json!({ "login": level, "role_id": role, "must_change_password": false });
        let user = root.post("/users", body).await.expect(201).json();
        let asking = world.signed_in(&user).await;
        let body = json!({ "tenant_id": acme, "reason": "ticket 7", "minutes": 30 });
        asking.post("/support-access", body).await.expect(status);
    }
}

#[tokio::test]
async fn nobody_is_supported_from_a_session_that_was_left_alone() {
    let world = World::new().await;
    let body = json!({ "tenant_id": world.tenant("acme"), "reason": "ticket 7", "minutes": 30 });
    let alone = world.user("system", Preset::RootAdministrator).stale();
    let refused = alone.post("/support-access", body).await.expect(403).json();
    assert_eq!(refused["type"], "urn:callreel:problem:step_up_required");
    assert_eq!(world.audit("acme").await, [""; 0]);
}

#[tokio::test]
async fn a_header_makes_nobody_a_supporter() {
    let world = World::new().await;
    world
        .enrol("acme", "bob", Preset::TenantAdministrator)
        .await;
    let bob = world.sign_in("acme", "bob").await;
    let system = SYSTEM_TENANT.to_string();
    let spy = [
        ("cookie", bob.cookie.as_str()),
        ("callreel-tenant", system.as_str()),
    ];
    world
        .nobody()
        .ask(Method::GET, "/groups", &spy, None)
        .await
        .expect(403);
    // It is in the own tenant's audit, and the other one hears nothing of it.
    crate::api::refusals::write(&world.api, &world.catalog)
        .await
        .unwrap();
    assert_eq!(
        world.audit("acme").await[1..],
        ["sessions.create", "groups.view"]
    );
    assert_eq!(world.audit("system").await, [""; 0]);
    let acme = world.tenant("acme").to_string();
    let own = [
        ("cookie", bob.cookie.as_str()),
        ("callreel-tenant", acme.as_str()),
    ];
    world
        .nobody()
        .ask(Method::GET, "/groups", &own, None)
        .await
        .expect(200);
}

/// Who has nothing but a session of an hour ago.
async fn left_alone<'w>(world: &'w World, login: &str) -> Browser<'w> {
    let browser = world.sign_in("acme", login).await;
    world.catalog.forget_step_ups_for_tests().await;
    browser
}

fn role(preset: Preset) -> Uuid {
    preset.role_id(tenant("acme")).0
}

#[tokio::test]
async fn nobody_is_let_in_by_a_session_that_was_left_alone() {
    let world = World::new().await;
    let ann = world
        .enrol("acme", "ann", Preset::TenantAdministrator)
        .await;
    let bob = world.enrol("acme", "bob", Preset::Agent).await;
    let mut browser = left_alone(&world, "ann").await;
    let account = json!({ "name": "CRM", "reason": "calls", "permissions": {"calls": ["view"]} });
    let made = browser.post("/service-accounts", account.clone()).await;
    let made = made.expect(201).location();
    let few = json!({ "name": "Few", "access_level": "user", "permissions": {"calls": ["view"]} });
    let role_made = browser.post("/roles", few.clone()).await.expect(201);
    let role_made = role_made.location();
    let (ann, bob) = (format!("/users/{ann}"), format!("/users/{bob}"));
    // What takes away, or lets nobody in yet.
    let carl = json!({ "login": "carl", "role_id": role(Preset::Agent) });
    browser.post("/users", carl).await.expect(201);
    for body in [
        json!({ "name": "Bob" }),
        json!({ "email": null }),
        json!({ "active": false }),
    ] {
        browser.put(&bob, body).await.expect(200);
    }
    browser.put(&made, account.clone()).await.expect(200);
    browser.put(&role_made, few.clone()).await.expect(200);

    let with = |of: &Value, key: &str, value: Value| {
        let mut body = of.clone();
        body[key] = value;
        body
    };
    let more = json!({ "calls": ["view", "delete"] });
    let dora =
        json!({ "login": "dora", "role_id": role(Preset::Agent), "email": "dora@acme.example" });
    let tokens = format!("{made}/tokens");
    let lets_in = [
        (Method::POST, "/users", dora),
        (Method::PUT, &ann, json!({ "email": "thief@acme.example" })),
        (Method::PUT, &bob, json!({ "email": "thief@acme.example" })),
        (Method::PUT, &bob, json!({ "active": true })),
        (
            Method::PUT,
            &bob,
            json!({ "role_id": role(Preset::TenantAdministrator) }),
        ),
        (
            Method::PUT,
            &format!("{bob}/password"),
            json!({ "remove_totp": true }),
        ),
        (Method::POST, &tokens, json!({ "expires_in_days": 1 })),
        (Method::PUT, "/sign-in-rules", json!({ "totp": "nobody" })),
        (
            Method::PUT,
            &made,
            with(&account, "permissions", more.clone()),
        ),
        (Method::PUT, &role_made, with(&few, "permissions", more)),
        (
            Method::PUT,
            &role_made,
            with(&few, "access_level", json!("system")),
        ),
    ];
    for (method, path, body) in &lets_in {
        let refused = browser.ask(method.clone(), path, Some(body.clone())).await;
        let refused = refused.expect(403).json();
        assert_eq!(
            refused["type"], "urn:callreel:problem:step_up_required",
            "{method} {path} {body}"
        );
    }
    let again = json!({ "password": PASSWORD });
    let again = browser.post("/session/step-up", again).await.expect(200);
    browser.keep(&again);
    for (method, path, body) in lets_in {
        let done = browser.ask(method.clone(), path, Some(body.clone())).await;
        assert!(
            matches!(done.status.as_u16(), 200 | 201),
            "{method} {path} {body}"
        );
    }
}

#[tokio::test]
async fn a_program_does_not_take_over_who_answers_for_it() {
    let world = World::new().await;
    let ann = world
        .enrol("acme", "ann", Preset::TenantAdministrator)
        .await;
    let bob = world.enrol("acme", "bob", Preset::Agent).await;
    let browser = world.sign_in("acme", "ann").await;
    let rights = Preset::TenantAdministrator.permissions();
    let account = json!({ "name": "HR", "reason": "people", "permissions": rights });
    let made = browser.post("/service-accounts", account).await.expect(201);
    let tokens = format!("{}/tokens", made.location());
    for unattended in [true, false] {
        let body = json!({ "expires_in_days": 1, "unattended": unattended });
        let token = browser.post(&tokens, body).await.expect(201).json();
        let token = token["token"].as_str().unwrap();
        let world = &world;
        let own = async |verb, path: &str, body| {
            with_token(world, token, verb, &format!("/users/{ann}{path}"), body).await
        };
        let body = json!({ "remove_totp": true });
        for refused in [
            own(Method::PUT, "/password", Some(body.clone())).await,
            own(Method::DELETE, "/sessions", None).await,
            own(
                Method::PUT,
                "",
                Some(json!({ "email": "thief@acme.example" })),
            )
            .await,
        ] {
            let refused = refused.expect(409).json();
            assert_eq!(refused["type"], "urn:callreel:problem:own_account");
        }
        let path = format!("/users/{bob}/password");
        let of_bob = with_token(world, token, Method::PUT, &path, Some(body)).await;
        of_bob.expect(if unattended { 200 } else { 403 });
    }
    browser.get("/me").await.expect(200);
}

#[tokio::test]
async fn a_letter_to_an_address_that_was_taken_away_opens_nothing() {
    let world = World::new().await;
    let bob = world.enrol("acme", "bob", Preset::Agent).await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let path = format!("/users/{bob}");
    for (body, answer) in [
        (json!({ "name": "Robert" }), 204),
        (json!({ "email": "robert@acme.example" }), 410),
        (json!({ "email": null }), 410),
    ] {
        let token = ResetToken::drawn();
        let mut change = world.catalog.change().await.unwrap();
        let until = now() + std::time::Duration::from_secs(600);
        change.begin_reset(bob, &token.hash(), until).await.unwrap();
        let event = Event::anonymous(tenant("acme"), "passwords.ask_reset");
        change.commit(event).await.unwrap();
        ann.put(&path, "*", body).await.expect(200);
        let redeem =
            json!({ "token": token.reveal().as_str(), "password": "another horse 10 staple" });
        let redeemed = world.nobody().put("/password-resets", "*", redeem).await;
        redeemed.expect(answer);
    }
}

#[tokio::test]
async fn a_tenant_is_found_by_its_id_whatever_others_are_called() {
    let world = World::new().await;
    world.enrol("acme", "ann", Preset::Agent).await;
    let acme = world.tenant("acme").to_string();
    let other = crate::base::TenantId(Uuid::from_u128(7));
    world.catalog.register_for_tests(other, &acme).await;
    for name in ["acme", &acme, &acme.to_uppercase()] {
        let answer = world.try_sign_in(name, "ann", PASSWORD, None).await;
        answer.expect(201);
    }
}
