//! A provider with three tenants whose extensions overlap: set up from files, filled by `replay`, and asked over HTTP by a person
//! of each preset role, as README's example has it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callreel::storage::Layout;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::callreel;

const PASSWORD: &str = "correct horse 9 staple";

/// Slug, name, plan, last digit of the id, and of the network 10.N.0.0/16.
const TENANTS: [(&str, &str, &str, u8); 3] = [
    ("acme", "Acme Ltd", "premium", 1),
    ("globex", "Globex", "standard", 2),
    ("initech", "Initech", "basic", 3),
];

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The daemon, which ends with the test.
struct Provider {
    folder: TempDir,
    daemon: Option<Child>,
    port: u16,
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = Pid::from_child(&daemon);
            let _ = kill_process(pid, Signal::TERM);
            let _ = daemon.wait();
        }
    }
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Answer {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn items(&self) -> Vec<Value> {
        self.json()["items"].as_array().unwrap().clone()
    }
}

/// Somebody who has signed in with curl.
struct Person<'p> {
    provider: &'p Provider,
    jar: String,
    csrf: String,
}

impl Provider {
    fn new() -> Provider {
        let provider = Provider {
            folder: tempfile::tempdir().unwrap(),
            daemon: None,
            port: free_port(),
        };
        provider.write();
        provider
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self) {
        let (api, hep) = (self.port, free_port());
        let daemon = format!(
            "[capture.hep]\nlisten = \"127.0.0.1:{hep}\"\n[storage]\nroot = \"recordings\"\nkey_file = \"recordings.key\"\nmin_free_mib = 16\n\
             [catalog]\nurl = \"sqlite://catalog.db\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n[access]\nkey_file = \"access.key\"\n\
             argon2_memory_kib = 8192\nargon2_passes = 1\n\
             [plans.premium]\nfeatures = [\"download\", \"live_monitor\", \"api_access\", \"encryption\"]\n\
             [plans.standard]\nusers = 25\nfeatures = [\"download\"]\n[plans.basic]\nusers = 2\nfeatures = []\n"
        );
        fs::write(self.path().join("callreel.toml"), daemon).unwrap();
        fs::create_dir(self.path().join("tenants")).unwrap();
        for (slug, name, plan, n) in TENANTS {
            let tenant = format!(
                "[tenant]\nid = \"a0000000-0000-4000-8000-00000000000{n}\"\nname = \"{name}\"\nslug = \"{slug}\"\nplan = \"{plan}\"\n\
                 [[match]]\nnetworks = [\"10.{n}.0.0/16\"]\n[[extension]]\nnumber = \"1001\"\nuser = \"alice\"\n\
                 [[extension]]\nrange = \"1002-1099\"\n"
            );
            fs::write(self.path().join(format!("tenants/{slug}.toml")), tenant).unwrap();
        }
        fs::write(self.path().join("word"), PASSWORD).unwrap();
    }

    /// A command line, with the configuration behind it.
    fn run(&self, line: &str) -> String {
        let words: Vec<&str> = line
            .split(' ')
            .chain(["--config", "callreel.toml"])
            .collect();
        callreel(self.path(), &words, "").exits(0).out
    }

    fn start(&mut self) {
        let log = File::create(self.path().join("log")).unwrap();
        let daemon = Command::new(env!("CARGO_BIN_EXE_callreel"))
            .current_dir(self.path())
            .args(["run", "--config", "callreel.toml"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.daemon = Some(daemon.unwrap());
        let since = Instant::now();
        while self.curl(&["/health"]).status != 200 {
            let log = fs::read_to_string(self.path().join("log")).unwrap();
            assert!(since.elapsed() < Duration::from_secs(20), "{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last word is the path, others are curl's.
    fn curl(&self, words: &[&str]) -> Answer {
        let (path, options) = words.split_last().unwrap();
        let output = Command::new("curl")
            .current_dir(self.path())
            .args(["-s", "-o", "-", "-w", "\n%{http_code}"])
            .args(options)
            .arg(format!("http://127.0.0.1:{}{path}", self.port))
            .output()
            .expect("curl is there");
        let mut body = output.stdout;
        let end = body.iter().rposition(|byte| *byte == b'\n').unwrap();
        let status = String::from_utf8(body.split_off(end)).unwrap();
        Answer {
            status: status.trim().parse().unwrap(),
            body,
        }
    }

    fn sign_in(&self, tenant: &str, login: &str) -> Person<'_> {
        let sessions = fs::read_dir(self.path()).unwrap().count();
        let jar = format!("{tenant}-{login}-{sessions}.jar");
        let body = json!({ "tenant": tenant, "login": login, "password": PASSWORD }).to_string();
        let words = [
            "-c",
            &jar,
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
        ];
        let answer = self.curl(&[&words[..], &["/api/v1/session"]].concat());
        let session = answer.expect(201).json();
        assert_eq!(session["stage"], "complete", "{session}");
        Person {
            provider: self,
            jar,
            csrf: session["csrf_token"].as_str().unwrap().to_owned(),
        }
    }
}

impl Person<'_> {
    fn get(&self, path: &str) -> Answer {
        let path = format!("/api/v1{path}");
        self.provider.curl(&["-b", &self.jar, &path])
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (path, csrf) = (
            format!("/api/v1{path}"),
            format!("X-CSRF-Token: {}", self.csrf),
        );
        let body = body.to_string();
        let kind = "Content-Type: application/json";
        self.provider.curl(&[
            "-X", method, "-b", &self.jar, "-H", &csrf, "-H", kind, "-d", &body, &path,
        ])
    }

    /// The calls that are seen: when they began.
    fn calls(&self, query: &str) -> Vec<Value> {
        self.get(&format!("/calls?limit=100{query}"))
            .expect(200)
            .items()
    }

    fn role(&self, name: &str) -> Value {
        let roles = self.get("/roles").expect(200).items();
        let role = roles.iter().find(|role| role["name"] == name);
        role.unwrap_or_else(|| panic!("no {name}"))["role_id"].clone()
    }

    /// A user with the password that everybody has here.
    fn enrol(&self, login: &str, role: &str, more: &Value) -> Value {
        let mut body =
            json!({ "login": login, "role_id": self.role(role), "must_change_password": false });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        self.send("POST", "/users", &body).expect(201).json()
    }
}

fn id(of: &Value) -> &str {
    of["id"].as_str().unwrap()
}

/// With the people who administer it and its tenants, and four calls of each.
fn filled() -> Provider {
    let mut provider = Provider::new();
    provider.run("check");
    for line in ["root", "adam --role Administrator"] {
        provider.run(&format!("user create {line} --password-file word"));
    }
    for (slug, ..) in TENANTS {
        provider.run(&format!(
            "user create ann --tenant {slug} --password-file word"
        ));
    }
    let simulate = "simulate calls.pcap --calls 12 --tenants 3 --extensions 4 --talk 1";
    let words: Vec<&str> = simulate.split(' ').collect();
    callreel(provider.path(), &words, "").exits(0);
    provider.run("replay calls.pcap --quiet");
    provider.start();
    provider
}

/// Two of the System tenant, and six of Acme whom its administrator made: one of each preset role, and Bob, an agent in no group.
fn staff(provider: &Provider) -> Vec<(&'static str, Person<'_>)> {
    let ann = provider.sign_in("acme", "ann");
    let sales = ann.send("POST", "/groups", &json!({ "name": "Sales" }));
    let sales = sales.expect(201).json()["id"].clone();
    let people = [
        ("sue", "Supervisor", json!({ "managed_groups": [sales] })),
        ("ed", "Editor", json!({})),
        ("rea", "Reader", json!({})),
        ("alice", "Agent", json!({ "group_id": sales })),
        ("bob", "Agent", json!({})),
    ];
    let mut staff = vec![
        ("root", provider.sign_in("system", "root")),
        ("adam", provider.sign_in("system", "adam")),
        ("ann", ann),
    ];
    for (login, role, more) in people {
        staff[2].1.enrol(login, role, &more);
        provider.run(&format!(
            "user password {login} --tenant acme --password-file word"
        ));
        staff.push((login, provider.sign_in("acme", login)));
    }
    staff
}

fn tenant_id(number: u8) -> String {
    format!("a0000000-0000-4000-8000-00000000000{number}")
}

/// How many calls there are for each: of all tenants, of Acme, of Sales, one's own, none.
fn each_sees_so_many_calls(provider: &Provider, staff: &[(&str, Person<'_>)]) {
    let seen: Vec<(&str, usize)> = staff
        .iter()
        .map(|(who, person)| (*who, person.calls("").len()))
        .collect();
    let expected = [
        ("root", 12),
        ("adam", 12),
        ("ann", 4),
        ("sue", 2),
        ("ed", 4),
        ("rea", 4),
        ("alice", 2),
        ("bob", 0),
    ];
    assert_eq!(seen, expected);
    for (slug, .., plan, number) in TENANTS {
        for file in files_of(provider, number) {
            let is_encrypted = fs::read(&file).unwrap().starts_with(b"callreel-sealed");
            assert_eq!(is_encrypted, plan == "premium", "{}", file.display());
        }
        let of_tenant = provider.sign_in(slug, "ann").calls("");
        assert_eq!(of_tenant.len(), 4);
        let tenant = tenant_id(number);
        assert!(
            of_tenant
                .iter()
                .all(|call| call["tenant_id"] == tenant.as_str())
        );
    }
}

/// The files of a tenant's recordings.
fn files_of(provider: &Provider, number: u8) -> Vec<PathBuf> {
    let root = provider.path().join("recordings");
    let layout = Layout::new(&root);
    let all = layout.walk(|_, error| panic!("{error}")).into_iter();
    let own = all.filter(|(name, _)| name.tenant.to_string() == tenant_id(number));
    let files: Vec<_> = own.map(|(name, kind)| layout.path(&name, kind)).collect();
    assert_eq!(files.len(), 8, "audio and sidecar of four calls");
    files
}

/// What each gets, in the order of [`staff`].
fn each_reaches_what_is_its_own(staff: &[(&str, Person<'_>)]) {
    let of = |number: u8, users: &Value| {
        let mut calls = staff[0].1.calls("").into_iter();
        let tenant = tenant_id(number);
        let call = calls.find(|call| call["tenant_id"] == tenant && call["users"] == *users);
        id(&call.unwrap()).to_owned()
    };
    let (alices, nobodys) = (of(1, &json!(["alice"])), of(1, &json!([])));
    let (globex, initech) = (of(2, &json!(["alice"])), of(3, &json!(["alice"])));
    #[rustfmt::skip]
    let table: [(String, [u16; 8]); 14] = [
        (format!("/calls/{alices}"), [200, 200, 200, 200, 200, 200, 200, 404]),
        (format!("/calls/{nobodys}"), [200, 200, 200, 404, 200, 200, 404, 404]),
        (format!("/calls/{globex}"), [200, 200, 404, 404, 404, 404, 404, 404]),
        (format!("/calls/{alices}/audio"), [200, 200, 200, 200, 200, 200, 200, 404]),
        (format!("/calls/{globex}/audio"), [200, 200, 404, 404, 404, 404, 404, 404]),
        (format!("/calls/{alices}/audio?download=true"), [200, 200, 200, 200, 403, 403, 403, 403]),
        // Nobody takes along what the plan of the call's tenant does not give.
        (format!("/calls/{initech}/audio?download=true"), [403, 403, 404, 404, 403, 403, 403, 403]),
        (format!("/calls/{initech}/audio"), [200, 200, 404, 404, 404, 404, 404, 404]),
        ("/users".into(), [200, 200, 200, 200, 200, 200, 403, 403]),
        ("/roles".into(), [200, 200, 200, 403, 403, 200, 403, 403]),
        ("/extensions".into(), [200, 200, 200, 200, 403, 200, 403, 403]),
        ("/audit".into(), [200, 200, 200, 403, 403, 403, 403, 403]),
        ("/tenants".into(), [200, 200, 403, 403, 403, 403, 403, 403]),
        ("/active-calls".into(), [200, 200, 200, 200, 200, 200, 200, 200]),
    ];
    let mut wrong = Vec::new();
    for (path, expected) in &table {
        for ((who, person), expected) in staff.iter().zip(expected) {
            let status = person.get(path).status;
            if status != *expected {
                wrong.push(format!("{who} GET {path}: {status}, not {expected}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    for (who, person) in staff {
        let made = json!({ "name": format!("Made by {who}") });
        let status = person.send("POST", "/groups", &made).status;
        let may = ["root", "adam", "ann"].contains(who);
        assert_eq!(status, if may { 201 } else { 403 }, "{who}");
    }
    // Of users: all, those of Acme, those of Sales.
    let users = |who: usize| staff[who].1.get("/users").expect(200).items().len();
    assert_eq!((users(0), users(2), users(3)), (10, 6, 1));
}

/// No token at Globex and Initech, and no third user at Initech.
fn plans_give_what_they_say(provider: &Provider) {
    let permissions = json!({ "calls": ["view"] });
    let account = json!({ "name": "CRM", "reason": "shows calls", "permissions": permissions });
    for (slug, status) in [("acme", 201), ("globex", 403), ("initech", 403)] {
        let ann = provider.sign_in(slug, "ann");
        ann.send("POST", "/service-accounts", &account)
            .expect(status);
    }
    let ann = provider.sign_in("initech", "ann");
    ann.enrol("second", "Reader", &json!({}));
    let third = json!({ "login": "third", "role_id": ann.role("Reader") });
    let refused = ann.send("POST", "/users", &third).expect(409).json();
    assert_eq!(refused["field"], "active");
}

/// Acme's 1002, which is Globex's and Initech's too.
fn a_number_is_given_in_one_tenant_only(provider: &Provider, ann: &Person<'_>) {
    let first = |path: &str| ann.get(path).expect(200).items().remove(0);
    let (bob, range) = (first("/users?login=bob"), first("/extensions?number=1002"));
    let path = format!("/extensions/{}/allocations", id(&range));
    let body = json!({ "user_id": id(&bob), "number": "1002" });
    ann.send("POST", &path, &body).expect(201);
    let shown = ann.get(&format!("/users/{}", id(&bob))).expect(200).json();
    assert_eq!(shown["extensions"][0]["number"], "1002");
    let is_bobs = |address: &str| {
        let line = format!("match --json --caller 1002 --callee 5 --from-address {address}");
        provider.run(&line).contains("\"user\": \"bob\"")
    };
    assert!(is_bobs("10.1.0.9") && !is_bobs("10.2.0.9"));
}

#[test]
fn each_preset_role_sees_exactly_what_is_its_own_at_a_provider_with_three_tenants() {
    let provider = filled();
    let staff = staff(&provider);
    each_sees_so_many_calls(&provider, &staff);
    each_reaches_what_is_its_own(&staff);
    plans_give_what_they_say(&provider);
    a_number_is_given_in_one_tenant_only(&provider, &staff[2].1);
}
