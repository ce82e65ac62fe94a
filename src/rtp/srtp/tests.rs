//! The vectors of the RFCs, packets that libsrtp protected, and what must hold of any packets.

use proptest::prelude::*;

use super::session::{Parts, Protocol, Session};
use super::*;
use crate::base::Secret;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(suite: Suite) -> SrtpKey {
    key_with(suite, KeyOptions::default())
}

fn key_with(suite: Suite, options: KeyOptions) -> SrtpKey {
    let master = (0..suite.key_len() + suite.salt_len()).map(|n| (n * 7 + 1) as u8);
    SrtpKey::new(suite, Secret::new(master.collect()), options).unwrap()
}

fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(0xdead_beef_u32.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The key stream of counter mode as RFC 3711 B.2 and RFC 6188 section 7 show it: no SSRC, index 0.
fn key_stream(key: &str, blocks: usize) -> Vec<u8> {
    let aes = cipher::Aes::new(&hex(key)).unwrap();
    let counter = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000");
    let mut stream = vec![0; blocks * 16];
    aes.apply(counter.try_into().unwrap(), &mut stream);
    stream
}

#[test]
fn key_streams_are_those_of_the_rfcs() {
    for (key, first, last) in [
        // RFC 3711 B.2.
        (
            "2B7E151628AED2A6ABF7158809CF4F3C",
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0",
            "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44",
        ),
        // RFC 6188 sections 7.3 and 7.1.
        (
            "eab234764e517b2d3d160d587d8c86219740f65f99b6bcf7",
            "35096cba4610028dc1b57503804ce37c 5de986291dcce161d5165ec4568f5c9a 474a40c77894bc17180202272a4c264d",
            "",
        ),
        (
            "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
            "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31",
            "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d 6eb246913062a16891433e97dd01a57f",
        ),
    ] {
        let stream = key_stream(key, 0xff02);
        assert_eq!(stream[..48], hex(first));
        if !last.is_empty() {
            assert_eq!(stream[stream.len() - 48..], hex(last));
        }
    }
}

/// The three keys of a session, by deriving it and by being told: the same packets come out.
fn derives(suite: Suite, master: &str, salt: &str, expected: [&str; 3]) {
    let derived =
        Session::derive(suite, &hex(master), &hex(salt), Protocol::Rtp, 0).expect("lengths fit");
    let mut session_salt = [0; 14];
    session_salt.copy_from_slice(&hex(expected[1]));
    let told =
        Session::from_keys(suite, &hex(expected[0]), &hex(expected[2]), &session_salt).unwrap();
    let parts = Parts {
        header: &[1, 2, 3],
        body: &[0; 100],
        trailer: &[4, 5],
        is_encrypted: true,
        ssrc: 0x0102_0304,
        index: 0x0506_0708_090a,
    };
    let sealed = [derived, told].map(|session| {
        let mut out = Vec::new();
        let tag = session.seal(&parts, &mut out);
        (out, tag)
    });
    assert_eq!(sealed[0], sealed[1]);
}

#[test]
fn session_keys_are_those_of_the_rfcs() {
    // RFC 3711 B.3.
    derives(
        Suite::AesCm128HmacSha1_80,
        "E1F97A0D3E018BE0D64FA32C06DE4139",
        "0EC675AD498AFEEBB6960B3AABE6",
        [
            "C61E7A93744F39EE10734AFE3FF7A087",
            "30CBBC08863D8C85D49DB34A9AE1",
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
        ],
    );
    // RFC 6188 sections 7.4 and 7.2.
    derives(
        Suite::Aes192CmHmacSha1_80,
        "73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1",
        "c8522f3acd4ce86d5add78edbb11",
        [
            "31874736a8f1143870c26e4857d8a5b2c4a354407faadabb",
            "2372b82d639b6d8503a47adc0a6c",
            "355b10973cd95b9eacf4061c7e1a7151e7cfbfcb",
        ],
    );
    derives(
        Suite::Aes256CmHmacSha1_80,
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
        "3b04803de51ee7c96423ab5b78d2",
        [
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
            "fa31791685ca444a9e07c6c64e93",
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
        ],
    );
}

/// RFC 7714 sections 16 and 17 give session keys: 0, 1, 2 … and this salt.
fn gcm(suite: Suite) -> Session {
    let key: Vec<u8> = (0..suite.key_len() as u8).collect();
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(b"Quid pro quo");
    Session::from_keys(suite, &key, &[], &salt).unwrap()
}

#[test]
fn aead_packets_are_those_of_the_rfc() {
    let plain = b"Gallia est omnis divisa in partes tres";
    for (suite, expected) in [
        (
            Suite::AeadAes128Gcm,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Suite::AeadAes256Gcm,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ] {
        let header = hex("8040f17b8041f8d35501a0b2");
        let parts = Parts {
            header: &header,
            body: plain,
            trailer: &[],
            is_encrypted: true,
            ssrc: 0x5501_a0b2,
            index: 0xf17b,
        };
        let mut sealed = Vec::new();
        let tag = gcm(suite).seal(&parts, &mut sealed);
        sealed.extend_from_slice(&tag[..16]);
        assert_eq!(to_hex(&sealed), to_hex(&hex(expected)));
        let (body, tag) = sealed.split_at(plain.len());
        let mut out = Vec::new();
        assert!(gcm(suite).open(&Parts { body, ..parts }, tag, &mut out));
        assert_eq!(out, plain);
    }
}

#[test]
fn aead_reports_are_those_of_the_rfc() {
    let header = hex("81c8000d4d617273");
    let plain = hex(
        "4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
    );
    for (suite, trailer, body) in [
        (
            Suite::AeadAes128Gcm,
            "800005d4",
            "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b\
             c84aa45896cf4d2fc5abf87245d9eade",
        ),
        (
            Suite::AeadAes256Gcm,
            "800005d4",
            "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad\
             1d1eb30c4446839f57ff6f6cb26ac3be",
        ),
        // Section 17.3: authenticated only.
        (
            Suite::AeadAes128Gcm,
            "000005d4",
            "4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef\
             841dd9683dd78ec92ae58790125f62b3",
        ),
    ] {
        let whole = [header.clone(), hex(body), hex(trailer)].concat();
        let sealed = layout::SealedRtcp::cut(&whole, suite, &[]).unwrap();
        assert_eq!((sealed.index, sealed.ssrc), (0x5d4, 0x4d61_7273));
        let parts = Parts {
            header: sealed.header,
            body: sealed.body,
            trailer: &sealed.trailer,
            is_encrypted: sealed.is_encrypted,
            ssrc: sealed.ssrc,
            index: sealed.index.into(),
        };
        let mut out = Vec::new();
        assert!(gcm(suite).open(&parts, sealed.tag, &mut out), "{suite}");
        assert_eq!(to_hex(&out), to_hex(&plain), "{suite}");
    }
}

/// Made by libsrtp 2: see `fixtures/libsrtp.py`. Each line: what, suite, MKI or `-`, key and salt, plain, protected.
#[test]
fn opens_and_makes_what_libsrtp_makes() {
    let mut receivers: std::collections::BTreeMap<String, (SrtpReceiver, SrtpSender)> =
        Default::default();
    let mut opened = [0; 2];
    for line in include_str!("libsrtp.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
    {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, suite, mki, master, plain, sealed] = words[..] else {
            panic!("{line}")
        };
        let suite = Suite::named(suite).unwrap();
        let options = KeyOptions {
            mki: hex(mki).into(),
            as_libsrtp: true,
            ..KeyOptions::default()
        };
        let key = SrtpKey::new(suite, Secret::new(hex(master)), options).unwrap();
        let (receiver, sender) = receivers
            .entry(format!("{suite} {mki}"))
            .or_insert_with(|| {
                (
                    SrtpReceiver::new(key.clone()),
                    SrtpSender::new(key.clone(), 0),
                )
            });
        let (plain, sealed) = (hex(plain), hex(sealed));
        let (mut out, mut made) = (Vec::new(), Vec::new());
        if what == "rtp" {
            receiver
                .open(&sealed, &mut out)
                .unwrap_or_else(|error| panic!("{error}: {line}"));
            sender.seal(&plain, &mut made).unwrap();
            opened[0] += 1;
        } else {
            key.open_rtcp(&sealed, &mut out)
                .unwrap_or_else(|error| panic!("{error}: {line}"));
            sender.seal_rtcp(&plain, &mut made).unwrap();
            opened[1] += 1;
        }
        assert_eq!(to_hex(&out), to_hex(&plain), "{what} {suite}");
        assert_eq!(to_hex(&made), to_hex(&sealed), "{what} {suite}");
    }
    assert_eq!(opened, [8 * 2 * 8, 8 * 2 * 3], "packets of RTP and RTCP");
}

#[test]
fn keys_of_the_wrong_length_are_refused() {
    for suite in Suite::ALL {
        let right = suite.key_len() + suite.salt_len();
        for length in [0, 1, 16, right - 1, right + 1, 64] {
            let made = SrtpKey::new(suite, Secret::new(vec![0; length]), KeyOptions::default());
            assert!(matches!(made, Err(KeyError::Length { expected, .. }) if expected == right));
        }
    }
    let options = KeyOptions {
        unencrypted: true,
        ..KeyOptions::default()
    };
    let made = SrtpKey::new(Suite::AeadAes128Gcm, Secret::new(vec![0; 28]), options);
    assert!(matches!(made, Err(KeyError::NotOptional { .. })));
}

#[test]
fn a_key_that_is_printed_shows_its_suite_alone() {
    assert_eq!(
        format!("{:?}", key(Suite::AeadAes256Gcm)),
        "SrtpKey(AEAD_AES_256_GCM)"
    );
}

#[test]
fn every_byte_is_authenticated() {
    for suite in Suite::ALL {
        let options = KeyOptions {
            mki: hex("0102").into(),
            ..KeyOptions::default()
        };
        let key = key_with(suite, options);
        let mut sealed = Vec::new();
        let mut sender = SrtpSender::new(key.clone(), 0);
        sender.seal(&packet(7, b"hello"), &mut sealed).unwrap();
        let mut report = Vec::new();
        sender
            .seal_rtcp(
                &hex("80c90001deadbeef81ca0002deadbeef01010000"),
                &mut report,
            )
            .unwrap();
        let mut out = Vec::new();
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            let mut receiver = SrtpReceiver::new(key.clone());
            assert!(
                receiver.open(&forged, &mut out).is_err(),
                "{suite}, byte {at}"
            );
            assert_eq!(receiver.rollover(), None);
            assert!(
                receiver.open(&sealed[..at], &mut out).is_err(),
                "{suite}, {at} bytes"
            );
        }
        for at in 0..report.len() {
            let mut forged = report.clone();
            forged[at] ^= 1;
            assert!(
                key.open_rtcp(&forged, &mut out).is_err(),
                "{suite}, byte {at}"
            );
            assert!(
                key.open_rtcp(&report[..at], &mut out).is_err(),
                "{suite}, {at} bytes"
            );
        }
        assert_eq!(key.open_rtcp(&report, &mut out), Ok(1));
    }
}

#[test]
fn a_stream_joined_after_a_wrap_is_found_by_its_tag() {
    for suite in Suite::ALL {
        let mut sealed = Vec::new();
        let mut sender = SrtpSender::new(key(suite), 37);
        sender.seal(&packet(100, b"late"), &mut sealed).unwrap();
        let mut receiver = SrtpReceiver::new(key(suite));
        let mut out = Vec::new();
        assert!(receiver.open(&sealed, &mut out).is_err(), "{suite}");
        assert!(
            receiver.search(&sealed, 0..37, &mut out).is_err(),
            "{suite}"
        );
        receiver.search(&sealed, 0..64, &mut out).unwrap();
        assert_eq!((receiver.rollover(), &out[12..]), (Some(37), &b"late"[..]));
        let mut next = Vec::new();
        sender.seal(&packet(101, b"more"), &mut next).unwrap();
        receiver.open(&next, &mut out).unwrap();
        assert_eq!(&out[12..], b"more");
    }
}

#[test]
fn unencrypted_packets_are_authenticated_all_the_same() {
    let options = KeyOptions {
        unencrypted: true,
        ..KeyOptions::default()
    };
    let key = key_with(Suite::AesCm128HmacSha1_80, options);
    let mut sealed = Vec::new();
    SrtpSender::new(key.clone(), 0)
        .seal(&packet(1, b"clear"), &mut sealed)
        .unwrap();
    assert_eq!(&sealed[12..17], b"clear");
    let mut out = Vec::new();
    SrtpReceiver::new(key.clone())
        .open(&sealed, &mut out)
        .unwrap();
    assert_eq!(out, packet(1, b"clear"));
    sealed[13] ^= 1;
    assert!(SrtpReceiver::new(key).open(&sealed, &mut out).is_err());
}

/// RFC 3711 section 4.3.1: other session keys every 2^n packets, and the first ones again where r is 0.
#[test]
fn session_keys_change_at_the_derivation_rate() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm] {
        let rated = |kdr| {
            key_with(
                suite,
                KeyOptions {
                    kdr,
                    ..KeyOptions::default()
                },
            )
        };
        let (mut sender, mut receiver) =
            (SrtpSender::new(rated(4), 0), SrtpReceiver::new(rated(4)));
        let mut unrated = SrtpReceiver::new(rated(0));
        let mut out = Vec::new();
        for sequence in 0..100 {
            let mut sealed = Vec::new();
            sender
                .seal(&packet(sequence, b"payload"), &mut sealed)
                .unwrap();
            receiver.open(&sealed, &mut out).unwrap();
            assert_eq!(&out[12..], b"payload");
            assert_eq!(unrated.open(&sealed, &mut out).is_ok(), sequence < 16);
        }
        let mut late = Vec::new();
        SrtpSender::new(rated(4), 3)
            .seal(&packet(5, b"payload"), &mut late)
            .unwrap();
        let mut receiver = SrtpReceiver::new(rated(4));
        receiver.search(&late, 0..8, &mut out).unwrap();
        assert_eq!(receiver.rollover(), Some(3));
    }
}

#[test]
fn the_rollover_counter_is_guessed_as_the_rfc_says() {
    let at = |roc: u64, sequence: u64| roc << 16 | sequence;
    for (newest, sequence, expected) in [
        (at(0, 0), 0xffff, 0),
        (at(5, 0), 0xffff, 4),
        (at(5, 100), 0x8064, 5),
        (at(5, 100), 0x8065, 4),
        (at(5, 0x7fff), 0xffff, 5),
        (at(5, 0x8000), 0, 5),
        (at(5, 0x8001), 0, 6),
        (at(5, 0xffff), 0x7ffe, 6),
        (at(5, 0xffff), 0x7fff, 5),
    ] {
        assert_eq!(
            receiver::rollover(newest, sequence),
            expected,
            "{newest:x} {sequence:x}"
        );
    }
}

fn any_suite() -> impl Strategy<Value = Suite> {
    (0..Suite::ALL.len()).prop_map(|n| Suite::ALL[n])
}

proptest! {
    #[test]
    fn arbitrary_packets_are_never_opened(
        suite in any_suite(),
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        mki in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        let key = key_with(suite, KeyOptions { mki: mki.into(), ..KeyOptions::default() });
        let mut out = Vec::new();
        let mut receiver = SrtpReceiver::new(key.clone());
        prop_assert!(receiver.open(&bytes, &mut out).is_err());
        prop_assert!(receiver.search(&bytes, 0..3, &mut out).is_err());
        prop_assert!(key.open_rtcp(&bytes, &mut out).is_err());
        prop_assert!(out.len() <= bytes.len());
        let _ = SrtpSender::new(key.clone(), 0).seal(&bytes, &mut out);
        let _ = SrtpSender::new(key, 0).seal_rtcp(&bytes, &mut out);
    }

    /// Over several wraps, with loss and reordering: what arrives is what was sent.
    #[test]
    fn what_was_protected_is_opened(
        suite in any_suite(),
        start in any::<u16>(),
        step in 1..4_000u16,
        fates in proptest::collection::vec((0..10u8, 0..4usize), 10..120),
    ) {
        let mut sender = SrtpSender::new(key(suite), 0);
        let mut order = Vec::new();
        let mut lost = true;
        for (n, (fate, delay)) in fates.iter().enumerate() {
            let plain = packet(start.wrapping_add(step.wrapping_mul(n as u16)), &[n as u8; 33]);
            let mut sealed = Vec::new();
            sender.seal(&plain, &mut sealed).unwrap();
            match fate {
                // Never so many that their numbers cannot be told from those of the turn before.
                0 if !lost => {
                    lost = true;
                    continue;
                }
                1 if n > 0 => order.push((n + delay.min(&(16_000 / usize::from(step))), plain, sealed)),
                _ => order.push((n, plain, sealed)),
            }
            lost = false;
        }
        order.sort_by_key(|(at, ..)| *at);
        let mut receiver = SrtpReceiver::new(key(suite));
        let mut out = Vec::new();
        for (_, plain, sealed) in &order {
            prop_assert_eq!(receiver.open(sealed, &mut out), Ok(()));
            prop_assert_eq!(&out, plain);
        }
    }

    /// Header extensions, CSRCs and padding stay where they are.
    #[test]
    fn odd_headers_survive(suite in any_suite(), csrcs in 0..16u8, words in 0..4u16, payload in proptest::collection::vec(any::<u8>(), 0..50)) {
        let mut plain = packet(9, &[]);
        plain[0] = 0xb0 | csrcs;
        plain.extend(std::iter::repeat_n(5, usize::from(csrcs) * 4));
        plain.extend([0xbe, 0xde]);
        plain.extend(words.to_be_bytes());
        plain.extend(std::iter::repeat_n(6, usize::from(words) * 4));
        plain.extend(&payload);
        let mut sealed = Vec::new();
        SrtpSender::new(key(suite), 0).seal(&plain, &mut sealed).unwrap();
        prop_assert_eq!(sealed.len(), plain.len() + suite.tag_len());
        let mut out = Vec::new();
        SrtpReceiver::new(key(suite)).open(&sealed, &mut out).unwrap();
        prop_assert_eq!(out, plain);
    }
}
