//! What was refused, on its way into the audit: told once, then counted.
//!
//! Who is refused asks again, and a program that asks for what it may not does so as fast as it can. The first refusal of a
//! kind is told at once; the same again within [`WINDOW`] is one more record, with a count, when that is over. So nobody
//! fills the audit by being refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::event::{Event, Outcome};
use crate::base::{TenantId, Timestamp};

/// For how long the same is only counted.
const WINDOW: Duration = Duration::from_secs(10 * 60);

/// Different refusals of one principal within a window; what is beyond is one record without an object.
const OF_A_PRINCIPAL: usize = 20;

/// Principals of one tenant within a window; what is refused to others is one record that names nobody.
const OF_A_TENANT: usize = 64;

/// Principals of all tenants. What is refused to others is lost, and counted.
const PRINCIPALS: usize = 4096;

/// Records that are told at a time.
const AT_A_TIME: usize = 256;

/// What the audit calls refusals that it does not list.
const OTHERS: &str = "requests.refused";

/// What was refused. Of the request only what this program calls it, and an id: nothing that its sender has written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// The right that lacks, such as `users.delete`; or resource and verb of the request.
    pub action: String,
    /// Method and path, with the names of its parameters: `DELETE /api/v1/users/{id}`.
    pub request: String,
    /// The last word of the problem's type.
    pub problem: String,
    /// The kind and id of the object that was named, whether it is there or not.
    pub object: Option<(&'static str, Uuid)>,
}

/// Refusals that the audit does not have yet. One for all tenants; shared by all requests.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by: HashMap<Who, Window>,
    lost: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Principal {
        tenant: TenantId,
        kind: &'static str,
        id: Option<Uuid>,
        name: String,
    },
    /// Those of a tenant that are too many to be told apart.
    Anybody(TenantId),
}

#[derive(Debug)]
struct Window {
    began_at: Timestamp,
    of: HashMap<What, Tally>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    One(Refusal, Option<IpAddr>),
    Others,
}

#[derive(Debug)]
struct Tally {
    event: Event,
    request: Option<String>,
    problem: Option<String>,
    /// Those that are not told yet, and when the first and the last of them was.
    times: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    told: bool,
}

/// A record that is due.
#[derive(Clone, Debug)]
pub struct Due {
    pub event: Event,
    who: Who,
    what: What,
    times: u64,
}

impl Refusals {
    /// Counts one. `event` says who asked, from where, and in whose audit it is.
    pub fn note(&self, event: Event, refusal: Refusal, now: Timestamp) {
        let mut table = self.table();
        let Some(who) = table.place_of(&event) else {
            table.lost += 1;
            return;
        };
        let window = table.by.entry(who.clone()).or_insert_with(|| Window {
            began_at: now,
            of: HashMap::new(),
        });
        let event = match who {
            Who::Principal { .. } => event,
            Who::Anybody(tenant) => Event::anonymous(tenant, OTHERS),
        };
        window.note(event, refusal, now);
    }

    /// What is to be told: the first of each kind, and counts whose window is over.
    pub fn due(&self, now: Timestamp) -> Vec<Due> {
        self.due_where(|window| now.since(window.began_at) >= WINDOW)
    }

    /// All that is not told yet, whether its window is over: there is no later.
    pub fn last(&self) -> Vec<Due> {
        self.due_where(|_| true)
    }

    fn due_where(&self, over: impl Fn(&Window) -> bool + Copy) -> Vec<Due> {
        let mut table = self.table();
        (table.by).retain(|_, window| !(over(window) && window.is_told()));
        let due = table.by.iter().flat_map(|(who, window)| {
            let tallies = window.of.iter();
            let due =
                tallies.filter(move |(_, tally)| tally.times > 0 && (!tally.told || over(window)));
            due.map(|(what, tally)| Due {
                event: tally.event_now(),
                who: who.clone(),
                what: what.clone(),
                times: tally.times,
            })
        });
        due.take(AT_A_TIME).collect()
    }

    /// These are in the audit.
    pub fn told(&self, due: &[Due]) {
        let mut table = self.table();
        for one in due {
            let window = table.by.get_mut(&one.who);
            if let Some(tally) = window.and_then(|window| window.of.get_mut(&one.what)) {
                tally.times = tally.times.saturating_sub(one.times);
                tally.told = true;
            }
        }
    }

    /// How many there were no room for, since the last time this was asked.
    pub fn lost(&self) -> u64 {
        std::mem::take(&mut self.table().lost)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing between lock and unlock can leave a tally half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn place_of(&self, event: &Event) -> Option<Who> {
        let principal = Who::Principal {
            tenant: event.tenant,
            kind: event.actor_kind,
            id: event.actor_id,
            name: event.actor_name.clone(),
        };
        if self.by.contains_key(&principal) {
            return Some(principal);
        }
        let of_tenant =
            |who: &&Who| matches!(who, Who::Principal { tenant, .. } if *tenant == event.tenant);
        let who = match self.by.keys().filter(of_tenant).count() < OF_A_TENANT {
            true => principal,
            false => Who::Anybody(event.tenant),
        };
        (self.by.len() < PRINCIPALS || self.by.contains_key(&who)).then_some(who)
    }
}

impl Window {
    fn note(&mut self, event: Event, refusal: Refusal, now: Timestamp) {
        let one = What::One(refusal, event.address);
        let listed = event.action != OTHERS
            && (self.of.contains_key(&one) || self.of.len() < OF_A_PRINCIPAL);
        let what = if listed { one } else { What::Others };
        let tally = (self.of.entry(what.clone())).or_insert_with(|| Tally::new(event, what, now));
        if tally.times == 0 {
            tally.first_at = now;
        }
        tally.last_at = now;
        tally.times = tally.times.saturating_add(1);
    }

    fn is_told(&self) -> bool {
        self.of.values().all(|tally| tally.times == 0)
    }
}

impl Tally {
    fn new(event: Event, what: What, now: Timestamp) -> Tally {
        let mut event = event.outcome(Outcome::Denied);
        let (request, problem) = match what {
            What::One(refusal, _) => {
                event.action = refusal.action.into();
                if let Some((kind, id)) = refusal.object {
                    event = event.on(kind, id);
                }
                (Some(refusal.request), Some(refusal.problem))
            }
            What::Others => {
                event.action = OTHERS.into();
                (None, None)
            }
        };
        Tally {
            event,
            request,
            problem,
            times: 0,
            first_at: now,
            last_at: now,
            told: false,
        }
    }

    fn event_now(&self) -> Event {
        let mut refused = json!({
            "times": self.times,
            "first_at": self.first_at.to_string(),
            "last_at": self.last_at.to_string(),
        });
        for (key, text) in [("request", &self.request), ("problem", &self.problem)] {
            if let Some(text) = text {
                refused[key] = text.as_str().into();
            }
        }
        self.event.clone().change(None, Some(refused))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Preset, Principal};
    use super::*;
    use crate::access::Actor;
    use crate::base::UserId;

    const START: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn tenant(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    fn by(of: u128, number: u128) -> Event {
        let actor = Actor::User {
            id: UserId(Uuid::from_u128(number)),
            login: "ann".into(),
        };
        let role = Preset::Reader.role(tenant(of));
        let ann = Principal::new(actor, tenant(of), "ann".into(), &role, [].into());
        Event::by(&ann, "").from_address(Some([10, 0, 0, 1].into()), None)
    }

    fn of(object: u128) -> Refusal {
        Refusal {
            action: "users.delete".into(),
            request: "DELETE /api/v1/users/{id}".into(),
            problem: "permission_denied".into(),
            object: Some(("user", Uuid::from_u128(object))),
        }
    }

    fn tell(refusals: &Refusals, now: Timestamp) -> Vec<Event> {
        let due = refusals.due(now);
        refusals.told(&due);
        due.into_iter().map(|due| due.event).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_same_again_as_a_count() {
        let refusals = Refusals::default();
        refusals.note(by(1, 1), of(7), START);
        let told = tell(&refusals, START);
        assert_eq!(told.len(), 1);
        let first = &told[0];
        assert_eq!((first.tenant, first.outcome), (tenant(1), Outcome::Denied));
        assert_eq!(
            (&*first.action, first.object_id),
            ("users.delete", Some(Uuid::from_u128(7)))
        );
        assert_eq!(first.role, "Reader");
        let refused = first.after.as_ref().unwrap();
        assert_eq!(refused["times"], 1);
        assert_eq!(refused["request"], "DELETE /api/v1/users/{id}");
        assert_eq!(refused["problem"], "permission_denied");

        for second in 1..=500 {
            refusals.note(by(1, 1), of(7), after(second));
            assert!(tell(&refusals, after(second)).is_empty());
        }
        let told = tell(&refusals, after(600));
        assert_eq!(told.len(), 1);
        let refused = told[0].after.as_ref().unwrap();
        assert_eq!(refused["times"], 500);
        assert_eq!(refused["first_at"], after(1).to_string());
        assert_eq!(refused["last_at"], after(500).to_string());
        assert!(tell(&refusals, after(601)).is_empty());
        // A new window begins with what comes next.
        refusals.note(by(1, 1), of(7), after(700));
        assert_eq!(tell(&refusals, after(700)).len(), 1);
    }

    #[test]
    fn who_tries_everything_is_told_of_twenty_things_and_counted_for_the_rest() {
        let refusals = Refusals::default();
        for object in 0..10_000 {
            refusals.note(by(1, 1), of(object), START);
        }
        // Nobody else is told less for it.
        refusals.note(by(2, 2), of(7), START);
        let told = tell(&refusals, START);
        assert_eq!(told.len(), 22);
        let rest = told.iter().find(|event| event.action == OTHERS).unwrap();
        assert_eq!(rest.object_id, None);
        assert_eq!(rest.actor_name, "ann");
        assert_eq!(rest.after.as_ref().unwrap()["times"], 10_000 - 20);
    }

    #[test]
    fn a_tenant_with_many_who_are_refused_takes_no_room_from_others() {
        let refusals = Refusals::default();
        for number in 0..10_000 {
            refusals.note(by(1, number), of(7), START);
        }
        refusals.note(by(2, 1), of(7), START);
        let told = tell(&refusals, START);
        let of_first = told.iter().filter(|event| event.tenant == tenant(1));
        assert_eq!(of_first.count(), OF_A_TENANT + 1);
        assert_eq!(
            told.iter()
                .filter(|event| event.tenant == tenant(2))
                .count(),
            1
        );
        let nobody = told.iter().find(|event| event.actor_kind == "anonymous");
        let times = &nobody.unwrap().after.as_ref().unwrap()["times"];
        assert_eq!(*times, 10_000 - OF_A_TENANT);
        assert_eq!(refusals.lost(), 0);
    }

    #[test]
    fn the_table_is_bounded_and_what_it_cannot_take_is_counted() {
        let refusals = Refusals::default();
        for number in 0..PRINCIPALS as u128 + 10 {
            refusals.note(by(number + 1, number), of(7), START);
        }
        assert_eq!((refusals.lost(), refusals.lost()), (10, 0));
        while !tell(&refusals, START).is_empty() {}
        assert!(tell(&refusals, after(600)).is_empty());
        assert!(refusals.table().by.is_empty());
    }

    #[test]
    fn at_the_end_counts_are_told_before_their_window_is_over() {
        let refusals = Refusals::default();
        for second in 0..5 {
            refusals.note(by(1, 1), of(7), after(second));
            tell(&refusals, after(second));
        }
        assert!(tell(&refusals, after(5)).is_empty());
        let last = refusals.last();
        refusals.told(&last);
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].event.after.as_ref().unwrap()["times"], 4);
        assert!(refusals.last().is_empty());
    }

    #[test]
    fn what_could_not_be_told_is_told_later() {
        let refusals = Refusals::default();
        refusals.note(by(1, 1), of(7), START);
        assert_eq!(refusals.due(START).len(), 1);
        refusals.note(by(1, 1), of(7), after(5000));
        let told = tell(&refusals, after(5000));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].after.as_ref().unwrap()["times"], 2);
    }
}
