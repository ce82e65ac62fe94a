//! How long calls are kept, before a daemon has seen it and after.

use std::fs;

use serde_json::Value;

use super::world::World;

#[test]
fn a_plan_that_will_take_calls_away_is_told_before_it_does() {
    let world = World::new();
    let config = fs::read_to_string(world.path("callreel.toml")).unwrap();
    let plan = "\n[plans.month]\nretention_days = 30\n";
    fs::write(world.path("callreel.toml"), config + plan).unwrap();
    let before = world.run(&["check"]).exits(0);
    assert!(!before.err.contains("days"), "{}", before.err);

    let files = fs::read_dir(world.path("tenants")).unwrap();
    let file = files.map(|file| file.unwrap().path()).min().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen("[tenant]\n", "[tenant]\nplan = \"month\"\n", 1);
    fs::write(&file, text).unwrap();
    let warned = world.run(&["check"]).exits(0);
    let expected =
        "its plan month keeps calls for 30 days, and no limit is in force: 24 hours after a daemon";
    assert!(warned.err.contains(expected), "{}", warned.err);
    let json = world.run(&["check", "--json"]).exits(0).json();
    let shorter = json["catalog"]["shorter"].as_array().unwrap();
    assert_eq!(shorter.len(), 1);
    assert_eq!(shorter[0]["shorter_days"], 30);

    let list = world.run(&["retention", "list", "--json"]).exits(0).json();
    assert_eq!(list["believed_time"], Value::Null);
    let tenants = list["tenants"].as_array().unwrap();
    let of_plan: Vec<_> = tenants
        .iter()
        .filter(|one| one["plan"] == "month")
        .collect();
    assert_eq!(of_plan.len(), 1);
    let id = of_plan[0]["tenant_id"].as_str().unwrap();
    let shown = world.run(&["tenant", "show", id, "--json"]).exits(0).json();
    for retention in [of_plan[0], &shown["retention"]] {
        assert_eq!(
            (&retention["days"], &retention["shorter_days"]),
            (&Value::Null, &30.into())
        );
        assert!(retention["shorter_from"].is_string());
    }
    let table = world.run(&["retention", "list"]).exits(0);
    assert!(
        table.out.contains("for ever; 30 days from "),
        "{}",
        table.out
    );
}

#[test]
fn who_says_that_the_clock_is_right_is_in_the_audit() {
    let world = World::new();
    let said = world.run(&["retention", "confirm-clock"]).exits(0);
    assert!(said.out.contains("calls go by this clock"), "{}", said.out);
    let list = world.run(&["retention", "list", "--json"]).exits(0).json();
    assert!(list["believed_time"].is_string());
    let audit = world.run(&["audit", "list", "--json"]).exits(0);
    assert!(
        audit.out.contains("retention.confirm_clock"),
        "{}",
        audit.out
    );
}
