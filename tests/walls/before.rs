//! What has to be so that an operation can succeed, where the object alone is not enough.

use callreel::access::{Event, ResetToken, SealingKey, TotpSecret};
use callreel::base::UserId;
use serde_json::json;
use uuid::Uuid;

use super::asking::Sent;
use super::calls;
use super::sign_in::{self, Person};
use super::world::{ACME, Somebody, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// The call is held.
    Held,
    /// The note is the caller's own.
    OwnNote,
    /// The call is in the category.
    Categorized,
    /// The body names the object as it is named.
    SameName,
    /// `{token}` is a link's, with this password if there is one.
    Link(Option<&'static str>),
    /// The link was opened.
    OpenedLink,
    /// A letter was sent; its token is in the body.
    Letter,
    /// Somebody like the caller has a password; it is in the body.
    Password,
    /// Somebody like the caller asks, signed in with a password.
    Session,
    /// The same, with an authenticator that has not shown a code yet; its code is in the body.
    NewAuthenticator,
    /// The same, with an authenticator whose code was shown when signing in.
    Authenticator,
    /// The same, with an authenticator whose code was not; it is in the body.
    CodeNeeded,
}

/// Makes it so. Where the caller may not reach the object, nothing comes of it.
pub async fn prepare(world: &World, before: Before, who: Option<&Somebody>, sent: &mut Sent) {
    let root = world.root();
    match before {
        Before::Nothing => {}
        Before::Held => {
            let body = json!({ "reason": "a court wants it" });
            world
                .ask(Some(&root), "PUT", &sent.path, &[], Some(&body))
                .await;
        }
        Before::OwnNote => own_note(world, who, sent).await,
        Before::Categorized => {
            world.ask(Some(&root), "PUT", &sent.path, &[], None).await;
        }
        Before::SameName => {
            let read = world.ask(Some(&root), "GET", &sent.path, &[], None).await;
            if read.status == 200 {
                sent.body_mut()["name"] = read.json()["name"].clone();
            }
        }
        Before::Link(password) => {
            let token = link(world, password).await;
            sent.path = sent.path.replace("{token}", &token);
        }
        Before::OpenedLink => {
            let token = link(world, None).await;
            let opened = world
                .ask(None, "GET", &format!("/s/{token}"), &[], None)
                .await;
            let audio = opened.json()["audio"].as_str().unwrap().to_owned();
            let (path, query) = audio.split_once('?').unwrap();
            sent.path = path.to_owned();
            sent.query.push(query.to_owned());
        }
        Before::Letter => sent.body_mut()["token"] = letter(world).await.into(),
        Before::Password => {
            let person = sign_in::person(world, who).await;
            *sent.body_mut() = person.credentials(None);
        }
        Before::Session | Before::NewAuthenticator | Before::Authenticator | Before::CodeNeeded => {
            if let Some(who) = who {
                session(world, before, who, sent).await;
            }
        }
    }
}

async fn own_note(world: &World, who: Option<&Somebody>, sent: &Sent) {
    let (Some(id), Some(author)) = (sent.ids.get("id"), who.and_then(|who| who.principal.user()))
    else {
        return;
    };
    sqlx::query("UPDATE call_notes SET author_id = ? WHERE id = ?")
        .bind(author.0)
        .bind(*id)
        .execute(&world.raw)
        .await
        .unwrap();
}

/// The token of a new link to a new call.
pub async fn link(world: &World, password: Option<&str>) -> String {
    let call = calls::make(world, ACME).await.id;
    let body =
        json!({ "reason": "for a customer", "expires_in_seconds": 3600, "password": password });
    let path = format!("/api/v1/calls/{call}/shares");
    let made = world
        .ask(Some(&world.root()), "POST", &path, &[], Some(&body))
        .await;
    let path = made.json()["path"].as_str().unwrap().to_owned();
    path.trim_start_matches("/s/").to_owned()
}

/// What a letter to somebody holds.
async fn letter(world: &World) -> String {
    let user = UserId(sign_in::user(world, ACME).await);
    let token = ResetToken::drawn();
    let mut change = world.catalog.change().await.unwrap();
    let until = callreel::catalog::wall_clock() + std::time::Duration::from_secs(600);
    change
        .begin_reset(user, &token.hash(), until)
        .await
        .unwrap();
    let event = Event::anonymous(ACME, "passwords.ask_reset").on("user", user.0);
    change.commit(event).await.unwrap();
    token.reveal().to_string()
}

async fn session(world: &World, before: Before, who: &Somebody, sent: &mut Sent) {
    let person = sign_in::person(world, Some(who)).await;
    let now = callreel::catalog::wall_clock().as_millis() / 1000;
    let now = u64::try_from(now).unwrap();
    let secret = TotpSecret::drawn();
    let mut shown = None;
    match before {
        Before::NewAuthenticator => {}
        Before::Authenticator => {
            set_authenticator(world, &person, &secret, Some(0)).await;
            shown = Some(secret.code(now));
        }
        Before::CodeNeeded => {
            set_authenticator(world, &person, &secret, Some(0)).await;
            sent.body_mut()["code"] = secret.code(now).into();
        }
        _ => {}
    }
    sent.headers
        .extend(person.sign_in(world, shown.as_deref()).await);
    sent.in_session = true;
    if before == Before::NewAuthenticator {
        set_authenticator(world, &person, &secret, None).await;
        sent.body_mut()["code"] = secret.code(now).into();
    }
}

/// As the API keeps it; `since` when it first showed a code.
async fn set_authenticator(
    world: &World,
    person: &Person,
    secret: &TotpSecret,
    since: Option<i64>,
) {
    let key = SealingKey::at(&world.folder().join("access.key")).unwrap();
    let sealed = key.seal(secret.bytes(), person.id.as_bytes());
    sqlx::query("UPDATE credentials SET totp_secret = ?, totp_since = ? WHERE user_id = ?")
        .bind(&sealed[..])
        .bind(since)
        .bind(person.id)
        .execute(&world.raw)
        .await
        .unwrap();
}

/// A session of the user, that nobody has the cookie of.
pub async fn session_of(world: &World, user: Uuid) -> Uuid {
    let id = Uuid::now_v7();
    let now = callreel::catalog::wall_clock().as_nanos();
    let hash = [id.as_bytes().as_slice(), user.as_bytes()].concat();
    sqlx::query(
        "INSERT INTO sessions (id, token_hash, user_id, began_at, used_at, totp_shown) VALUES (?, ?, ?, ?, ?, 0)",
    )
    .bind(id)
    .bind(hash)
    .bind(user)
    .bind(now)
    .bind(now)
    .execute(&world.raw)
    .await
    .unwrap();
    id
}
