//! What became of TLS connections.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What became of TLS connections. Monotonic.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct TlsCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl TlsCounters {
            const COUNT: usize = [$(stringify!($name)),*].len();

            /// Every counter by its name, in the order of declaration: for metrics.
            pub fn named(&self) -> [(&'static str, u64); Self::COUNT] {
                [$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// TLS connections seen on the ports that were named.
    connections,
    /// Connections of which at least one direction was read.
    opened,
    /// Connections that stayed closed because no secret of theirs came in time.
    without_key,
    /// Connections that stayed closed because their handshake was not seen, or not all of it.
    without_handshake,
    /// Connections of a version, cipher suite or compression that is not read.
    unsupported,
    /// Records that were opened.
    records,
    /// Records that no key opened.
    bad_records,
    /// Times that a direction was read on after bytes of it were lost.
    resynchronised,
    /// Directions given up: no record after a loss was opened.
    given_up,
    /// Bytes of records that waited for a secret, and were dropped.
    waited_in_vain_bytes,
    /// Records of early data (0-RTT), which is not read.
    early_data_records,
    /// Secrets taken in.
    secrets,
    /// Sessions whose secrets were forgotten to stay under the cap, oldest first.
    sessions_evicted,
}
