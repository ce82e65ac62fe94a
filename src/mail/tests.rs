//! Against a mail server.

use super::testing::Server;
use super::*;

fn letter(to: &str) -> Letter {
    Letter {
        to: to.into(),
        subject: "Grüße".into(),
        text: Zeroizing::new("Follow this:\nhttps://callreel.example/#x=1\n.\nä\n".into()),
        until: Instant::now() + Duration::from_secs(600),
    }
}

#[tokio::test]
async fn a_letter_arrives_as_it_was_written() {
    let Some(mut server) = Server::start("open") else {
        return;
    };
    let (outbox, work) = Outbox::new(Mailer::new(&server.settings()).unwrap());
    outbox.put(letter("alice@acme.example"));
    drop(outbox);
    work.await;
    let taken = server.taken();
    assert_eq!(taken["from"], "callreel@acme.example");
    assert_eq!(taken["to"], serde_json::json!(["alice@acme.example"]));
    assert_eq!(taken["hello"], "acme.example");
    let text = taken["text"].as_str().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("From: Callreel <callreel@acme.example>"),
        "{head}"
    );
    assert!(head.contains("To: alice@acme.example"), "{head}");
    assert!(head.contains("Subject: =?utf-8?b?"), "{head}");
    assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
    assert!(head.contains("Content-Type: text/plain"), "{head}");
    assert!(
        body.contains("https://callreel.example/#x=3D1") || body.contains("#x=1"),
        "{body}"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_a_password_gets_it() {
    let Some(mut server) = Server::start("auth") else {
        return;
    };
    let mut settings = server.settings();
    settings.credentials = Some(("callreel".into(), Zeroizing::new("opensesame".into())));
    let mailer = Mailer::new(&settings).unwrap();
    mailer.send(&letter("alice@acme.example")).await.unwrap();
    assert_eq!(server.taken()["user"], "callreel");
    settings.credentials = Some(("callreel".into(), Zeroizing::new("wrong".into())));
    let error = Mailer::new(&settings)
        .unwrap()
        .send(&letter("alice@acme.example"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Send { passing: false, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong"), "{error}");
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_not_tried_again() {
    let Some(server) = Server::start("open") else {
        return;
    };
    let mailer = Mailer::new(&server.settings()).unwrap();
    let error = mailer
        .send(&letter("nobody@acme.example"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Send { passing: false, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[tokio::test]
async fn no_letter_goes_in_the_open_to_a_server_without_tls() {
    let Some(server) = Server::start("open") else {
        return;
    };
    for encryption in [Encryption::StartTls, Encryption::Tls] {
        let settings = Settings {
            encryption,
            ..server.settings()
        };
        let (mailer, letter) = (
            Mailer::new(&settings).unwrap(),
            letter("alice@acme.example"),
        );
        let sent = tokio::time::timeout(Duration::from_secs(25), mailer.send(&letter)).await;
        assert!(sent.unwrap().is_err());
    }
}

#[test]
fn addresses_are_checked() {
    for good in ["alice@acme.example", "a+b@x.co", "\"a b\"@acme.example"] {
        assert!(is_address(good), "{good}");
    }
    let long = format!("{}@acme.example", "a".repeat(300));
    for wrong in [
        "",
        "alice",
        "a@b\r\nBcc: x@y",
        "Alice <alice@acme.example>",
        "a@b, c@d",
        &long,
    ] {
        assert!(!is_address(wrong), "{wrong}");
    }
}

#[test]
fn settings_that_cannot_work_say_which() {
    let settings = Settings {
        host: "mail.example".into(),
        port: 587,
        encryption: Encryption::StartTls,
        trusted: None,
        credentials: Some(("u".into(), Zeroizing::new("p".into()))),
        from: "not an address".into(),
    };
    let error = Mailer::new(&settings).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("mail.from"), "{error}");
    assert_eq!(format!("{settings:?}"), "mail.example:587 StartTls");
}
