//! The room as a whole: files in, settings and directory or rendered errors out.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::base::{SYSTEM_TENANT, TenantId};
use crate::directory::{CallFacts, Candidate, CandidateSource, Nearness, Policy};

/// The example files of the project.
fn examples() -> PathBuf {
    let room = Path::new(file!())
        .parent()
        .and_then(Path::parent)
        .and_then(Path::parent);
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(room.unwrap())
        .join("config")
}

/// A folder with `callreel.toml` and `tenants/*.toml`.
struct Files(tempfile::TempDir);

fn files(files: &[(&str, &str)]) -> Files {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tenants")).unwrap();
    std::fs::write(folder.path().join("callreel.toml"), "").unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    Files(folder)
}

impl Files {
    fn load(&self) -> Result<Loaded, Error> {
        load(&self.0.path().join("callreel.toml"))
    }

    /// The errors as rendered, the folder's path taken out.
    fn errors(&self) -> String {
        let folder = format!("{}/", self.0.path().display());
        self.load().unwrap_err().to_string().replace(&folder, "")
    }
}

fn tenant(id: u8, name: &str, rest: &str) -> String {
    format!(
        "[tenant]\nid = \"00000000-0000-4000-8000-0000000000{id:02x}\"\nname = \"{name}\"\n{rest}"
    )
}

#[test]
fn the_examples_load_and_match() {
    let loaded = load(&examples().join("callreel.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.files.len(), 7);
    assert_eq!(loaded.directory.tenants().count(), 7);
    let owner = |from: &str, caller: &str, to: &str, callee: &str| {
        let attribution = loaded.directory.attribute(&CallFacts {
            sensor: "",
            interface: "",
            vlans: &[],
            caller_address: caller.parse().unwrap(),
            callee_address: callee.parse().unwrap(),
            caller: &[Candidate {
                source: CandidateSource::From,
                user: from,
                host: "",
            }],
            callee: &[Candidate {
                source: CandidateSource::RequestUri,
                user: to,
                host: "",
            }],
            headers: &|_| None,
            tunnels: crate::base::Tunnels::NONE,
        });
        let caller = attribution.caller.map(|claim| (claim.user, claim.nearness));
        let names = attribution.owners.iter().map(|owner| {
            loaded
                .directory
                .tenant(owner.tenant)
                .unwrap()
                .name
                .to_string()
        });
        (names.collect::<Vec<_>>(), caller)
    };
    let near = |user: &str| Some((Some(user.into()), Nearness::Near));
    assert_eq!(
        owner("1111", "192.168.20.5", "2222", "192.168.20.6"),
        (vec!["Fixture captures".into()], near("caller"))
    );
    assert_eq!(
        owner("1001", "10.20.0.5", "1150", "10.20.0.1"),
        (vec!["Acme Ltd".into()], near("alice"))
    );
    assert_eq!(
        owner("1001", "10.30.0.5", "1150", "10.30.0.1"),
        (vec!["Globex".into()], near("hank"))
    );
    assert_eq!(
        owner("07911123456", "203.0.113.9", "902079460101", "10.20.0.1"),
        (vec!["Acme Ltd".into()], None)
    );
    assert_eq!(
        owner("1001", "10.30.0.5", "1001", "10.20.0.5").0,
        ["Globex", "Acme Ltd"]
    );
}

#[test]
fn the_example_shows_the_defaults() {
    let text = std::fs::read_to_string(examples().join("callreel.toml")).unwrap();
    let as_is = files(&[("callreel.toml", &text)]).load().unwrap().settings;
    assert_eq!(
        Settings {
            plans: as_is.plans.clone(),
            ..Settings::default()
        },
        as_is
    );
    // What is commented out says the same, but for keys that have no default to show.
    let without_default = [
        "name",
        "interfaces",
        "filter",
        "hep",
        "tls_keylog",
        "syslog",
        "file",
    ];
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| {
            match line
                .strip_prefix("# ")
                .and_then(|rest| Some((rest, rest.split_once(" = ")?.0)))
            {
                Some((rest, key)) if !key.contains(' ') && !without_default.contains(&key) => rest,
                _ => line,
            }
        })
        .collect();
    let shown = files(&[("callreel.toml", &uncommented.join("\n"))])
        .load()
        .unwrap()
        .settings;
    assert_eq!(shown, as_is);
}

#[test]
fn agents_are_listened_to_where_it_is_written() {
    let load = |text: &str| files(&[("callreel.toml", text)]).load();
    let hep = |text: &str| load(text).unwrap().settings.capture.hep;
    assert_eq!(hep(""), None);
    let defaults = hep("[capture.hep]\n").unwrap();
    assert_eq!(defaults.listen, "127.0.0.1:9060".parse().unwrap());
    let text = "[capture.hep]\nlisten = \"0.0.0.0:9061\"\nnetworks = [\"10.0.0.0/8\"]\npassword = \"secret\"\n";
    let all = load(text).unwrap();
    assert!(all.warnings.is_empty());
    assert_eq!(&*all.settings.capture.sources(), &["hep".into()]);
    let told = format!("{:?}", all.settings) + &serde_json::to_string(&all.settings).unwrap();
    assert!(!told.contains("secret") && told.contains("10.0.0.0/8"));
    assert_eq!(
        all.settings.capture.hep.unwrap().password.unwrap().reveal(),
        "secret"
    );
    let open = load("[capture.hep]\nlisten = \"0.0.0.0:9061\"\n").unwrap();
    assert!(
        open.warnings[0]
            .message
            .contains("anybody who reaches this address")
    );
}

#[test]
fn where_http_is_served_and_whose_word_is_taken() {
    let load = |text: &str| files(&[("callreel.toml", text)]).load();
    let text = "[api]\nlisten = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\nmax_body_kib = 64\n\
        [api.tls]\ncertificate = \"tls/chain.pem\"\nkey = \"/etc/key.pem\"\n";
    let loaded = load(text).unwrap();
    assert!(loaded.warnings.is_empty());
    let api = loaded.settings.api;
    assert_eq!((api.trusted_proxies.len(), api.max_body_kib), (2, 64));
    let tls = api.tls.unwrap();
    assert_eq!(tls.listen, "0.0.0.0:8443".parse().unwrap());
    assert!(tls.certificate.is_absolute() && tls.certificate.ends_with("tls/chain.pem"));
    assert_eq!(tls.key, Path::new("/etc/key.pem"));
    let open = load("[api]\nlisten = \"0.0.0.0:80\"\n").unwrap();
    assert!(open.warnings[0].message.contains("reads passwords"));
    for (text, wrong) in [
        (
            "[api]\ntrusted_proxies = [\"0.0.0.0/0\"]\n",
            "that is everybody",
        ),
        (
            "[api]\ntrusted_proxies = [\"proxy\"]\n",
            "not an IPv4 or IPv6 address",
        ),
        ("[api.tls]\nkey = \"k\"\n", "`certificate` is missing"),
        (
            "[api.tls]\ncertificate = \"\"\nkey = \"k\"\n",
            "must not be empty",
        ),
        ("[api]\nmax_connections = 1\n", "max_connections"),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn ports_of_tunnels_are_of_one_kind() {
    let load = |text: &str| files(&[("callreel.toml", text)]).load();
    let tunnels = load("[capture.tunnels]\nvxlan = []\nhep = 9060\n")
        .unwrap()
        .settings
        .capture
        .tunnels;
    assert_eq!((tunnels.vxlan, tunnels.hep), (vec![], Some(vec![9060])));
    let error = load("[capture.tunnels]\ngeneve = [4789]\n").unwrap_err();
    assert!(
        error.diagnostics()[0]
            .message
            .contains("port 4789 is there twice")
    );
}

#[test]
fn the_key_log_lies_beside_the_configuration() {
    let text = "[capture]\ntls_keylog = \"keys\"\ntls_ports = [5061, 7443]\n";
    let files = files(&[("callreel.toml", text)]);
    let capture = files.load().unwrap().settings.capture;
    assert_eq!(capture.tls_ports, [5061, 7443]);
    assert!(
        capture
            .tls_keylog
            .is_some_and(|path| path.is_absolute() && path.ends_with("keys"))
    );
}

#[test]
fn letters_and_sessions_are_as_they_are_written() {
    let text = "[access]\nbase_url = \"https://rec.example/\"\n\
                reset_url = \"https://portal.example/new?lang=de\"\nsession_hours = 8\nkey_file = \"access.key\"\n\
                [mail]\nhost = \"mail.example\"\nfrom = \"callreel@rec.example\"\ntls = \"tls\"\nuser = \"u\"\npassword_file = \"word\"\n";
    let files = files(&[("callreel.toml", text), ("word", "open sesame\n")]);
    let loaded = files.load().unwrap();
    let access = &loaded.settings.access;
    assert_eq!(access.base_url.as_deref(), Some("https://rec.example"));
    let page = access.reset_url.as_deref();
    assert_eq!(page, Some("https://portal.example/new?lang=de"));
    assert_eq!((access.session_hours, access.session_idle_minutes), (8, 30));
    assert!(access.key_file.is_absolute(), "{:?}", access.key_file);
    let mail = loaded.settings.mail.unwrap();
    assert_eq!((mail.port, mail.tls), (465, super::MailTls::Tls));
    assert_eq!(mail.password.as_ref().unwrap().reveal(), "open sesame");
    assert!(!format!("{mail:?}").contains("sesame"));
}

#[test]
fn mistakes_about_signing_in_are_named() {
    let message = |text: &str| {
        let files = files(&[("callreel.toml", text)]);
        files.load().unwrap_err().diagnostics()[0].message.clone()
    };
    assert_eq!(
        message("[access]\nbase_url = \"rec.example\"\n"),
        "`rec.example` is not a scheme and a host such as \"https://callreel.example\""
    );
    for wrong in [
        "portal.example/new",
        "https://portal.example/new#token=",
        "ftp://portal.example/",
        "https://portal.example/a b",
    ] {
        let told = message(&format!("[access]\nreset_url = \"{wrong}\"\n"));
        assert!(
            told.starts_with(&format!("`{wrong}` is not a link")),
            "{told}"
        );
    }
    assert_eq!(message("[mail]\nhost = \"m\"\n"), "`from` is missing here");
    assert_eq!(
        message("[mail]\nhost = \"m\"\nfrom = \"a@b\"\nuser = \"u\"\n"),
        "`user` and a password go together"
    );
    assert_eq!(
        message("[access]\nargon2_memory_kib = 8\n"),
        "`argon2_memory_kib` must be from 8192 to 1048576"
    );
}

#[test]
fn nothing_written_is_the_default() {
    let loaded = files(&[]).load().unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.directory.tenants().count(), 1);
    assert_eq!(loaded.settings.tenancy.unattributed, Unattributed::Keep);
}

#[test]
fn a_missing_file_is_said() {
    let error = load(Path::new("/nonexistent/callreel.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: cannot read /nonexistent/callreel.toml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn all_errors_of_all_files_are_shown_at_once() {
    let files = files(&[
        (
            "callreel.toml",
            "[capture]\nsip_port = [5060]\nring_mib = \"x\"\nsnaplen = 10\n[storag]\n[log]\nlevel = \"inf\"\n[api]\nlisten = \"localhost\"\n",
        ),
        (
            "tenants/a.toml",
            "[tenant]\nid = \"34c7f1f6\"\nname = \"A\"\nplan = \"gold\"\n[[match]]\nnetwroks = [\"10.0.0.0/8\"]\nnetworks = [\"10.0.0.1/8\"]\n[[extension]]\nnumber = 1001\n[[rewrite]]\npattern = \"(a\"\nreplacement = \"\"\n",
        ),
        ("tenants/b.toml", "[tenant\n"),
    ]);
    assert_eq!(
        files.errors(),
        r#"error: unknown key `sip_port`
 --> callreel.toml:2:1
  |
2 | sip_port = [5060]
  | ^^^^^^^^
  |
  = help: did you mean `sip_ports`?

error: expected an integer, found a string
 --> callreel.toml:3:12
  |
3 | ring_mib = "x"
  |            ^^^

error: `snaplen` must be from 256 to 262144
 --> callreel.toml:4:11
  |
4 | snaplen = 10
  |           ^^

error: unknown key `storag`
 --> callreel.toml:5:2
  |
5 | [storag]
  |  ^^^^^^
  |
  = help: did you mean `storage`?

error: `inf` is none of the choices here
 --> callreel.toml:7:9
  |
7 | level = "inf"
  |         ^^^^^
  |
  = help: did you mean `info`?

error: `localhost` is not an address and port such as "127.0.0.1:8080"
 --> callreel.toml:9:10
  |
9 | listen = "localhost"
  |          ^^^^^^^^^^^

error: `34c7f1f6` is not a UUID
 --> tenants/a.toml:2:6
  |
2 | id = "34c7f1f6"
  |      ^^^^^^^^^^
  |
  = help: a UUID looks like 34c7f1f6-9201-11e5-a739-e03f497dbdff; `uuidgen` makes one

error: there is no plan `gold`
 --> tenants/a.toml:4:8
  |
4 | plan = "gold"
  |        ^^^^^^
  |
  = help: plans are made in the daemon's file, as `[plans.NAME]`

error: unknown key `netwroks`
 --> tenants/a.toml:6:1
  |
6 | netwroks = ["10.0.0.0/8"]
  | ^^^^^^^^
  |
  = help: did you mean `networks`?

error: `10.0.0.1/8` has bits set past its prefix; the network is 10.0.0.0/8
 --> tenants/a.toml:7:13
  |
7 | networks = ["10.0.0.1/8"]
  |             ^^^^^^^^^^^^

error: expected a string, found an integer
 --> tenants/a.toml:9:10
  |
9 | number = 1001
  |          ^^^^
  |
  = help: put it in quotes: "1001"

error: this is no regular expression: unclosed group
  --> tenants/a.toml:11:11
   |
11 | pattern = "(a"
   |           ^^^^

error: unclosed table, expected `]`
 --> tenants/b.toml:1:8
  |
1 | [tenant
  |        ^
"#
    );
}

#[test]
fn a_clash_shows_both_files() {
    let one = tenant(
        1,
        "Acme",
        "[[match]]\nnetworks = [\"10.0.0.0/8\"]\n[[extension]]\nnumber = \"1001\"\n",
    );
    let two = tenant(
        2,
        "Globex",
        "[[match]]\nnetworks = [\"10.2.0.0/16\"]\n[[extension]]\nrange = \"1000-1999\"\n",
    );
    let files = files(&[("tenants/acme.toml", &one), ("tenants/globex.toml", &two)]);
    assert_eq!(
        files.errors(),
        r#"error: extension 1001 of Acme and extension 1000-1999 of Globex overlap, and their match rules can hold for the same call
 --> tenants/globex.toml:7:1
  |
7 | range = "1000-1999"
  | ^^^^^^^^^^^^^^^^^^^
  |
 ::: tenants/globex.toml:4:1
  |
4 | [[match]]
  | --------- Globex by this rule
  |
 ::: tenants/acme.toml:7:1
  |
7 | number = "1001"
  | --------------- Acme has it here
  |
 ::: tenants/acme.toml:4:1
  |
4 | [[match]]
  | --------- Acme by this rule
  |
  = help: tell the rules apart by networks, vlans, tunnels, interfaces, sensors, domains or exact headers, or remove the extension from one of them
"#
    );
}

#[test]
fn a_rule_of_claims_alone_is_refused_at_its_line() {
    let text = tenant(
        1,
        "A",
        "[[match]]\ndomains = [\"a.example.com\"]\n[[extension]]\nnumber = \"1\"\n",
    );
    let errors = files(&[("tenants/a.toml", &text)]).load().unwrap_err();
    let [error] = errors.diagnostics() else {
        panic!("{errors}")
    };
    assert_eq!((error.line, error.column), (4, 1));
    assert!(error.message.contains("any phone can forge"));
    assert!(
        error
            .help
            .as_ref()
            .unwrap()
            .contains("trust_signalling = true")
    );
    let trusted = text.replace("[[ext", "trust_signalling = true\n[[ext");
    assert!(files(&[("tenants/a.toml", &trusted)]).load().is_ok());
}

#[test]
fn errors_are_fields_for_programs() {
    let errors = files(&[("callreel.toml", "[log]\n  \"é\" = 1\n")])
        .load()
        .unwrap_err();
    let json = serde_json::to_value(errors.diagnostics()).unwrap();
    assert_eq!(json[0]["line"], 2);
    assert_eq!(json[0]["column"], 3);
    assert_eq!(json[0]["severity"], "error");
    assert_eq!(json[0]["message"], "unknown key `é`");
    assert_eq!(json[0]["help"], "possible here: `format`, `level`");
    assert!(errors.render(true).contains("\u{1b}["));
    assert!(!errors.render(false).contains('\u{1b}'));
}

#[test]
fn other_mistakes_are_named() {
    let message = |rest: &str| {
        let files = files(&[("tenants/a.toml", &tenant(1, "A", rest))]);
        files.load().unwrap_err().diagnostics()[0].message.clone()
    };
    assert_eq!(
        message("[[extension]]\n"),
        "an extension needs one of `number`, `range` and `prefix`"
    );
    assert_eq!(
        message("[[extension]]\nnumber = \"1\"\nprefix = \"1\"\n"),
        "an extension has only one of `number`, `range` and `prefix`"
    );
    assert_eq!(
        message("[[extension]]\nrange = \"2-1\"\n"),
        "the first number of the range is greater than its last"
    );
    assert_eq!(
        message("[[match]]\n"),
        "this match rule names nothing, so it would hold for every call"
    );
    assert_eq!(
        message("[[match]]\nnetworks = []\n"),
        "`networks` is empty; leave it out, or name something"
    );
    assert_eq!(
        message("[[match]]\nvlans = [4095]\n"),
        "`vlans` must be from 1 to 4094"
    );
    assert_eq!(
        message("[recording]\npolicy = \"sample\"\n"),
        "`sample` (percent) is missing here"
    );
    assert_eq!(
        message("[recording]\npolicy = \"all\"\nsample = 5\n"),
        "`sample` goes with policy = \"sample\" only"
    );
    assert_eq!(
        message("country = \"XX\"\n"),
        "`XX` is not a country whose numbering is known here"
    );
    let id = "11111111-1111-1111-1111-111111111111";
    assert_eq!(
        message(&format!("slug = \"{id}\"\n")),
        format!("`{id}` is no short name: it could be another tenant's id")
    );
    assert_eq!(
        message("timezone = \"London\"\n"),
        "`London` is not a time zone such as \"Europe/London\" or \"UTC\""
    );
    assert_eq!(
        message("[candidates]\ncaller = [\"to\"]\n"),
        "`to` is none of the choices here"
    );
    assert_eq!(
        message("[match]\n"),
        "expected tables `[[match]]`, found a table"
    );
    let no_head = files(&[("tenants/a.toml", "")]).load().unwrap_err();
    assert_eq!(
        no_head.diagnostics()[0].message,
        "a tenant's file needs a table `[tenant]` with `id` and `name`"
    );
}

#[test]
fn bytes_that_are_not_text_are_located() {
    let files = files(&[]);
    std::fs::write(
        files.0.path().join("tenants/a.toml"),
        b"[tenant]\nname = \"\xff\"\n",
    )
    .unwrap();
    let errors = files.load().unwrap_err();
    let error = &errors.diagnostics()[0];
    assert_eq!(
        (error.line, &*error.message),
        (2, "this line is not UTF-8, which TOML must be")
    );
}

#[test]
fn a_tenant_that_claims_nothing_is_a_warning() {
    let loaded = files(&[(
        "tenants/a.toml",
        &tenant(1, "A", "[[extension]]\nnumber = \"1\"\n"),
    )])
    .load()
    .unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(
        (loaded.warnings[0].severity, loaded.warnings[0].line),
        (Severity::Warning, 1)
    );
}

#[test]
fn settings_of_a_tenant_reach_the_directory() {
    let head = "timezone = \"Europe/London\"\nlanguage = \"en-GB\"\ncountry = \"gb\"\nplan = \"p\"\n[recording]\nsample = 25\nminimum_seconds = 3\n";
    let files = files(&[
        (
            "callreel.toml",
            "[plans.p]\nretention_days = 7\n[tenancy]\nsystem_name = \"House\"\n[storage]\nroot = \"recordings\"\n",
        ),
        ("tenants/a.toml", &tenant(1, "A", head)),
    ]);
    let loaded = files.load().unwrap();
    let id: TenantId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    let tenant = loaded.directory.tenant(id).unwrap();
    assert_eq!(tenant.recording.policy, Policy::Sample { percent: 25 });
    assert_eq!(tenant.recording.minimum_seconds, 3);
    assert_eq!(tenant.country.unwrap().iso(), "GB");
    assert_eq!(
        (
            tenant.plan.as_deref(),
            tenant.timezone.as_deref(),
            tenant.language.as_deref()
        ),
        (Some("p"), Some("Europe/London"), Some("en-GB"))
    );
    assert_eq!(
        &*loaded.directory.tenant(SYSTEM_TENANT).unwrap().name,
        "House"
    );
    assert_eq!(loaded.settings.plans["p"].retention_days, Some(7));
    assert_eq!(
        loaded.settings.storage.root,
        files.0.path().join("recordings")
    );
    assert_eq!(loaded.folders, [files.0.path().join("tenants")]);
}

#[test]
fn the_only_tenant_needs_no_rule_and_has_no_other_beside_it() {
    let daemon = ("callreel.toml", "[tenancy]\nmulti = false\n");
    let system = |name: &str| {
        format!(
            "[tenant]\nid = \"{SYSTEM_TENANT}\"\nname = \"{name}\"\n[[extension]]\nnumber = \"1\"\n"
        )
    };
    let loaded = files(&[daemon, ("tenants/a.toml", &system("House"))])
        .load()
        .unwrap();
    assert!(!loaded.settings.tenancy.multi);
    assert_eq!(loaded.directory.rule_count(), 1);
    let error = files(&[daemon, ("tenants/a.toml", &tenant(1, "A", ""))])
        .load()
        .unwrap_err();
    let found = &error.diagnostics()[0];
    assert!(found.message.contains("the System tenant is the only one") && found.line == 1);
}

#[test]
fn a_plan_has_only_features_that_there_are() {
    let load = |text: &str| files(&[("callreel.toml", text)]).load();
    let plan =
        "[plans.p]\nusers = 3\nminutes_per_month = 100\nfeatures = [\"download\"]\n[plans.q]\n";
    let settings = load(plan).unwrap().settings;
    assert_eq!(
        settings.plans["p"].features.as_deref().unwrap(),
        ["download"]
    );
    assert_eq!(
        (settings.plans["p"].users, &settings.plans["q"].features),
        (Some(3), &None)
    );
    let line = settings.plans["q"].place.0.as_ref().unwrap().line;
    assert_eq!(line, 5);
    let error = load("[plans.p]\nfeatures = [\"downloads\"]\n").unwrap_err();
    let found = &error.diagnostics()[0];
    assert_eq!(found.help.as_deref(), Some("did you mean `download`?"));
}

#[test]
fn recordings_are_encrypted_for_who_has_a_plan_that_names_it() {
    let daemon = "[storage]\nkey_file = \"recordings.key\"\n[tenancy]\ntenants = \"*.tenant\"\n[plans.p]\n\
                  features = [\"download\", \"encryption\"]\n[plans.q]\nusers = 3\n";
    let tenant = |n: u8, plan: &str| {
        format!(
            "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497db{n:03}\"\nname = \"T{n}\"\n{plan}\n[[match]]\nnetworks = [\"10.{n}.0.0/16\"]\n"
        )
    };
    let (named, other, none) = (
        tenant(1, "plan = \"p\""),
        tenant(2, "plan = \"q\""),
        tenant(3, ""),
    );
    let texts = [
        ("callreel.toml", daemon),
        ("a.tenant", &named),
        ("b.tenant", &other),
        ("c.tenant", &none),
    ];
    let loaded = files(&texts).load().unwrap();
    let encrypted: Vec<bool> = (loaded.tenants.iter())
        .map(|tenant| tenant.definition.recording.encrypted)
        .collect();
    assert_eq!(encrypted, [true, false, false]);
    let storage = &loaded.settings.storage;
    assert!(storage.key_file.is_absolute() && storage.key_file.ends_with("recordings.key"));
    assert_eq!(storage.encrypt, Encrypt::Plans);
    let all = files(&[("callreel.toml", "[storage]\nencrypt = \"all\"\n")]);
    assert_eq!(all.load().unwrap().settings.storage.encrypt, Encrypt::All);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_panic(daemon in proptest::collection::vec(any::<u8>(), 0..200), tenant in "[\\[\\]a-z=\"{}.,#\n0-9]{0,200}") {
        let files = files(&[("tenants/a.toml", &tenant)]);
        std::fs::write(files.0.path().join("callreel.toml"), daemon).unwrap();
        if let Err(error) = files.load() {
            prop_assert!(!error.render(true).is_empty());
        }
    }

    /// The examples with one piece replaced: still TOML mostly, and wrong in every way.
    #[test]
    fn no_change_to_the_examples_panics(
        which in 0_usize..2,
        at in 0_usize..3000,
        len in 0_usize..12,
        with in proptest::sample::select(vec!["", "\"", "1", "-1", "[", "]", "{ a = 1 }", "true", "1979-05-27", "99999999999999999999", "é", "\"\"", "\"*\"", "=\n", "[[x]]\n", "'/('"]),
    ) {
        let name = ["callreel.toml", "tenants/acme.toml"][which];
        let mut text = std::fs::read_to_string(examples().join(name)).unwrap();
        let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let range = floor(at)..floor(at + len);
        text.replace_range(range, with);
        let files = files(&[(name, &text)]);
        if let Err(error) = files.load() {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
