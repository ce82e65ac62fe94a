//! Against a mail server that stops to answer in the middle of a letter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PATIENCE: Duration = Duration::from_millis(300);

/// What a server says to a letter that it takes, a reply for each command.
const WHOLE: [&str; 8] = [
    "220 mail.example",
    "250-mail.example\r\n250 AUTH PLAIN",
    "235 welcome",
    "250 from",
    "250 to",
    "354 go on",
    "250 taken",
    "221 bye",
];

/// A server that gives these replies on each connection, and then says nothing and hangs up on nobody.
struct Silent {
    port: u16,
    connections: Arc<AtomicU32>,
}

impl Silent {
    async fn after(replies: &'static [&'static str]) -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicU32::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                open.push(tokio::spawn(talk(client, replies)));
            }
        });
        Silent { port, connections }
    }

    fn mailer(&self, encryption: Encryption) -> Mailer {
        let settings = Settings {
            host: "127.0.0.1".into(),
            port: self.port,
            encryption,
            trusted: None,
            credentials: Some(("callreel".into(), Zeroizing::new("opensesame".into()))),
            from: "Callreel <callreel@acme.example>".into(),
        };
        let mut mailer = Mailer::new(&settings).unwrap();
        mailer.patience = PATIENCE;
        mailer
    }
}

async fn talk(client: TcpStream, replies: &[&str]) {
    let mut client = BufReader::new(client);
    for reply in replies {
        if client
            .write_all(format!("{reply}\r\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
        let mut line = String::new();
        loop {
            line.clear();
            if client.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if !reply.starts_with("354") || line == ".\r\n" {
                break;
            }
        }
    }
    std::future::pending::<()>().await;
}

fn letter() -> Letter {
    Letter {
        to: "alice@acme.example".into(),
        subject: "A link".into(),
        text: Zeroizing::new("Follow this.\n".into()),
        until: Instant::now() + Duration::from_secs(600),
    }
}

/// What becomes of a letter, and whether that was known in time.
async fn sent(encryption: Encryption, replies: &'static [&'static str]) -> Result<(), Error> {
    let mailer = Silent::after(replies).await.mailer(encryption);
    let begun = Instant::now();
    let sent = mailer.send(&letter()).await;
    assert!(
        begun.elapsed() < PATIENCE + FAREWELL + Duration::from_secs(2),
        "{} replies took {:?}",
        replies.len(),
        begun.elapsed()
    );
    sent
}

#[tokio::test]
async fn a_server_that_says_no_more_is_not_waited_for_at_any_stage() {
    for replies in 0..7 {
        let failed = sent(Encryption::None, &WHOLE[..replies]).await.unwrap_err();
        assert!(
            matches!(failed, Error::Send { passing: true, .. }),
            "{replies}: {failed}"
        );
    }
    for replies in [&WHOLE[..0], &["220 mail.example", "250 STARTTLS", "220 go"]] {
        let failed = sent(Encryption::StartTls, replies).await.unwrap_err();
        assert!(matches!(failed, Error::Send { passing: true, .. }));
    }
    assert!(sent(Encryption::Tls, &[]).await.is_err());
}

#[tokio::test]
async fn a_letter_that_was_taken_is_not_sent_twice_because_nobody_said_goodbye() {
    sent(Encryption::None, &WHOLE[..7]).await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_refused_in_silence_is_known_in_time() {
    const PLAIN: [&str; 3] = [
        "220 mail.example",
        "250-mail.example\r\n250 AUTH PLAIN",
        "535 no",
    ];
    const LOGIN: [&str; 5] = [
        "220 mail.example",
        "250-mail.example\r\n250 AUTH LOGIN",
        "334 VXNlciBOYW1lAA==",
        "334 UGFzc3dvcmQA",
        "535 no",
    ];
    let refused = sent(Encryption::None, &PLAIN).await.unwrap_err();
    assert!(matches!(refused, Error::Send { passing: false, .. }));
    assert!(sent(Encryption::None, &LOGIN).await.is_err());
}

#[tokio::test]
async fn a_letter_is_tried_three_times_and_counted_when_it_is_given_up() {
    let server = Silent::after(&WHOLE[..2]).await;
    let counters = Arc::<LetterCounters>::default();
    let pauses = [Duration::from_millis(1); 2];
    let mailer = server.mailer(Encryption::None);
    let (outbox, work) = Outbox::with_pauses(mailer, counters.clone(), pauses);
    outbox.put(letter());
    // Its link opens nothing any more.
    outbox.put(Letter {
        until: Instant::now(),
        ..letter()
    });
    drop(outbox);
    work.await;
    assert_eq!(server.connections.load(Ordering::Relaxed), 3);
    assert_eq!(counters.lost.load(Ordering::Relaxed), 2);
    assert_eq!(counters.sent.load(Ordering::Relaxed), 0);
}
