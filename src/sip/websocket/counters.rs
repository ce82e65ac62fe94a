//! What became of WebSocket connections.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What became of WebSocket connections and what they carried. Monotonic.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct WebSocketCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl WebSocketCounters {
            const COUNT: usize = [$(stringify!($name)),*].len();

            /// Every counter by its name, in the order of declaration: for metrics.
            pub fn named(&self) -> [(&'static str, u64); Self::COUNT] {
                [$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Upgrades to the subprotocol `sip` that a server accepted.
    upgrades,
    /// Upgrades to something else, and such as no server accepted.
    upgrades_other,
    /// Directions joined in mid-connection, their upgrade unseen.
    midway,
    /// SIP messages.
    messages,
    /// Messages of line ends alone (RFC 7118 section 6).
    keep_alives,
    /// Messages that are not SIP.
    other_messages,
    /// Messages longer than is put together.
    too_long,
    /// Compressed messages that could not be inflated, or that refer to bytes that were not seen.
    undecodable,
    /// Times that framing was lost and looked for again.
    lost,
    /// Bytes skipped to find the next frame.
    bytes_skipped,
}
