//! Request methods.

/// The methods that matter to whoever follows calls; any other token is [`Method::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Update,
    Prack,
    Info,
    Refer,
    Options,
    Register,
    Subscribe,
    Notify,
    Message,
    Publish,
    Other,
}

impl Method {
    /// Every method with a name of its own.
    pub const KNOWN: [Method; 14] = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Update,
        Method::Prack,
        Method::Info,
        Method::Refer,
        Method::Options,
        Method::Register,
        Method::Subscribe,
        Method::Notify,
        Method::Message,
        Method::Publish,
    ];

    /// The method that a token names. Methods are case-sensitive (RFC 3261 section 7.1), yet `Invite` is heard from
    /// home-made senders and can mean nothing else, so case is ignored.
    pub fn from_token(token: &str) -> Method {
        Method::KNOWN
            .into_iter()
            .find(|method| method.name().eq_ignore_ascii_case(token))
            .unwrap_or(Method::Other)
    }

    /// The method's token, `OTHER` for [`Method::Other`].
    pub fn name(self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Info => "INFO",
            Method::Refer => "REFER",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Message => "MESSAGE",
            Method::Publish => "PUBLISH",
            Method::Other => "OTHER",
        }
    }
}
