//! SIP over TLS on a cable, with a key log that is written while the call goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use callreel::base::Side;

use crate::house::House;

#[test]
fn a_call_over_tls_is_recorded_as_its_keys_are_written() {
    let Some(house) = House::build() else { return };
    let folder = house.folder.path();
    let keylog = folder.join("keys");
    let config = format!(
        "[capture]\ninterfaces = [\"eth0\"]\ntls_keylog = \"keys\"\n[catalog]\nurl = \"sqlite://{}/catalog.db\"\n\
         [api]\nlisten = \"127.0.0.1:8080\"\n[storage]\nroot = \"recordings\"\nmin_free_mib = 4\n",
        folder.display()
    );
    fs::write(house.config(), config).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sipp-tls13/sipp-tls13");
    let lines = fs::read_to_string(fixture.with_extension("keylog")).unwrap();
    let (first, rest) = lines.split_at(lines.len() / 2);

    let mut daemon = house.start();
    let call = house.begin_replay(&fixture.with_extension("pcap"));
    sleep(Duration::from_millis(700));
    fs::write(&keylog, first).unwrap();
    fs::set_permissions(&keylog, fs::Permissions::from_mode(0o644)).unwrap();
    sleep(Duration::from_millis(500));
    fs::write(&keylog, [first, rest].concat()).unwrap();
    call.wait();
    daemon.wait_until("the call is recorded", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 1
    });
    daemon.wait_until("the counters are told", |daemon| {
        daemon.metric("callreel_tls_opened_total", "") == 1
    });
    assert_eq!(daemon.metric("callreel_tls_without_key_total", ""), 0);
    assert_eq!(
        daemon.metric("callreel_tls_waited_in_vain_bytes_total", ""),
        0
    );
    let log = daemon.log();
    assert!(log.contains("the TLS key log does not exist yet"), "{log}");
    assert!(log.contains("everyone on this machine may read"), "{log}");
    let secrets = lines.lines().filter_map(|line| line.split(' ').nth(2));
    assert!(
        secrets
            .into_iter()
            .all(|secret| !log.contains(&secret[..16]))
    );
    daemon.stop();

    let recordings = house.recordings();
    let [sidecar] = &recordings[..] else {
        panic!("{} recordings", recordings.len());
    };
    assert_eq!(sidecar.end_reason.as_deref(), Some("bye_caller"));
    for side in Side::BOTH {
        let packets = sidecar.streams.iter().filter(|s| s.side == side);
        assert_eq!(
            packets.map(|s| s.packets - s.not_placed).sum::<u64>(),
            125,
            "{side}"
        );
    }
    // Times are those of the packets, not those of the keys: sipp answers after 0.4 s.
    let answer_ns = sidecar.answered_at_ns.unwrap() - sidecar.invite_at_ns;
    assert!(
        (350_000_000..500_000_000).contains(&answer_ns),
        "{answer_ns}"
    );
}
