//! `callreel match`.

use std::fs;

use super::check::configured;
use super::world::{World, callreel};

#[test]
fn a_match_names_candidate_rule_and_extension_line() {
    let world = World::new();
    let line = [
        "match",
        "--caller",
        "1001",
        "--callee",
        "+44 20 7946 0000",
        "--from-address",
        "10.1.0.5",
    ];
    let found = world.run(&line).exits(0);
    for expected in [
        "verdict: owned by Tenant 1 (caller)",
        "caller: Tenant 1 by from \"1001\", looked up as 1001",
        "  extension 1001, user user1001: tenants/tenant1.toml:9",
        "  match rule: tenants/tenant1.toml:5",
        "an extension fits, but `networks` of its rule does not hold",
        "Tenant 1  yes       the tenant's policy is all",
    ] {
        assert!(found.out.contains(expected), "{expected}\n{}", found.out);
    }
    let json = world
        .run(&[&line[..], &["--json"]].concat())
        .exits(0)
        .json();
    assert_eq!(json["attribution"]["caller"]["rule"]["line"], 5);
    assert_eq!(
        json["attribution"]["considered"][1]["outcome"]["key"],
        "networks"
    );
    let callee = &json["candidates"][1];
    assert_eq!(
        (&callee["source"], &callee["number"]),
        (&"request-uri".into(), &"+442079460000".into())
    );
    assert_eq!(callee["host"], "");
    let nobody = world
        .run(&["match", "--caller", "1001", "--callee", "1002"])
        .exits(1);
    assert!(
        nobody.out.starts_with("verdict: nobody's\n"),
        "{}",
        nobody.out
    );
}

const INVITE: &str = "INVITE sip:1002@10.1.1.1 SIP/2.0\nVia: SIP/2.0/UDP 10.1.1.4;branch=z9hG4bK1\nf: \"Anna\" <sip:9999@pbx>;tag=a\n\
    t: <sip:1002@10.1.1.1>\nP-Asserted-Identity: <sip:1003@10.1.1.1>\ni: x\nCSeq: 1 INVITE\nl: 0\n\n";

#[test]
fn a_match_reads_a_real_invite() {
    let world = World::new();
    let line = [
        "match",
        "--invite",
        "-",
        "--from-address",
        "10.2.0.5",
        "--answered-by",
        "1007",
        "--json",
    ];
    let json = world.run_with_input(&line, INVITE).exits(0).json();
    let claim = |side: &str| {
        let claim = &json["attribution"][side];
        (
            claim["source"].as_str().unwrap(),
            claim["number"].as_str().unwrap(),
            claim["user"].as_str().unwrap(),
        )
    };
    assert_eq!(claim("caller"), ("p-asserted-identity", "1003", "user1003"));
    assert_eq!(claim("callee"), ("answer-contact", "1007", "user1007"));
    fs::write(
        world.path("invite.txt"),
        INVITE.replace("INVITE", "OPTIONS"),
    )
    .unwrap();
    let refused = world.run(&["match", "--invite", "invite.txt"]).exits(2);
    assert!(
        refused.err.contains("the message is OPTIONS, not INVITE"),
        "{}",
        refused.err
    );
}

#[test]
fn headers_of_a_match_are_read_as_those_of_an_invite() {
    let tenant = "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497dbdff\"\nname = \"Acme\"\n\n\
        [[match]]\nvlans = [7]\nheaders = { \"X-Customer\" = \"acme\" }\n\n[[extension]]\nnumber = \"1001\"\n";
    let folder = configured("", tenant);
    let ask = |more: &[&str]| {
        let line = [
            "match",
            "--config",
            "callreel.toml",
            "--caller",
            "anonymous",
            "--callee",
            "0800",
        ];
        callreel(folder.path(), &[&line, more].concat(), "")
    };
    let identity = [
        "--header",
        "P-Asserted-Identity: <sip:1001@pbx>",
        "--header",
        "x-customer: acme",
    ];
    ask(&[&identity[..], &["--vlan", "3", "--vlan", "7"]].concat()).exits(0);
    ask(&identity).exits(1);
    ask(&["--vlan", "7", "--header", "X-Customer: acme"]).exits(1);
    for header in ["no colon", "X Y: 1", "X: 1\r\nTo: <sip:1001@x>"] {
        ask(&["--header", header]).exits(2);
    }
}

#[test]
fn a_tunnel_around_the_packet_decides_whose_call_it_is() {
    let tenant = "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497dbdff\"\nname = \"Acme\"\n\n\
        [[match]]\ntunnels = [\"vxlan:5001\", \"gre\"]\n\n[[extension]]\nnumber = \"1001\"\n";
    let folder = configured("", tenant);
    let ask = |tunnels: &[&str]| {
        let mut line = vec!["match", "--config", "callreel.toml"];
        line.extend(["--caller", "1001", "--callee", "0800"]);
        line.extend(tunnels.iter().flat_map(|tunnel| ["--tunnel", tunnel]));
        callreel(folder.path(), &line, "")
    };
    let found = ask(&["erspan:7", "vxlan:5001"]).exits(0);
    for expected in ["owned by Acme", ", tunnel erspan:7, tunnel vxlan:5001"] {
        assert!(found.out.contains(expected), "{expected}\n{}", found.out);
    }
    ask(&["gre:77"]).exits(0);
    let other = ask(&["vxlan:5002"]).exits(1);
    assert!(
        other.out.contains("`tunnels` of its rule does not hold"),
        "{}",
        other.out
    );
    // Somebody in VXLAN 5002 says to be in 5001.
    ask(&["vxlan:5002", "vxlan:5001"]).exits(1);
    let refused = ask(&["vlan:7"]).exits(2);
    assert!(
        refused.err.contains("known are gre, nvgre"),
        "{}",
        refused.err
    );
}
