//! `callreel user` and `callreel token`, on the catalog that `replay` left.

use std::fs;

use callreel::access::{Password, PasswordCost, PasswordHasher, ServiceToken, Verdict};
use callreel::base::SYSTEM_TENANT;
use callreel::catalog::{Identity, TokenInUse};

use super::world::World;

const PASSWORD: &str = "violet umbrella 7 dance";

fn identity(world: &World, login: &str) -> Option<Identity> {
    world.with_catalog(async |catalog| {
        catalog
            .identity_by_login(SYSTEM_TENANT, login)
            .await
            .unwrap()
    })
}

fn opens(identity: &Identity, password: &str) -> bool {
    let hasher = PasswordHasher::new(PasswordCost::default());
    let kept = identity.password_hash.as_deref();
    hasher.verify(&Password::new(password.into()), kept) == Verdict::Right
}

fn in_use(world: &World, token: &str) -> TokenInUse {
    let hash = ServiceToken::parse(token).unwrap().hash();
    world.with_catalog(async |catalog| catalog.token_in_use(&hash).await.unwrap().unwrap())
}

#[test]
fn the_first_user_has_the_password_that_was_given_or_one_that_was_drawn() {
    let world = World::new();
    fs::write(world.path("word"), format!("{PASSWORD}\n")).unwrap();
    let made = world
        .run(&["user", "create", "root", "--password-file", "word"])
        .exits(0);
    assert_eq!(made.out, "root is Root Administrator of System\n");
    let root = identity(&world, "root").unwrap();
    assert!(opens(&root, PASSWORD) && !root.must_change_password);

    let drawn = world
        .run(&["user", "create", "second", "--role", "reader", "--json"])
        .exits(0)
        .json();
    let second = identity(&world, "second").unwrap();
    assert_eq!(second.role.name, "Reader");
    let password = drawn["one_time_password"].as_str().unwrap();
    assert!(opens(&second, password) && second.must_change_password);

    let piped = ["user", "password", "second", "--password-file", "-"];
    world
        .run_with_input(&piped, "another umbrella 8 dance\nrest")
        .exits(0);
    let second = identity(&world, "second").unwrap();
    assert!(opens(&second, "another umbrella 8 dance") && !second.must_change_password);
}

#[test]
fn a_user_that_cannot_be_made_leaves_nothing() {
    let world = World::new();
    let create = |line: &[&str], input: &str| {
        let line = [&["user", "create"], line, &["--password-file", "-"]].concat();
        world.run_with_input(&line, input).exits(2).err
    };
    assert!(create(&["root"], "short\n").contains("at least 12 characters"));
    assert!(create(&["root"], "password12345\n").contains("password"));
    assert!(create(&["root"], "\n").contains("holds no password"));
    assert!(create(&["a b"], PASSWORD).contains("without spaces"));
    assert!(create(&["root", "--tenant", "nowhere"], PASSWORD).contains("no tenant `nowhere`"));
    assert!(create(&["root", "--role", "King"], PASSWORD).contains("Root Administrator"));
    assert!(create(&["root", "--email", "nobody"], PASSWORD).contains("e-mail"));
    assert!(identity(&world, "root").is_none());
    world
        .run(&["user", "create", "root", "--one-time"])
        .exits(0);
    assert!(create(&["ROOT", "--role", "reader"], PASSWORD).contains("login"));
}

#[test]
fn a_token_is_shown_once_listed_and_revoked() {
    let world = World::new();
    world
        .run(&["user", "create", "root", "--one-time"])
        .exits(0);
    let unknown = world.run(&["token", "create", "crm"]).exits(2);
    assert!(unknown.err.contains("--responsible"), "{}", unknown.err);
    let line = [
        "token",
        "create",
        "crm",
        "--responsible",
        "root",
        "--reason",
        "calls for the CRM",
    ];
    let wrong = world
        .run(&[&line[..], &["--allow", "calls:fly"]].concat())
        .exits(2);
    assert!(wrong.err.contains("calls:fly"), "{}", wrong.err);
    let narrow = [
        "--allow",
        "calls:view",
        "--network",
        "10.0.0.0/8",
        "--days",
        "7",
    ];
    let made = world.run(&[&line[..], &narrow].concat()).exits(0);
    let token = made.out.trim();
    let used = in_use(&world, token);
    assert_eq!(
        serde_json::to_string(&used.account.permissions).unwrap(),
        r#"{"calls":["view"]}"#
    );
    assert_eq!(used.token.networks[0].to_string(), "10.0.0.0/8");
    let another = world
        .run(&["token", "create", "crm", "--json"])
        .exits(0)
        .json();
    assert_ne!(another["token"], token);

    let listed = world.run(&["token", "list"]).exits(0);
    assert!(
        !listed.out.contains(token) && listed.out.contains(&token[..8]),
        "{}",
        listed.out
    );
    let id = used.token.id.to_string();
    world.run(&["token", "revoke", &id]).exits(0);
    world.run(&["token", "revoke", &id]).exits(2);
    assert!(in_use(&world, token).token.revoked_at.is_some());
    let lines = world.run(&["token", "list", "--json"]).exits(0).json();
    let states: Vec<_> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["state"].as_str().unwrap())
        .collect();
    assert!(
        states.contains(&"revoked") && states.contains(&"opens"),
        "{states:?}"
    );
}
