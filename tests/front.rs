//! The front of the API over real sockets, asked by curl and by clients that do not behave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use callreel::api::front::{Door, Front, Settings, Tls, TlsFiles, serve};
use tempfile::TempDir;

/// A front that serves until the test ends.
struct Open {
    plain: SocketAddr,
    secure: SocketAddr,
    front: Arc<Front>,
    tls: Arc<Tls>,
    folder: TempDir,
}

impl Open {
    fn with(settings: Settings) -> Open {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path(), "first.example");
        let tls = Tls::load(files(folder.path())).unwrap();
        let front = Front::new(settings);
        let routes = || front.around(Router::new().route("/hello", get(|| async { "hello" })));
        let [plain, secure] = [(); 2].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let addresses = [&plain, &secure].map(|listener| listener.local_addr().unwrap());
        let doors = vec![
            Door {
                listener: plain,
                tls: None,
                routes: routes(),
            },
            Door {
                listener: secure,
                tls: Some(tls.clone()),
                routes: routes(),
            },
        ];
        let at_work = front.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(doors, at_work)).unwrap();
        });
        Open {
            plain: addresses[0],
            secure: addresses[1],
            front,
            tls,
            folder,
        }
    }

    /// What curl gets from the door with TLS; `None` where there is no curl. Status, HTTP version and body.
    fn curl(&self, name: &str, more: &[&str]) -> Option<String> {
        let port = self.secure.port();
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "5", "-w", " %{http_code} HTTP/%{http_version}"])
            .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
            .arg("--cacert")
            .arg(self.folder.path().join(format!("{name}.pem")))
            .args(more)
            .arg(format!("https://{name}:{port}/hello"));
        let Ok(output) = curl.output() else {
            println!("skipped: curl is not installed");
            return None;
        };
        Some(String::from_utf8(output.stdout).unwrap())
    }
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    }
}

/// A new certificate and key in use, and the certificate once more under its name.
fn write_pair(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ask(stream: &mut TcpStream) -> String {
    write!(stream, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn curl_is_answered_over_tls_by_either_version_of_http() {
    let open = Open::with(Settings::default());
    let Some(answer) = open.curl("first.example", &["--http2"]) else {
        return;
    };
    assert_eq!(answer, "hello 200 HTTP/2");
    let answer = open
        .curl("first.example", &["--http1.1", "--tls-max", "1.2"])
        .unwrap();
    assert_eq!(answer, "hello 200 HTTP/1.1");
    let headers = open.curl("first.example", &["-D", "-"]).unwrap();
    assert!(
        headers.contains("strict-transport-security: max-age=31536000"),
        "{headers}"
    );
}

#[test]
fn another_certificate_is_taken_into_use_and_a_bad_pair_is_not() {
    let open = Open::with(Settings::default());
    if open.curl("first.example", &[]).is_none() {
        return;
    }
    let counters = &open.front.counters;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    // The key of another certificate.
    let other = rcgen::generate_simple_self_signed(["x.example".to_owned()]).unwrap();
    std::fs::write(
        open.folder.path().join("key.pem"),
        other.signing_key.serialize_pem(),
    )
    .unwrap();
    open.tls.reload();
    wait_until("the bad pair is refused", || {
        count(&counters.certificates_refused) > 0
    });
    assert_eq!(open.curl("first.example", &[]).unwrap(), "hello 200 HTTP/2");
    // A good one, that nobody tells it of.
    write_pair(open.folder.path(), "second.example");
    wait_until("the new pair is in use", || {
        open.curl("second.example", &[]).unwrap() == "hello 200 HTTP/2"
    });
    assert!(count(&counters.certificates_reloaded) >= 1);
    let refused = open.curl("first.example", &[]).unwrap();
    assert_eq!(refused, " 000 HTTP/0");
}

#[test]
fn files_that_are_no_pair_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tls::load(files(folder.path())).unwrap_err().to_string();
    assert!(
        error.contains("certificate.pem") && error.contains("No such file"),
        "{error}"
    );
    write_pair(folder.path(), "x.example");
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let error = Tls::load(files(folder.path())).unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");
}

#[test]
fn who_has_too_many_connections_gets_no_more_and_others_do() {
    let open = Open::with(Settings {
        max_connections_per_address: 3,
        ..Settings::default()
    });
    let mut held: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(open.plain).unwrap())
        .collect();
    for stream in &mut held {
        assert!(ask(stream).starts_with("HTTP/1.1 200 OK"));
    }
    let mut one_more = TcpStream::connect(open.plain).unwrap();
    assert_eq!(one_more.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(
        open.front
            .counters
            .refused_connections
            .load(Ordering::Relaxed),
        1
    );
    // One that is closed makes room.
    held.pop();
    wait_until("there is room", || {
        let mut stream = TcpStream::connect(open.plain).unwrap();
        write!(stream, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
            && stream.read(&mut [0; 64]).unwrap_or(0) > 0
    });
}

#[test]
fn heads_that_are_too_large_or_no_http_are_refused() {
    let open = Open::with(Settings::default());
    let send = |text: &[u8]| {
        let mut stream = TcpStream::connect(open.plain).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let _ = stream.write_all(text);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let long = format!("GET /hello HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert!(send(long.as_bytes()).starts_with("HTTP/1.1 431 "));
    let many: String = (0..100).map(|n| format!("X{n}: y\r\n")).collect();
    let many = format!("GET /hello HTTP/1.1\r\n{many}\r\n");
    assert!(send(many.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert!(
        send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP at all\r\n\r\n")
            .starts_with("HTTP/1.1 400 ")
    );
    // And after all of it:
    assert!(ask(&mut TcpStream::connect(open.plain).unwrap()).starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn who_sends_a_head_byte_by_byte_is_dropped() {
    let open = Open::with(Settings::default());
    let begin = Instant::now();
    let mut stream = TcpStream::connect(open.plain).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // The first bytes must come within 15 seconds.
    for byte in b"GET /hello HTTP/1.1\r\nHost: " {
        let gone =
            stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut [0; 64]), Ok(0));
        if gone {
            break;
        }
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(
        open.front
            .counters
            .stalled_connections
            .load(Ordering::Relaxed),
        1
    );
}
