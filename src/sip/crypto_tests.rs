use proptest::prelude::*;

use super::*;

/// RFC 4568 section 4.1.
const EXAMPLE: &str =
    "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:32";

fn error(text: &str) -> CryptoError {
    CryptoLine::parse(text).unwrap_err()
}

/// A line of this key information.
fn with(info: &str) -> String {
    format!("1 AES_CM_128_HMAC_SHA1_80 inline:{info}")
}

#[test]
fn reads_the_example_of_the_rfc() {
    let line = CryptoLine::parse(EXAMPLE).unwrap();
    assert_eq!((line.tag, line.suite), (1, "AES_CM_128_HMAC_SHA1_80"));
    let [key] = &line.keys[..] else {
        panic!("one key")
    };
    assert_eq!(key.master.bytes(), b"=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ");
    assert_eq!(key.lifetime, Some(1 << 20));
    let mki = key.mki.as_deref().unwrap();
    assert_eq!(
        (mki.len(), mki[31], mki[..31].iter().max()),
        (32, 1, Some(&0))
    );
    assert_eq!(line.session, SessionParameters::default());
}

#[test]
fn reads_several_keys_and_all_parameters() {
    let key = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let line = format!(
        "  7\tF8_128_HMAC_SHA1_80 {key}|2^20|1:4;{key}|1048576|258:4 KDR=20 unencrypted_srtp UNENCRYPTED_SRTCP \
         UNAUTHENTICATED_SRTP FEC_ORDER=FEC_SRTP WSH=128 -NEW=1"
    );
    let line = CryptoLine::parse(&line).unwrap();
    assert_eq!(line.keys.len(), 2);
    assert_eq!(line.keys[0].lifetime, line.keys[1].lifetime);
    assert_eq!(line.keys[1].mki.as_deref(), Some(&[0, 0, 1, 2][..]));
    let SessionParameters {
        kdr,
        unencrypted_srtp,
        unencrypted_srtcp,
        unauthenticated_srtp,
    } = line.session;
    assert_eq!(kdr, 20);
    assert!(unencrypted_srtp && unencrypted_srtcp && unauthenticated_srtp);
}

#[test]
fn padding_may_be_left_out_and_lifetime_too() {
    let long = "R+USwMt3d0q/xyfdSq9aK+vrdTf0x6n6SOcC4E6AZmL5vqEzRofmJm7xWsV9Eg";
    for text in [
        format!("{long}=="),
        long.into(),
        format!("{long}|1:1"),
        format!("{long}||1:1"),
    ] {
        let text = with(&text);
        let line = CryptoLine::parse(&text).unwrap();
        assert_eq!(line.keys[0].master.bytes().len(), 46);
        assert_eq!(line.keys[0].lifetime, None);
    }
}

#[test]
fn what_makes_no_sense_is_refused_under_a_name() {
    assert_eq!(error(""), CryptoError::Tag);
    assert_eq!(error("x AES inline:AAAA"), CryptoError::Tag);
    assert_eq!(error("1234567890 AES inline:AAAA"), CryptoError::Tag);
    assert_eq!(error("1"), CryptoError::NoKey);
    assert_eq!(error("1 AES"), CryptoError::NoKey);
    assert_eq!(error("1 AES ;"), CryptoError::NoKey);
    assert_eq!(error("1 AES uri:sip:x"), CryptoError::Method);
    for bad in ["", "A", "A*AA", "AAAA=AAA"] {
        assert_eq!(error(&with(bad)), CryptoError::Base64, "{bad}");
    }
    assert_eq!(error(&with(&"A".repeat(132))), CryptoError::Base64);
    for bad in ["0", "2^49", "3^4", "2^", "999999999999999", "-1"] {
        assert_eq!(
            error(&with(&format!("AAAA|{bad}"))),
            CryptoError::Lifetime,
            "{bad}"
        );
    }
    for bad in [":4", "1:0", "1:129", "256:1", "x:1", "1:4|1:4"] {
        assert_eq!(
            error(&with(&format!("AAAA|{bad}"))),
            CryptoError::Mki,
            "{bad}"
        );
    }
    for bad in ["AAAA;inline:AAAA", "AAAA|1:1;inline:AAAA|1:2"] {
        assert_eq!(error(&with(bad)), CryptoError::MkiMixed, "{bad}");
    }
    let many = ["inline:AAAA|1:1"; 9].join(";");
    assert_eq!(error(&format!("1 AES {many}")), CryptoError::TooManyKeys);
    for bad in ["KDR=25", "KDR=x", "KDR", "NEW"] {
        assert_eq!(
            error(&format!("{} {bad}", with("AAAA"))),
            CryptoError::Parameter,
            "{bad}"
        );
    }
}

#[test]
fn a_line_that_is_printed_shows_no_key() {
    let shown = format!("{:?}", CryptoLine::parse(EXAMPLE).unwrap());
    assert!(
        !shown.contains("PS1u") && shown.contains("Secret(30 bytes)"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[0-9]{0,3} ?[A-Z_0-9]{0,20} ?(inline:)?[A-Za-z0-9+/=|:^;]{0,80}( [A-Z_=0-9-]{0,20})?") {
        if let Ok(line) = CryptoLine::parse(&text) {
            prop_assert!((1..=MAX_INLINE_KEYS).contains(&line.keys.len()));
            for key in &line.keys {
                prop_assert!(key.master.bytes().len() <= text.len());
                prop_assert!(key.mki.as_ref().is_none_or(|mki| (1..=128).contains(&mki.len())));
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = CryptoLine::parse(&text);
    }

    /// What is written down is read back.
    #[test]
    fn keys_survive(master in proptest::collection::vec(any::<u8>(), 1..90), tag in 0..1_000_000_000u32, power in 0..=48u32, mki in any::<u32>()) {
        let text = format!(
            "{tag} AEAD_AES_256_GCM inline:{}|2^{power}|{mki}:4",
            base64::engine::general_purpose::STANDARD.encode(&master)
        );
        let line = CryptoLine::parse(&text).unwrap();
        prop_assert_eq!(line.tag, tag);
        prop_assert_eq!(line.keys[0].master.bytes(), &master[..]);
        prop_assert_eq!(line.keys[0].lifetime, Some(1 << power));
        prop_assert_eq!(line.keys[0].mki.as_deref(), Some(&mki.to_be_bytes()[..]));
    }
}
