//! What the engine counted.

use super::*;
use crate::engine::Engine;
use crate::engine::streams::StreamCounters;
use crate::sip::{FaultCounts, SdpFaultCounts};

type Of = fn(&EngineSnapshot) -> u64;

/// A counter as it is told: its whole name, what it is, and how far it is.
pub struct Counter {
    pub name: String,
    help: String,
    pub value: u64,
}

pub(super) fn engine(page: &mut Page, snapshot: &EngineSnapshot) {
    for Counter { name, help, value } in counters(snapshot) {
        page.counter(&name, &help, value);
    }
    faults(page, &snapshot.engine.sip_faults);
    sdp_faults(page, &snapshot.engine.sdp_faults);
    for (name, help, value) in GAUGES {
        page.gauge(name, help, value(snapshot));
    }
}

/// What was wrong with SIP messages: a label for each fault there is a name for, whether it was seen or not.
fn faults(page: &mut Page, counts: &FaultCounts) {
    let mut family = page.family(
        "callreel_sip_faults_total",
        "counter",
        "SIP messages with something wrong with them, in the classes of RFC 4475; those that could be read were.",
    );
    for (fault, count) in counts.iter() {
        let labels = [("class", fault.class().name()), ("fault", fault.name())];
        family.value(&labels, count);
    }
}

/// What was wrong with session descriptions: as for SIP.
fn sdp_faults(page: &mut Page, counts: &SdpFaultCounts) {
    let mut family = page.family(
        "callreel_sdp_faults_total",
        "counter",
        "SDP bodies with something wrong with them, by what that is; they were read as far as they go.",
    );
    for (fault, count) in counts.iter() {
        family.value(&[("class", fault.name())], count);
    }
}

/// Everything that an engine has counted, from the wire up, as its metrics tell it.
pub fn counted_by(engine: &Engine) -> Vec<Counter> {
    counters(&EngineSnapshot::of(engine))
}

fn counters(snapshot: &EngineSnapshot) -> Vec<Counter> {
    let wire = snapshot.wire.named().into_iter().map(|(name, value)| {
        let words = name.replace('_', " ");
        let (name, help) = match name {
            "packets" => ("callreel_packets_total".into(), "Packets captured.".into()),
            "bytes" => ("callreel_bytes_total".into(), "Bytes captured.".into()),
            _ => (
                format!("callreel_wire_{name}_total"),
                format!("Packets and what was made of them: {words}."),
            ),
        };
        Counter { name, help, value }
    });
    let above = COUNTERS.iter().map(|(name, help, value)| Counter {
        name: format!("callreel_{name}_total"),
        help: (*help).to_owned(),
        value: value(snapshot),
    });
    wire.chain(above).chain(layers(&snapshot.streams)).collect()
}

/// Connections that are more than plain SIP.
fn layers(streams: &StreamCounters) -> impl Iterator<Item = Counter> {
    let evicted = Counter {
        name: "callreel_layered_connections_evicted_total".into(),
        help: "Connections of TLS or WebSocket forgotten to stay under the cap on memory.".into(),
        value: streams.evicted,
    };
    let (websocket, tls) = (streams.websocket.named(), streams.tls.named());
    let websocket = websocket.map(|(name, value)| ("websocket", name, value));
    let tls = tls.map(|(name, value)| ("tls", name, value));
    let layered = websocket.into_iter().chain(tls);
    std::iter::once(evicted).chain(layered.map(|(layer, name, value)| {
        let words = name.replace('_', " ");
        Counter {
            name: format!("callreel_{layer}_{name}_total"),
            help: format!("SIP over {layer}, what became of it: {words}."),
            value,
        }
    }))
}

const COUNTERS: &[(&str, &str, Of)] = &[
    ("sip_messages", "SIP messages understood.", |of| {
        of.engine.sip_messages
    }),
    ("sip_malformed", "What begins like SIP and is none.", |of| {
        of.engine.sip_malformed
    }),
    (
        "sip_stream_bytes_skipped",
        "Bytes skipped in TCP connections to find the next message.",
        |of| of.engine.sip_stream_bytes_skipped,
    ),
    ("rtcp_packets", "RTCP packets.", |of| of.engine.rtcp_packets),
    (
        "other_datagrams",
        "Datagrams that are neither SIP nor RTP nor RTCP.",
        |of| of.engine.other_datagrams,
    ),
    (
        "packets_out_of_order",
        "Packets with an earlier time than one before them.",
        |of| of.engine.out_of_order,
    ),
    ("sip_other_methods", "SIP messages of no call.", |of| {
        of.signalling.other_methods
    }),
    (
        "sip_incomplete",
        "SIP messages without Call-ID, From, To or CSeq.",
        |of| of.signalling.incomplete,
    ),
    (
        "sip_foreign_tags",
        "SIP messages of a call with tags that are not its.",
        |of| of.signalling.foreign_tags,
    ),
    (
        "sip_unknown_dialog",
        "SIP messages in a dialog whose beginning was not seen.",
        |of| of.signalling.unknown_dialog,
    ),
    (
        "sdp_malformed",
        "Descriptions of media that could not be read.",
        |of| of.signalling.sdp_malformed,
    ),
    ("calls_begun", "Calls followed.", |of| of.signalling.calls),
    (
        "calls_refused",
        "Calls that found no room (engine.max_calls).",
        |of| of.signalling.calls_refused,
    ),
    ("rtp_packets", "RTP packets.", |of| of.media.rtp_packets),
    ("rtp_duplicates", "RTP packets seen twice.", |of| {
        of.media.duplicates
    }),
    (
        "rtp_late",
        "RTP packets that came after their block.",
        |of| of.media.late,
    ),
    (
        "rtp_not_placed",
        "RTP packets placed nowhere on a timeline.",
        |of| of.media.not_placed,
    ),
    (
        "rtp_unclaimed",
        "RTP packets of no call that was seen.",
        |of| of.media.unclaimed,
    ),
    (
        "rtp_after_end",
        "RTP packets of calls that were over.",
        |of| of.media.after_end,
    ),
    (
        "rtp_encrypted",
        "Encrypted RTP packets whose key is not known.",
        |of| of.media.encrypted,
    ),
    (
        "rtp_restored",
        "Lost RTP packets whose payload a later one repeated (RFC 2198).",
        |of| of.media.restored,
    ),
    (
        "rtp_streams_refused",
        "RTP packets that found no room in the table of streams.",
        |of| of.media.streams_refused,
    ),
    ("rtp_streams", "RTP streams seen.", |of| {
        of.media.streams_opened
    }),
    (
        "rtp_other_media",
        "RTP packets of other media of a call that come to its audio's port.",
        |of| of.media.other_media,
    ),
    (
        "rtp_streams_shared",
        "RTP streams that another leg of the same conversation has too: phones that send to each other.",
        |of| of.media.streams_shared,
    ),
    (
        "rtp_streams_not_shared",
        "The same that a leg did not get: too many legs, or no room in the table of streams.",
        |of| of.media.streams_not_shared,
    ),
    (
        "rtp_streams_other_clock",
        "RTP streams whose timestamps run by another clock than SDP or RFC 3551 says.",
        |of| of.media.streams_other_clock,
    ),
    (
        "srtp_opened",
        "SRTP packets opened with a key of their call.",
        |of| of.media.srtp_opened,
    ),
    (
        "srtp_auth_failed",
        "SRTP packets that are of no key of their call: forged, damaged, or keyed otherwise than signalled.",
        |of| of.media.srtp_auth_failed,
    ),
    (
        "srtcp_opened",
        "SRTCP packets opened with a key of their call.",
        |of| of.media.srtcp_opened,
    ),
    (
        "srtcp_auth_failed",
        "SRTCP packets that are of no key of their call.",
        |of| of.media.srtcp_auth_failed,
    ),
    (
        "srtcp_encrypted",
        "Encrypted RTCP packets whose key is not known.",
        |of| of.media.srtcp_encrypted,
    ),
    (
        "sdp_crypto_malformed",
        "Keys in SDP that make no sense, or are of the wrong length.",
        |of| of.signalling.crypto_malformed,
    ),
    (
        "sdp_crypto_unsupported",
        "Keys in SDP for a suite that is not supported.",
        |of| of.signalling.crypto_unsupported,
    ),
    (
        "control_wishes_dropped",
        "Pauses and stops that a restart would not know any more, since there were too many.",
        |of| of.signalling.wishes_dropped,
    ),
    (
        "rtp_paused_packets",
        "RTP packets that lay in pauses, at least in part, and were not recorded.",
        |of| of.media.paused,
    ),
    (
        "rtp_streams_without_call",
        "RTP streams that belonged to no call.",
        |of| of.media.streams_unclaimed,
    ),
    (
        "rtcp_bound",
        "RTCP packets that spoke of a stream that was seen.",
        |of| of.media.rtcp_bound,
    ),
    (
        "rtcp_unbound",
        "RTCP packets that spoke of none, or had numbers that were not its.",
        |of| of.media.rtcp_unbound,
    ),
    (
        "rtcp_damaged",
        "RTCP packets with lengths that lie.",
        |of| of.media.rtcp_damaged,
    ),
];

const GAUGES: &[(&str, &str, Of)] = &[
    ("callreel_open_calls", "Calls that are not over.", |of| {
        of.open_calls
    }),
    ("callreel_open_streams", "RTP streams followed.", |of| {
        of.open_streams
    }),
    (
        "callreel_kept_packets",
        "RTP packets kept for signalling that has not come.",
        |of| of.kept_packets,
    ),
];
