//! Where a webhook goes to, as a tenant writes it.

use std::net::IpAddr;

use hyper::Uri;

use super::address::AddressPolicy;

/// Bytes of a URL.
const LONGEST_URL: usize = 2000;

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub is_tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// As in the `Host` header.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// Why nothing can be sent to a URL. The words are for who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is not a URL of at most 2,000 characters")]
    NotAUrl,
    #[error("it must begin with https://")]
    NotHttps,
    #[error("it must not hold a user or a password")]
    Credentials,
    #[error("its address is not on the public internet")]
    Address,
}

impl Target {
    /// `http`: plain HTTP is allowed too.
    pub fn parse(url: &str, http: bool, policy: &AddressPolicy) -> Result<Target, Refused> {
        let fits = url.len() <= LONGEST_URL && url.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits || url.contains('#') || url.contains('\\') {
            return Err(Refused::NotAUrl);
        }
        let uri: Uri = url.parse().map_err(|_| Refused::NotAUrl)?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if http => false,
            Some("http") => return Err(Refused::NotHttps),
            _ => return Err(Refused::NotAUrl),
        };
        let authority = uri.authority().ok_or(Refused::NotAUrl)?;
        if authority.as_str().contains('@') {
            return Err(Refused::Credentials);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() || host.len() > 253 {
            return Err(Refused::NotAUrl);
        }
        // Told at once; any other name is looked at when it is connected to.
        if let Ok(address) = host.parse::<IpAddr>()
            && !policy.permits(address)
        {
            return Err(Refused::Address);
        }
        let behind = authority.as_str().strip_prefix(authority.host());
        let port = match behind.ok_or(Refused::NotAUrl)? {
            "" if is_tls => 443,
            "" => 80,
            port => {
                let digits = port.strip_prefix(':').ok_or(Refused::NotAUrl)?;
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                let port = digits.parse().ok().filter(|_| is_number);
                port.ok_or(Refused::NotAUrl)?
            }
        };
        if port == 0 {
            return Err(Refused::NotAUrl);
        }
        Ok(Target {
            is_tls,
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, Refused> {
        Target::parse(url, false, &AddressPolicy::default())
    }

    #[test]
    fn a_url_is_taken_apart() {
        let target = parse("https://hooks.example.com:8443/callreel?x=1").unwrap();
        assert_eq!(
            target,
            Target {
                is_tls: true,
                host: "hooks.example.com".into(),
                port: 8443,
                authority: "hooks.example.com:8443".into(),
                path: "/callreel?x=1".into(),
            }
        );
        let target = parse("https://[2606:4700::1]").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("2606:4700::1", 443, "/")
        );
    }

    #[test]
    fn what_is_no_place_for_a_webhook_is_refused() {
        assert_eq!(parse("http://example.com/"), Err(Refused::NotHttps));
        for url in [
            "",
            "example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://a b/",
            "https://exa\u{301}mple.com/",
            "https://example.com/#x",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://example.com\\@10.0.0.1/",
            "https://a\r\nX: y/",
        ] {
            assert_eq!(parse(url), Err(Refused::NotAUrl), "{url}");
        }
        assert_eq!(
            parse("https://user:pw@example.com/"),
            Err(Refused::Credentials)
        );
        for url in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://0.0.0.0/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00::1]:8443/",
        ] {
            assert_eq!(parse(url), Err(Refused::Address), "{url}");
        }
        assert_eq!(
            parse(&format!("https://example.com/{}", "a".repeat(2000))),
            Err(Refused::NotAUrl)
        );
    }

    #[test]
    fn plain_http_and_own_networks_are_the_operators_decision() {
        let policy = AddressPolicy {
            allowed: vec!["127.0.0.0/8".parse().unwrap()],
        };
        let target = Target::parse("http://127.0.0.1:8080/x", true, &policy).unwrap();
        assert_eq!((target.is_tls, target.port), (false, 8080));
        assert_eq!(
            Target::parse("http://127.0.0.1/", false, &policy),
            Err(Refused::NotHttps)
        );
    }
}
