//! One request to one endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::AddressPolicy;
use super::target::Target;

/// For all of a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// For one address.
const CONNECTING: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 3;
/// Bytes of an answer's body that are read: it is not kept.
const ANSWER_BYTES: usize = 16 << 10;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The endpoint answered with this status.
    Answered(u16),
    /// Nobody answered, and why: a code in snake_case.
    Failed(&'static str),
}

impl Sent {
    /// The endpoint has it.
    pub fn is_taken(self) -> bool {
        matches!(self, Sent::Answered(200..=299))
    }

    /// The endpoint wants no more.
    pub fn is_gone(self) -> bool {
        self == Sent::Answered(410)
    }
}

/// The headers of a delivery.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub id: String,
    pub timestamp: i64,
    pub signature: String,
}

/// Sends requests, and knows whom to trust.
#[derive(Clone)]
pub struct Sender {
    tls: TlsConnector,
    policy: AddressPolicy,
}

impl Sender {
    /// Trusts the certificate authorities of the system, and what `SSL_CERT_FILE` names. Reads files.
    pub fn new(policy: AddressPolicy) -> Sender {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        Sender::trusting(roots, policy)
    }

    fn trusting(roots: rustls::RootCertStore, policy: AddressPolicy) -> Sender {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Sender {
            tls: TlsConnector::from(Arc::new(config)),
            policy,
        }
    }

    pub fn policy(&self) -> &AddressPolicy {
        &self.policy
    }

    /// Sends `body`, and waits for what the endpoint says.
    pub async fn send(&self, target: &Target, stamp: &Stamp, body: Bytes) -> Sent {
        let sent = timeout(PATIENCE, self.try_send(target, stamp, body)).await;
        match sent {
            Ok(Ok(status)) => Sent::Answered(status),
            Ok(Err(why)) => Sent::Failed(why),
            Err(_) => Sent::Failed("timeout"),
        }
    }

    async fn try_send(
        &self,
        target: &Target,
        stamp: &Stamp,
        body: Bytes,
    ) -> Result<u16, &'static str> {
        let stream = self.connect(target).await?;
        if !target.is_tls {
            return exchange(stream, target, stamp, body).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| "tls")?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| "tls")?;
        exchange(stream, target, stamp, body).await
    }

    /// Connects to an address that may be connected to. The name is resolved here and nowhere else: nobody can give another
    /// answer in between.
    async fn connect(&self, target: &Target) -> Result<TcpStream, &'static str> {
        let found = lookup_host((target.host.as_str(), target.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| "name_not_resolved")?.collect();
        let permitted = found
            .iter()
            .filter(|address| self.policy.permits(address.ip()));
        let mut why = match found.is_empty() {
            true => "name_not_resolved",
            false => "address_not_allowed",
        };
        for address in permitted.take(ADDRESSES) {
            match timeout(CONNECTING, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(_)) => why = "not_connected",
                Err(_) => why = "timeout",
            }
        }
        Err(why)
    }
}

async fn exchange<S>(
    stream: S,
    target: &Target,
    stamp: &Stamp,
    body: Bytes,
) -> Result<u16, &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::builder()
        .method(Method::POST)
        .uri(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, concat!("callreel/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &stamp.id)
        .header("webhook-timestamp", stamp.timestamp)
        .header("webhook-signature", &stamp.signature)
        .body(Full::new(body))
        .map_err(|_| "request")?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|_| "not_connected")?;
    // It ends with the sender.
    tokio::spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(|_| "no_answer")?;
    let status = answer.status().as_u16();
    // Read for the sake of the endpoint, and not kept.
    let _ = Limited::new(answer.into_body(), ANSWER_BYTES)
        .collect()
        .await;
    Ok(status)
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn own_machine() -> AddressPolicy {
        AddressPolicy {
            allowed: vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        }
    }

    fn stamp() -> Stamp {
        Stamp {
            id: "id".into(),
            timestamp: 7,
            signature: "v1,x".into(),
        }
    }

    async fn sent(sender: &Sender, url: &str) -> Sent {
        let target = Target::parse(url, true, &own_machine()).unwrap();
        sender
            .send(&target, &stamp(), Bytes::from_static(b"{}"))
            .await
    }

    /// A server that gives each client this answer, and how often it was asked.
    async fn server(answer: &'static str) -> (u16, Arc<std::sync::atomic::AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<std::sync::atomic::AtomicU32>::default();
        let count = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let mut room = [0; 4096];
                let _ = client.read(&mut room).await;
                let _ = client.write_all(answer.as_bytes()).await;
            }
        });
        (port, asked)
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let (to, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{to}/\r\nContent-Length: 0\r\n\r\n"
        );
        let (port, _) = server(answer.leak()).await;
        let sender = Sender::new(own_machine());
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(sent(&sender, &url).await, Sent::Answered(302));
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0);
    }

    /// What a name or a number resolves to is looked at, not how it is written.
    #[tokio::test]
    async fn no_name_leads_to_an_address_that_is_not_allowed() {
        let (port, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let strict = Sender::new(AddressPolicy::default());
        for host in [
            "localhost",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0",
        ] {
            let failed = sent(&strict, &format!("http://{host}:{port}/")).await;
            let why = [
                Sent::Failed("address_not_allowed"),
                Sent::Failed("name_not_resolved"),
            ];
            assert!(why.contains(&failed), "{host}: {failed:?}");
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0);
        let url = format!("http://localhost:{port}/");
        assert_eq!(
            sent(&Sender::new(own_machine()), &url).await,
            Sent::Answered(200)
        );
    }

    #[tokio::test]
    async fn an_endpoint_over_tls_is_who_it_says_or_gets_nothing() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, mut heard) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(mut client) = acceptor.accept(client).await else {
                    continue;
                };
                let mut room = vec![0; 4096];
                let len = client.read(&mut room).await.unwrap();
                room.truncate(len);
                told.send(String::from_utf8(room).unwrap()).await.unwrap();
                let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                client.write_all(answer).await.unwrap();
                let _ = client.shutdown().await;
            }
        });
        let url = format!("https://localhost:{port}/hook?x=1");
        let stranger = sent(&Sender::new(own_machine()), &url).await;
        assert_eq!(stranger, Sent::Failed("tls"));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let trusting = Sender::trusting(roots, own_machine());
        assert_eq!(sent(&trusting, &url).await, Sent::Answered(204));
        let request = heard.recv().await.unwrap().to_ascii_lowercase();
        assert!(
            request.starts_with("post /hook?x=1 http/1.1\r\n"),
            "{request}"
        );
        for line in [
            format!("host: localhost:{port}"),
            "webhook-id: id".into(),
            "webhook-timestamp: 7".into(),
            "webhook-signature: v1,x".into(),
            "content-type: application/json".into(),
        ] {
            assert!(
                request.contains(&format!("{line}\r\n")),
                "{line} in {request}"
            );
        }
        let elsewhere = format!("https://127.0.0.1:{port}/");
        assert_eq!(
            sent(&trusting, &elsewhere).await,
            Sent::Failed("tls"),
            "another name"
        );
    }
}
