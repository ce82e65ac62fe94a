//! Whatever people do to each other, nobody comes to hold what the one who gave it did not.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::access::{AccessLevel, Permissions, Preset, Principal, Reach, Resource};
use crate::api::testing::{Tried, World, tenant};
use crate::base::{GroupId, UserId};

/// What a user can do at a moment.
#[derive(Clone, Debug, PartialEq)]
struct Rights {
    level: AccessLevel,
    permissions: Permissions,
    /// Where the reach is made of groups.
    groups: Vec<GroupId>,
}

impl Rights {
    fn of(principal: &Principal) -> Rights {
        let groups = match principal.scope().reach() {
            Reach::Groups { groups, .. } => groups.to_vec(),
            _ => Vec::new(),
        };
        Rights {
            level: principal.level(),
            permissions: principal.permissions().clone(),
            groups,
        }
    }

    /// Whether all of these lies in what was held before or in what the actor holds.
    fn lies_in(&self, before: Option<&Rights>, actor: &Rights) -> bool {
        let mut held = actor.permissions.clone();
        for (resource, operation) in before
            .into_iter()
            .flat_map(|before| before.permissions.iter())
        {
            held.allow(resource, &[operation]);
        }
        let reaches = |rights: &Rights| {
            rights.level.reaches(self.level)
                && (rights.level != AccessLevel::ManagedGroups
                    || self.level != AccessLevel::ManagedGroups
                    || self
                        .groups
                        .iter()
                        .all(|group| rights.groups.contains(group)))
        };
        // A reach that grows by the actor's groups stays within both.
        let together = before.is_some_and(|before| {
            before.level == AccessLevel::ManagedGroups
                && self.level == AccessLevel::ManagedGroups
                && self
                    .groups
                    .iter()
                    .all(|group| before.groups.contains(group) || actor.groups.contains(group))
        });
        self.permissions.beyond(&held).is_none()
            && (reaches(actor) || before.is_some_and(reaches) || together)
    }
}

/// One thing that somebody tries; the numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
struct Try {
    who: u8,
    what: u8,
    on: u8,
    with: u8,
    and: u16,
}

fn any_try() -> impl Strategy<Value = Try> {
    any::<(u8, u8, u8, u8, u16)>().prop_map(|(who, what, on, with, and)| Try {
        who,
        what,
        on,
        with,
        and,
    })
}

const LEVELS: [&str; 4] = ["root", "system", "managed_groups", "user"];

/// Some of all permissions, more often those that are about people.
fn some_permissions(seed: u16) -> Value {
    let mut some = Permissions::default();
    for (place, (resource, operation)) in Permissions::all().iter().enumerate() {
        let about_people = matches!(
            resource,
            Resource::Users | Resource::Roles | Resource::Groups
        );
        let draw = (u64::from(seed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (place % 48);
        if draw & 1 == 1 || (about_people && draw & 2 == 2) {
            some.allow(resource, &[operation]);
        }
    }
    serde_json::to_value(some).unwrap()
}

struct Play<'w> {
    world: &'w World,
    groups: Vec<Value>,
}

impl Play<'_> {
    async fn items(&self, path: &str) -> Vec<Value> {
        let root = self.world.user("system", Preset::RootAdministrator);
        let path = format!("{path}?limit=500&tenant_id={}", self.world.tenant("acme"));
        let page = root.get(&path).await.expect(200).json();
        page["items"].as_array().unwrap().clone()
    }

    async fn rights(&self) -> BTreeMap<UserId, Rights> {
        let mut all = BTreeMap::new();
        for user in self.items("/users").await {
            let id: UserId = user["id"].as_str().unwrap().parse().unwrap();
            if let Some(person) = self.world.catalog.principal_of_user(id).await.unwrap() {
                all.insert(id, Rights::of(&person.principal()));
            }
        }
        all
    }

    /// Does it as the chosen user; the user's id, and what came of it. None: nobody who can act was chosen.
    async fn act(&self, one: Try) -> Option<(UserId, Tried)> {
        let users = self.items("/users").await;
        let roles = self.items("/roles").await;
        let pick = |list: &[Value], number: u8| list[usize::from(number) % list.len()].clone();
        let actor = pick(&users, one.who);
        let id: UserId = actor["id"].as_str().unwrap().parse().unwrap();
        self.world.catalog.principal_of_user(id).await.unwrap()?;
        let asking = self.world.signed_in(&actor).await;
        let user = format!("/users/{}", pick(&users, one.on)["id"].as_str().unwrap());
        let role = pick(&roles, one.with);
        let path_of_role = format!("/roles/{}", role["role_id"].as_str().unwrap());
        let group = pick(&self.groups, one.with);
        let role_body = json!({
            "name": format!("r{}", one.and % 7), "access_level": LEVELS[usize::from(one.on) % 4],
            "permissions": some_permissions(one.and),
        });
        let two = [pick(&self.groups, one.with), pick(&self.groups, one.who)];
        let answer = match one.what % 10 {
            0 => {
                let body = json!({
                    "login": format!("u{}", one.and), "role_id": role["role_id"], "group_id": group, "managed_groups": two,
                });
                asking.post("/users", body).await
            }
            1 | 2 => {
                asking
                    .put(&user, "*", json!({ "role_id": role["role_id"] }))
                    .await
            }
            3 => {
                asking
                    .put(&user, "*", json!({ "managed_groups": two }))
                    .await
            }
            4 => {
                asking
                    .put(&user, "*", json!({ "active": one.and.is_multiple_of(2) }))
                    .await
            }
            5 => asking.put(&user, "*", json!({ "group_id": group })).await,
            6 => asking.post("/roles", role_body).await,
            7 => asking.put(&path_of_role, "*", role_body).await,
            8 => asking.delete(&user, "*").await,
            _ => asking.delete(&path_of_role, "*").await,
        };
        Some((id, answer))
    }
}

async fn administrators(play: &Play<'_>) -> usize {
    let administers = |rights: &&Rights| {
        matches!(rights.level, AccessLevel::Root | AccessLevel::System)
            && rights
                .permissions
                .contains(Resource::Users, crate::access::Operation::Edit)
    };
    play.rights().await.values().filter(administers).count()
}

/// A tenant with somebody of each preset, and a team lead who may edit users.
async fn peopled(world: &World) -> Play<'_> {
    let ann = world.user("acme", Preset::TenantAdministrator);
    let mut groups = Vec::new();
    for name in ["Sales", "Support", "Other"] {
        let made = ann
            .post("/groups", json!({ "name": name }))
            .await
            .expect(201);
        groups.push(made.json()["id"].clone());
    }
    let lead = json!({
        "name": "Team lead", "access_level": "managed_groups",
        "permissions": {"users": ["view", "edit", "delete"], "roles": ["view", "edit", "delete"], "calls": ["view", "playback"]},
    });
    let lead = ann.post("/roles", lead).await.expect(201).json();
    let mut roles = vec![lead["role_id"].clone()];
    for preset in Preset::of_tenant(tenant("acme")) {
        roles.push(json!(preset.role_id(tenant("acme"))));
    }
    for (number, role) in roles.iter().enumerate() {
        let body = json!({
            "login": format!("first{number}"), "role_id": role, "group_id": groups[number % 2],
            "managed_groups": [groups[number % 3]],
        });
        ann.post("/users", body).await.expect(201);
    }
    Play { world, groups }
}

async fn play(tries: &[Try]) -> usize {
    let world = World::new().await;
    let play = peopled(&world).await;
    let globex = world.audit("globex").await;
    let mut done = 0;
    for one in tries {
        let before = play.rights().await;
        let had_administrators = administrators(&play).await;
        let Some((actor, answer)) = play.act(*one).await else {
            continue;
        };
        assert!(answer.status.as_u16() < 500, "{one:?}: {}", answer.status);
        let after = play.rights().await;
        if !answer.status.is_success() {
            assert_eq!(before, after, "{one:?}");
            continue;
        }
        done += 1;
        for (user, rights) in &after {
            let held = before.get(user);
            assert!(
                rights.lies_in(held, &before[&actor]),
                "{one:?}: {user} had {held:?}, has {rights:?}, given by {:?}",
                before[&actor]
            );
        }
        assert!(
            had_administrators == 0 || administrators(&play).await > 0,
            "{one:?}"
        );
    }
    assert_eq!(world.audit("globex").await, globex);
    done
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    // Each case is forty edits on a catalog of its own. PROPTEST_CASES=20000 tries a thousand.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 20, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_edits_gives_anybody_more_than_the_giver_had(tries in proptest::collection::vec(any_try(), 40)) {
        block_on(play(&tries));
    }
}

/// So that the sequences above are not all refused.
#[test]
fn a_fair_part_of_what_is_tried_is_done() {
    let tries: Vec<Try> = (0..200u32)
        .map(|number| {
            let mixed = number.wrapping_mul(2_654_435_761).to_le_bytes();
            Try {
                who: mixed[3],
                what: (number % 10) as u8,
                on: mixed[2],
                with: mixed[1],
                and: number as u16,
            }
        })
        .collect();
    let done = block_on(play(&tries));
    assert!(done > 20, "{done}");
}
