//! Told to those who listen, and to those who are away for a while.

use std::io::Read;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use super::heads::{HEADS, heads_path, read_heads};
use super::*;
use crate::access::{Event, Outcome};
use crate::base::SYSTEM_TENANT;
use crate::config::{Settings, Syslog};

async fn catalog_in(folder: &Path) -> (Catalog, Settings) {
    let mut settings = Settings::default();
    settings.catalog.url = format!("sqlite://{}", folder.join("catalog.db").display());
    let catalog = Catalog::open(&settings.catalog.url).await.unwrap();
    (catalog, settings)
}

async fn act(catalog: &Catalog, why: &str) {
    let event = Event::anonymous(SYSTEM_TENANT, "sessions.create").outcome(Outcome::Denied);
    catalog.audit(event.because(why)).await.unwrap();
}

fn follower(settings: &Settings, name: &str) -> Follower {
    let mut all = followers(settings).into_iter();
    all.find(|one| one.state.name == name).unwrap()
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_file_gets_every_record_once_through_rotations_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, mut settings) = catalog_in(folder.path()).await;
    let path = folder.path().join("audit.jsonl");
    settings.audit.file = Some(path.clone());
    let mut file = follower(&settings, "file");
    act(&catalog, "one").await;
    assert!(file.tell(&catalog).await.unwrap());
    assert!(!file.tell(&catalog).await.unwrap());
    // Moved away, as logrotate does.
    let moved = folder.path().join("audit.jsonl.1");
    std::fs::rename(&path, &moved).unwrap();
    act(&catalog, "two\nthree").await;
    file.tell(&catalog).await.unwrap();
    // Cut short, as logrotate's copytruncate does; and told by another process from there on.
    std::fs::File::create(&path).unwrap();
    act(&catalog, "four").await;
    follower(&settings, "file").tell(&catalog).await.unwrap();
    let numbers = |path: &Path| {
        lines(path)
            .iter()
            .map(|line| line["number"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!((numbers(&moved), numbers(&path)), (vec![1], vec![3]));
}

#[tokio::test]
async fn who_is_away_is_told_later_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, mut settings) = catalog_in(folder.path()).await;
    let away = folder.path().join("away");
    settings.audit.file = Some(away.join("audit.jsonl"));
    let mut file = follower(&settings, "file");
    for why in ["one", "two"] {
        act(&catalog, why).await;
        let error = file.tell(&catalog).await.unwrap_err();
        assert!(error.to_string().contains("audit.jsonl"), "{error}");
    }
    assert_eq!(file.state.behind.load(Ordering::Relaxed), 2);
    std::fs::create_dir(&away).unwrap();
    file.tell(&catalog).await.unwrap();
    assert_eq!(lines(&away.join("audit.jsonl")).len(), 2);
    assert_eq!(file.state.behind.load(Ordering::Relaxed), 0);
}

/// A message as RFC 5424, section 6, has it: priority, version, time, host, program, process, kind, data, text.
fn check_message(message: &str) {
    let parts: Vec<&str> = message.splitn(7, ' ').collect();
    // Facility 13, warning.
    assert_eq!(parts[0], "<108>1");
    let time =
        time::OffsetDateTime::parse(parts[1], &time::format_description::well_known::Rfc3339);
    assert!(time.is_ok() && parts[1].ends_with('Z'), "{}", parts[1]);
    assert!(
        parts[1]
            .split_once('.')
            .is_none_or(|(_, fraction)| fraction.len() <= 7)
    );
    assert!(!parts[2].is_empty());
    assert_eq!((parts[3], parts[5]), ("callreel", "audit"));
    let data = parts[6];
    let tenant = format!(
        "[audit@32473 tenant=\"{}\" number=\"1\" action=\"sessions.create\" outcome=\"denied\" hash=\"",
        SYSTEM_TENANT.0
    );
    assert!(data.starts_with(&tenant), "{data}");
    let (_, json) = data.split_once("\"] ").unwrap();
    let record: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(record["reason"], "a \"]\\ b");
    assert!(!message.contains('\n') && !message.contains('\u{1b}'));
}

#[tokio::test]
async fn syslog_over_udp_and_a_unix_socket_gets_messages_of_rfc_5424() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, mut settings) = catalog_in(folder.path()).await;
    act(&catalog, "a \"]\\ b").await;
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    settings.audit.syslog = Some(Syslog::Udp(udp.local_addr().unwrap()));
    follower(&settings, "syslog").tell(&catalog).await.unwrap();
    let mut message = [0; 9000];
    let length = udp.recv(&mut message).unwrap();
    check_message(std::str::from_utf8(&message[..length]).unwrap());
    let path = folder.path().join("log");
    let unix = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    settings.audit.syslog = Some(Syslog::Unix(path));
    let mut follower = follower(&settings, "syslog");
    follower.position = 0;
    follower.tell(&catalog).await.unwrap();
    let length = unix.recv(&mut message).unwrap();
    check_message(std::str::from_utf8(&message[..length]).unwrap());
}

#[tokio::test]
async fn syslog_over_tcp_has_the_length_before_each_message_and_connects_again() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, mut settings) = catalog_in(folder.path()).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    settings.audit.syslog = Some(Syslog::Tcp(listener.local_addr().unwrap()));
    let mut follower = follower(&settings, "syslog");
    for round in 0..2 {
        act(&catalog, "a \"]\\ b").await;
        act(&catalog, "again").await;
        follower.tell(&catalog).await.unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        let text = String::from_utf8(received).unwrap();
        let (length, rest) = text.split_once(' ').unwrap();
        let (first, second) = rest.split_at(length.parse().unwrap());
        if round == 0 {
            check_message(first);
        }
        let (length, rest) = second.split_once(' ').unwrap();
        assert_eq!(rest.len(), length.parse::<usize>().unwrap());
        // The receiver goes away: the next batch has to find it again.
    }
}

#[tokio::test]
async fn heads_are_kept_beside_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, settings) = catalog_in(folder.path()).await;
    for _ in 0..3 {
        act(&catalog, "x").await;
    }
    follower(&settings, "heads").tell(&catalog).await.unwrap();
    let path = heads_path(&settings.catalog.url).unwrap();
    assert_eq!(path, folder.path().join("catalog.db.audit-heads"));
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .map(|mut file| {
            use std::io::Write;
            file.write_all(b"not a head\n").unwrap();
        })
        .unwrap();
    let heads = read_heads(&path).unwrap().unwrap();
    let [head] = heads[..] else {
        panic!("{heads:?}")
    };
    assert_eq!(head.number, 3);
    let chains = catalog.verify_audit(&heads).await.unwrap();
    assert_eq!((chains[0].head, chains[0].broken), (head.hash, None));
    assert_eq!(read_heads(&folder.path().join("none")).unwrap(), None);
    assert_eq!(catalog.told_chains(HEADS).await.unwrap(), [head.tenant]);
    assert!(catalog.told_chains("file").await.unwrap().is_empty());
    assert_eq!(heads_path("sqlite::memory:"), None);
}

/// As whoever has the file can do it: the records go from `first` on, and what names them.
async fn cut(settings: &Settings, first: i64, order_too: bool) {
    let url = settings.catalog.url.replace("sqlite://", "sqlite:");
    let raw = sqlx::SqlitePool::connect(&url).await.unwrap();
    for statement in [
        "DROP TRIGGER audit_is_not_removed",
        "DROP TRIGGER audit_order_is_not_removed",
    ] {
        sqlx::query(statement).execute(&raw).await.unwrap();
    }
    let order = "DELETE FROM audit_order WHERE number >= ?";
    let statements = ["DELETE FROM audit WHERE number >= ?", order];
    for statement in statements.into_iter().take(1 + usize::from(order_too)) {
        sqlx::query(statement)
            .bind(first)
            .execute(&raw)
            .await
            .unwrap();
    }
    raw.close().await;
}

async fn tell_all(follower: &mut Follower, catalog: &Catalog) {
    while follower.tell(catalog).await.unwrap() {}
}

async fn breaches(catalog: &Catalog, settings: &Settings) -> Vec<&'static str> {
    let path = heads_path(&settings.catalog.url).unwrap();
    let heads = read_heads(&path).unwrap().unwrap_or_default();
    let chains = catalog.verify_audit(&heads).await.unwrap();
    let broken = chains.iter().filter_map(|chain| chain.broken);
    broken.map(|(_, breach)| breach.name()).collect()
}

#[tokio::test]
async fn a_file_of_heads_that_is_gone_is_told_until_somebody_knows_why() {
    for order_too in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (catalog, settings) = catalog_in(folder.path()).await;
        for _ in 0..5 {
            act(&catalog, "x").await;
        }
        let mut heads = follower(&settings, "heads");
        tell_all(&mut heads, &catalog).await;
        assert_eq!(catalog.audit_gap().await.unwrap(), None, "the first file");
        let path = heads_path(&settings.catalog.url).unwrap();
        std::fs::remove_file(&path).unwrap();
        cut(&settings, 3, order_too).await;
        // The next start.
        let mut heads = follower(&settings, "heads");
        tell_all(&mut heads, &catalog).await;
        act(&catalog, "y").await;
        tell_all(&mut heads, &catalog).await;
        assert_eq!(
            heads.state.gaps.load(Ordering::Relaxed),
            1 + u64::from(order_too)
        );
        assert!(catalog.audit_gap().await.unwrap().is_some());
        // It is told once.
        let mut heads = follower(&settings, "heads");
        tell_all(&mut heads, &catalog).await;
        let all = catalog.audit_since(0, 100).await.unwrap();
        let gaps = all
            .iter()
            .filter(|(_, one)| one.record.action == "audit.gap");
        assert!(gaps.count() >= 1);
        let ops = crate::access::Principal::operator("ops");
        let event = Event::by(&ops, "");
        catalog
            .acknowledge_audit_gap(event, "restored")
            .await
            .unwrap();
        assert_eq!(catalog.audit_gap().await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_was_cut_off_stays_known_when_the_chain_has_grown_again() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, settings) = catalog_in(folder.path()).await;
    for _ in 0..5 {
        act(&catalog, "x").await;
    }
    tell_all(&mut follower(&settings, "heads"), &catalog).await;
    cut(&settings, 3, false).await;
    let mut heads = follower(&settings, "heads");
    for _ in 0..4 {
        act(&catalog, "y").await;
    }
    tell_all(&mut heads, &catalog).await;
    assert_eq!(breaches(&catalog, &settings).await, ["rewritten"]);
    assert_eq!(heads.state.gaps.load(Ordering::Relaxed), 1);
    let gap = catalog.audit_gap().await.unwrap().unwrap();
    assert!(gap.why.contains("1 chains"), "{gap:?}");
    // An operator restored a copy, and says so.
    let path = heads_path(&settings.catalog.url).unwrap();
    let chains = catalog.verify_audit(&[]).await.unwrap();
    let anew: Vec<_> = chains
        .iter()
        .map(|chain| crate::catalog::KnownRecord {
            tenant: chain.tenant,
            number: chain.records,
            hash: chain.head,
        })
        .collect();
    super::begin_anew(&path, &anew).unwrap();
    assert!(breaches(&catalog, &settings).await.is_empty());
    let mut heads = follower(&settings, "heads");
    tell_all(&mut heads, &catalog).await;
    assert_eq!(heads.state.gaps.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_there_at_a_stop_is_told_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, settings) = catalog_in(folder.path()).await;
    let api = Api::new(crate::api::ApiSettings::default());
    api.set_catalog(catalog.clone());
    let (stop, stopped) = watch::channel(false);
    let following = tokio::spawn(follower(&settings, "heads").follow(api, stopped));
    tokio::time::sleep(Duration::from_millis(100)).await;
    act(&catalog, "the last").await;
    stop.send_replace(true);
    let ended = tokio::time::timeout(Duration::from_millis(400), following).await;
    ended.unwrap().unwrap();
    let path = heads_path(&settings.catalog.url).unwrap();
    assert_eq!(read_heads(&path).unwrap().unwrap()[0].number, 1);
}
