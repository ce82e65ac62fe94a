//! What is in the public captures: their README, checked with tshark and by decoding their packets by hand.
//!
//! Times are seconds from the first packet of a file. Levels are those of a whole channel. A codec that this version does
//! not decode has `undecoded` rows; a version that does turns them into `prompt` rows, whose lengths stand in the README.

#![allow(dead_code, reason = "each test uses its part")]

/// A channel without a sample other than 0.
pub const SILENT: f64 = f64::NEG_INFINITY;

pub struct Capture {
    pub file: &'static str,
    pub packets: u64,
    /// RTP that is nobody's, without what looks like it by chance; `None` where there is such noise.
    pub unclaimed: Option<u64>,
    pub calls: Calls,
}

pub enum Calls {
    /// In the order of their INVITEs.
    Each(&'static [Call]),
    /// How many of which kind.
    Kinds(&'static [(usize, Kind)]),
    /// Any number, none of them answered or recorded.
    Failed,
}

/// Of a load test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    pub disposition: &'static str,
    pub end_reason: &'static str,
    pub status: Option<u16>,
    pub answered: bool,
}

pub struct Call {
    pub call_id: &'static str,
    pub caller: &'static str,
    pub callee: &'static str,
    pub answered: bool,
    pub disposition: &'static str,
    pub end_reason: &'static str,
    pub status: Option<u16>,
    pub codec: &'static str,
    /// RTP packets that were sent, both sides together, and those of them that are not in the file.
    pub sent: u64,
    pub lost: u64,
    pub recording: Option<Recording>,
    /// The other leg of the conversation, by Call-ID, and why it is one.
    pub linked: Option<(&'static str, &'static str)>,
}

impl Call {
    const fn linked(mut self, call_id: &'static str, reason: &'static str) -> Call {
        self.linked = Some((call_id, reason));
        self
    }
}

pub struct Recording {
    /// First media.
    pub starts: f64,
    /// From answer to BYE.
    pub talk: Option<f64>,
    pub seconds: f64,
    pub rate_hz: u32,
    /// dBFS of the caller.
    pub left: f64,
    /// dBFS of the callee.
    pub right: f64,
    pub streams: &'static [Stream],
    pub segments: &'static [Segment],
    pub digits: &'static str,
}

/// Who sends, from where, SSRC, codec, packets without duplicates, lost, duplicates.
pub type Stream = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u64,
    u64,
    u64,
);
/// Whose, from, to, why.
pub type Segment = (&'static str, f64, f64, &'static str);

/// An INVITE that nobody answered.
const fn attempt(
    call_id: &'static str,
    (caller, callee): (&'static str, &'static str),
    end_reason: &'static str,
    status: Option<u16>,
) -> Call {
    Call {
        call_id,
        caller,
        callee,
        answered: false,
        disposition: "not_answered",
        end_reason,
        status,
        codec: "",
        sent: 0,
        lost: 0,
        recording: None,
        linked: None,
    }
}

/// An answered call whose media is not in the file.
const fn unheard(
    call_id: &'static str,
    parties: (&'static str, &'static str),
    end_reason: &'static str,
) -> Call {
    Call {
        answered: true,
        disposition: "no_media",
        ..attempt(call_id, parties, end_reason, None)
    }
}

/// A call that is recorded whole.
const fn recorded(
    call_id: &'static str,
    parties: (&'static str, &'static str),
    end_reason: &'static str,
    codec: &'static str,
    (sent, lost): (u64, u64),
    recording: Recording,
) -> Call {
    Call {
        disposition: "recorded",
        codec,
        sent,
        lost,
        recording: Some(recording),
        ..unheard(call_id, parties, end_reason)
    }
}

/// Whether the operator's decoder has to be there for what is expected of a codec.
pub fn is_foreign(codec: &str) -> bool {
    matches!(codec, "iLBC" | "speex")
}

const SIPP: (&str, &str) = ("sipp", "test");

/// A call of SIPp to FreeSWITCH, which plays a prompt and hangs up; the caller sends nothing.
const fn prompt(call_id: &'static str, codec: &'static str, recording: Recording) -> Call {
    let sent = recording.streams[0].4;
    recorded(call_id, SIPP, "bye_callee", codec, (sent, 0), recording)
}

/// The same in a codec that this version does not decode: there is a silent recording, and the packets beside it.
const fn undecoded(call_id: &'static str, codec: &'static str, sent: u64) -> Call {
    Call {
        disposition: "kept_raw",
        codec,
        sent,
        ..unheard(call_id, SIPP, "bye_callee")
    }
}

const fn each(file: &'static str, packets: u64, calls: &'static [Call]) -> Capture {
    Capture {
        file,
        packets,
        unclaimed: Some(0),
        calls: Calls::Each(calls),
    }
}

/// No SIP call, and so much RTP.
const fn no_call(file: &'static str, packets: u64, unclaimed: u64) -> Capture {
    Capture {
        unclaimed: Some(unclaimed),
        ..each(file, packets, &[])
    }
}

const fn kind(disposition: &'static str, end_reason: &'static str, status: Option<u16>) -> Kind {
    Kind {
        disposition,
        end_reason,
        status,
        answered: matches!(disposition.as_bytes(), b"no_media"),
    }
}

#[rustfmt::skip]
pub const CAPTURES: &[Capture] = &[
    // G.711 and L16: recorded.
    each("g711-ulaw-then-alaw.pcap", 852, &[
        prompt("1-1966@10.0.2.20", "PCMU", Recording {
            starts: 0.02, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.56,
            streams: &[("callee", "10.0.2.15:27942", "343da99b", "PCMU", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        recorded("1-1968@10.0.2.20", SIPP, "end_of_capture", "PCMA", (414, 0), Recording {
            starts: 8.64, talk: None, seconds: 8.28, rate_hz: 8000, left: SILENT, right: -31.48,
            streams: &[("callee", "10.0.2.15:28102", "343ffa34", "PCMA", 414, 0, 0)],
            segments: &[("caller", 0.0, 8.28, "no_media")],
            digits: "",
        }),
    ]),
    each("l16-four-variants.pcap", 1673, &[
        prompt("1-2118@10.0.2.20", "L16", Recording {
            starts: 0.02, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.56,
            streams: &[("callee", "10.0.2.15:26628", "043da974", "L16", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2120@10.0.2.20", "L16", Recording {
            starts: 8.63, talk: Some(8.50), seconds: 8.50, rate_hz: 16_000, left: SILENT, right: -31.50,
            streams: &[("callee", "10.0.2.15:24082", "043ffa0c", "L16", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        // 23.2 ms of prompt every 32 ms: 8.50 s of it in a call of 11.68 s. The sender falls behind until its timestamps
        // are too far off to be believed; the time it lost lies in gaps.
        prompt("1-2121@10.0.2.20", "L16", Recording {
            starts: 17.26, talk: Some(11.71), seconds: 11.68, rate_hz: 16_000, left: SILENT, right: -32.92,
            streams: &[("callee", "10.0.2.15:32682", "043da985", "L16", 366, 0, 0)],
            segments: SLOW_SENDER,
            digits: "",
        }),
        prompt("1-2123@10.0.2.20", "L16", Recording {
            starts: 29.07, talk: Some(8.50), seconds: 8.50, rate_hz: 16_000, left: SILENT, right: -31.24,
            streams: &[("callee", "10.0.2.15:31026", "043ffa21", "L16", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
    ]),
    each("dtmf-rfc2833-late-offer.pcap", 1360, &[
        attempt("5514@192.168.105.110", ("2502", "2504"), "rejected", Some(603)),
        recorded("25672@192.168.105.110", ("2502", "2504"), "end_of_capture", "PCMA", (1333, 2), Recording {
            starts: 76.83, talk: None, seconds: 20.03, rate_hz: 8000, left: -53.30, right: -35.78,
            streams: &[
                ("caller", "192.168.105.110:4374", "9a7b5382", "PCMA", 665, 2, 0),
                ("callee", "192.168.105.172:4376", "5711bf84", "PCMA", 666, 0, 0),
            ],
            segments: &[
                ("callee", 0.00, 0.05, "no_media"),
                ("callee", 4.70, 4.85, "dtmf"),
                ("callee", 6.23, 6.38, "dtmf"),
                ("callee", 6.71, 6.86, "dtmf"),
                ("callee", 7.16, 7.31, "dtmf"),
                ("callee", 7.76, 7.91, "dtmf"),
                ("callee", 8.27, 8.42, "dtmf"),
                ("callee", 8.84, 8.99, "dtmf"),
                ("caller", 15.30, 15.33, "loss"),
                ("caller", 17.64, 17.67, "loss"),
            ],
            digits: "6789123",
        }),
    ]),
    each("fax-t38-rejected-g711.pcap", 7217, &[
        recorded("00e9d4a500e9d48-0015-0001-0000-0000@10.35.40.25", FAX, "bye_caller", "PCMA", (6995, 0), Recording {
            starts: 27.80, talk: Some(76.89), seconds: 77.005, rate_hz: 8000, left: -21.02, right: -26.76,
            streams: &[
                ("callee", "10.35.60.100:15580", "0eaf0eaf", "PCMA", 3848, 0, 0),
                ("caller", "10.23.1.52:16756", "17d90134", "PCMA", 3147, 0, 0),
            ],
            segments: &[
                ("caller", 0.00, 2.17, "no_media"),
                ("caller", 11.91, 36.36, "comfort_noise"),
                // The refused T.38: 280 ms without a packet, then timestamps from 0 on.
                ("caller", 36.66, 36.94, "no_media"),
            ],
            digits: "",
        }),
        unheard("SD4909701-9ff11bf72eb4a347c92974d8fbbc2668-ao8o3i1", FAX, "bye_caller"),
    ]),
    each("asterisk-direct-media-reinvite.pcapng", 416, &[
        unheard("M2Q0ZDc1ZGM1NzIyMTlhZTA3NDU3NTgzMzA5YmJmZWQ.", ("telephone1", "2302"), "bye_caller")
            .linked("37686afc57ce24ac655742b3644a7bb8@172.16.98.101:5060", "numbers"),
        recorded(
            "37686afc57ce24ac655742b3644a7bb8@172.16.98.101:5060", ("telephone1", "telephone2"), "bye_caller", "PCMU", (356, 0),
            Recording {
                starts: 19.26, talk: Some(7.87), seconds: 7.71, rate_hz: 8000, left: -92.13, right: -25.59,
                streams: &[
                    ("caller", "172.16.98.1:8000", "44830d58", "PCMU", 1, 0, 0),
                    ("callee", "172.16.98.145:8000", "6ab21e82", "PCMU", 355, 0, 0),
                ],
                segments: &[
                    ("callee", 0.00, 0.33, "no_media"),
                    ("caller", 0.02, 7.71, "no_media"),
                    ("callee", 7.43, 7.71, "no_media"),
                ],
                digits: "",
            },
        )
        .linked("M2Q0ZDc1ZGM1NzIyMTlhZTA3NDU3NTgzMzA5YmJmZWQ.", "numbers"),
    ]),
    each("reinvite-codec-change-pcmu-g722.pcap", 614, &[
        recorded("1-3685341@127.0.0.1", ("alice", "bob"), "bye_caller", "G722 PCMU", (604, 0), Recording {
            starts: 0.00, talk: Some(6.01), seconds: 6.01, rate_hz: 8000, left: -12.34, right: -12.34,
            streams: &[
                ("callee", "127.0.0.1:5094", "0e330af3", "PCMU", 151, 0, 0),
                ("caller", "127.0.0.1:5084", "0e330af3", "PCMU", 151, 0, 0),
                ("callee", "127.0.0.1:5094", "2d374e76", "G722", 151, 0, 0),
                ("caller", "127.0.0.1:5084", "2d374e76", "G722", 151, 0, 0),
            ],
            segments: &[],
            digits: "",
        }),
    ]),
    each("g711a-prack-comfort-noise.pcap", 259, &[
        recorded("1907983263271201083544@10.33.6.101", ("MP114.FXS1", "101"), "bye_callee", "PCMA", (248, 0), Recording {
            starts: 2.09, talk: Some(4.87), seconds: 4.83, rate_hz: 8000, left: -34.57, right: -37.03,
            streams: &[
                ("callee", "10.33.6.100:6020", "44c61afb", "PCMA", 47, 0, 0),
                ("caller", "10.33.6.101:6040", "06c156fd", "PCMA", 201, 0, 0),
            ],
            segments: &[
                ("caller", 0.00, 0.03, "no_media"),
                ("callee", 0.28, 3.96, "comfort_noise"),
                ("caller", 0.79, 0.97, "comfort_noise"),
                ("caller", 3.31, 3.43, "comfort_noise"),
                ("caller", 3.63, 3.69, "comfort_noise"),
                ("caller", 3.91, 3.99, "comfort_noise"),
                ("caller", 4.39, 4.83, "comfort_noise"),
                ("callee", 4.46, 4.83, "comfort_noise"),
            ],
            digits: "",
        }),
    ]),
    each("sip-over-tcp-g711a.pcap", 84, &[
        recorded("158936656982201062716@10.33.6.100", ("101", "201"), "bye_callee", "PCMA", (66, 0), Recording {
            starts: 4.40, talk: Some(2.15), seconds: 2.10, rate_hz: 8000, left: -63.83, right: -31.43,
            streams: &[
                ("callee", "10.33.6.101:6050", "42f433d4", "PCMA", 42, 0, 0),
                ("caller", "10.33.6.100:6000", "5a3361b3", "PCMA", 24, 0, 0),
            ],
            segments: &[
                ("caller", 0.22, 1.82, "comfort_noise"),
                ("callee", 0.52, 1.82, "comfort_noise"),
                ("caller", 2.02, 2.10, "comfort_noise"),
            ],
            digits: "",
        }),
    ]),
    each("g711u-b2bua-two-legs.pcap", 5651, &[
        recorded("3cfe1c77155241bb89eb003ab8e2f87b", ("1111", "2222"), "bye_callee", "PCMU", (2691, 0), Recording {
            starts: 22.28, talk: Some(26.92), seconds: 26.92, rate_hz: 8000, left: -31.65, right: -30.83,
            streams: &[
                ("callee", "192.168.20.130:12262", "26738f8c", "PCMU", 1346, 0, 0),
                ("caller", "192.168.20.132:4000", "6d9f0ddf", "PCMU", 1345, 0, 0),
            ],
            segments: &[],
            digits: "",
        })
        .linked("54be7fcc-b009-4326-a81e-371a5a93c4b6", "numbers"),
        recorded("54be7fcc-b009-4326-a81e-371a5a93c4b6", ("1111", "2222"), "bye_callee", "PCMU", (2691, 0), Recording {
            starts: 22.28, talk: Some(26.92), seconds: 26.92, rate_hz: 8000, left: -31.65, right: -30.83,
            streams: &[
                ("callee", "192.168.20.1:4000", "00294823", "PCMU", 1346, 0, 0),
                ("caller", "192.168.20.130:17004", "441bc0cf", "PCMU", 1345, 0, 0),
            ],
            segments: &[],
            digits: "",
        })
        .linked("3cfe1c77155241bb89eb003ab8e2f87b", "numbers"),
    ]),
    // Decoded by ffmpeg when the call is over: see `is_foreign`.
    each("ilbc-30ms-one-way.pcap", 292, &[
        prompt("1-4269@10.0.2.20", "iLBC", Recording {
            starts: 0.03, talk: Some(8.52), seconds: 8.52, rate_hz: 8000, left: SILENT, right: -31.79,
            streams: &[("callee", "10.0.2.15:25256", "043eefa7", "iLBC", 284, 0, 0)],
            segments: &[("caller", 0.0, 8.52, "no_media")],
            digits: "",
        }),
    ]),
    each("speex-nb-wb-uwb.pcap", 1299, &[
        prompt("1-4245@10.0.2.20", "speex", Recording {
            starts: 0.02, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.08,
            streams: &[("callee", "10.0.2.15:21280", "043eee26", "speex", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-4247@10.0.2.20", "speex", Recording {
            starts: 8.64, talk: Some(8.50), seconds: 8.50, rate_hz: 16_000, left: SILENT, right: -31.1,
            streams: &[("callee", "10.0.2.15:22662", "04413ebf", "speex", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-4248@10.0.2.20", "speex", Recording {
            starts: 17.26, talk: Some(8.50), seconds: 8.50, rate_hz: 16_000, left: SILENT, right: -31.1,
            streams: &[("callee", "10.0.2.15:28286", "043eee37", "speex", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
    ]),
    // Codecs with a memory: levels as ffmpeg decodes them (spandsp for G.726).
    each("g722-one-way.pcap", 433, &[prompt("1-2161@10.0.2.20", "G722", Recording {
            starts: 0.02, talk: Some(8.50), seconds: 8.50, rate_hz: 16_000, left: SILENT, right: -31.50,
            streams: &[("callee", "10.0.2.15:17472", "043daaba", "G722", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        })]),
    each("g726-eight-variants.pcap", 3464, &[
        prompt("1-2134@10.0.2.20", "G726-16", Recording {
            starts: 0.02, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.44,
            streams: &[("callee", "10.0.2.15:26326", "043da9c4", "G726-16", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2137@10.0.2.20", "G726-24", Recording {
            starts: 8.64, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.57,
            streams: &[("callee", "10.0.2.15:28354", "043ffa5d", "G726-24", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2138@10.0.2.20", "G726-32", Recording {
            starts: 17.25, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.56,
            streams: &[("callee", "10.0.2.15:18180", "043da9d6", "G726-32", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2139@10.0.2.20", "G726-40", Recording {
            starts: 25.86, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.57,
            streams: &[("callee", "10.0.2.15:31690", "043ffa6e", "G726-40", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2140@10.0.2.20", "AAL2-G726-16", Recording {
            starts: 34.47, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.44,
            streams: &[("callee", "10.0.2.15:22606", "043da9e7", "AAL2-G726-16", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2141@10.0.2.20", "AAL2-G726-24", Recording {
            starts: 43.08, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.57,
            streams: &[("callee", "10.0.2.15:23040", "043ffa7f", "AAL2-G726-24", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2142@10.0.2.20", "AAL2-G726-32", Recording {
            starts: 51.69, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.56,
            streams: &[("callee", "10.0.2.15:27442", "043da9f8", "AAL2-G726-32", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
        prompt("1-2143@10.0.2.20", "AAL2-G726-40", Recording {
            starts: 60.31, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.57,
            streams: &[("callee", "10.0.2.15:16984", "043ffa91", "AAL2-G726-40", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        }),
    ]),
    each("g729a-one-way.pcap", 433, &[prompt("1-24411@10.0.2.20", "G729", Recording {
            starts: 0.03, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.91,
            streams: &[("callee", "10.0.2.15:28120", "044559a1", "G729", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        })]),
    each("gsm-fr-one-way.pcap", 433, &[prompt("1-2176@10.0.2.20", "GSM", Recording {
            starts: 0.02, talk: Some(8.50), seconds: 8.50, rate_hz: 8000, left: SILENT, right: -31.77,
            streams: &[("callee", "10.0.2.15:18924", "043daaf1", "GSM", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        })]),
    each("opus-one-way.pcap", 433, &[prompt("1-4237@10.0.2.20", "opus", Recording {
            starts: 0.02, talk: Some(8.50), seconds: 8.50, rate_hz: 16_000, left: SILENT, right: -31.80,
            streams: &[("callee", "10.0.2.15:24196", "043eee04", "opus", 425, 0, 0)],
            segments: &[("caller", 0.0, 8.50, "no_media")],
            digits: "",
        })]),
    // SRTP, with keys in the SIP.
    Capture {
        unclaimed: None,
        ..each("srtp-sdes-b2bua-two-legs.pcap", 4753, &[
            recorded("20d1c8822125483494b04e47206cec19", ("1111", "2222"), "bye_callee", "PCMU", (2 * 1135, 0), Recording {
                starts: 12.83, talk: Some(22.71), seconds: 22.71, rate_hz: 8000, left: -32.46, right: -33.34,
                streams: &[
                    ("callee", "192.168.20.130:14708", "0dcde9ee", "PCMU", 1135, 0, 0),
                    ("caller", "192.168.20.132:4000", "547970c2", "PCMU", 1135, 0, 0),
                ],
                segments: &[],
                digits: "",
            }).linked("6dbcc9a6-d89a-4547-9c91-72949f9e581c", "numbers"),
            recorded("6dbcc9a6-d89a-4547-9c91-72949f9e581c", ("1111", "2222"), "bye_callee", "PCMU", (2 * 1135, 0), Recording {
                starts: 12.83, talk: Some(22.70), seconds: 22.70, rate_hz: 8000, left: -32.46, right: -33.34,
                streams: &[
                    ("callee", "192.168.20.1:4000", "00294823", "PCMU", 1135, 0, 0),
                    ("caller", "192.168.20.130:14904", "1edaa6cf", "PCMU", 1135, 0, 0),
                ],
                segments: &[],
                digits: "",
            }).linked("20d1c8822125483494b04e47206cec19", "numbers"),
        ])
    },
    // In GTP-U. Of over 900 packets of speech 27 are left; a third party's copies in ICMP are no media. The callee's first packet
    // is 70 ms late.
    each("volte-gtp-ipv6-amr.pcap", 106, &[
        recorded("zTHDK1uOm6wLihi3m15pRfSR", ("+88270006", "122"), "bye_callee", "AMR", (14 + 13 + 509 + 402, 509 + 402), Recording {
            starts: 80.63, talk: Some(10.64), seconds: 10.79, rate_hz: 8000, left: -94.12, right: -79.75,
            streams: &[
                ("callee", "[fd01::183]:19956", "6399bbc1", "AMR", 14, 509, 0),
                ("caller", "[fd00:183:1:1:1886:9040:8605:32b8]:49120", "a2ff620f", "AMR", 13, 402, 0),
            ],
            segments: &[
                ("caller", 0.0, 0.248, "no_media"), ("callee", 0.02, 0.04, "no_media"), ("callee", 0.06, 0.08, "no_media"),
                ("caller", 0.308, 8.348, "loss"), ("callee", 0.29, 10.48, "loss"), ("caller", 8.348, 10.548, "no_media"),
                ("callee", 10.48, 10.567, "no_media"), ("callee", 10.587, 10.788, "no_media"),
                ("caller", 10.708, 10.788, "comfort_noise"),
            ],
            digits: "",
        }),
    ]),
    no_call("sip-vlan-gre-ppp.pcapng", 1, 0),
    // Signalling alone.
    each("dtmf-sip-info-pppoe.pcap", 32, &[unheard(
        "2091060b-146f-e011-809a-0019cb53db77@admind-desktop", ("admind", "echo"), "end_of_capture",
    )]),
    Capture {
        unclaimed: None,
        ..each("failed-calls-with-auth.pcap", 691, &[
            // Eleven CANCELs; the 408 is their end.
            attempt("105090259-446faf7a@192.168.1.2", ("816666", "97239287044"), "cancelled", None),
            attempt("85216695-42dcdb1d@192.168.1.2", ("voi18062", "0097239287044"), "rejected", Some(403)),
            attempt("24487391-449bf2a0@192.168.1.2", ("35104723", "0097239287044"), "rejected", Some(403)),
            // Its nine RTP packets come a second after the 480: they are of no call.
            attempt("11894297-4432a9f8@192.168.1.2", ("35104723", "35104724"), "rejected", Some(480)),
        ])
    },
    Capture { file: "fuzzed-sip-mix.pcap", packets: 691, unclaimed: None, calls: Calls::Failed },
    each("sip-proxy-signalling-only.pcap", 11, &[unheard("75104938772201062721@10.33.6.101", ("201", "101"), "bye_callee")]),
    each("invite-488-rejected.pcapng", 13, &[attempt("NA4y5nr9Jk", ("8801", "8802"), "rejected", Some(488))]),
    Capture {
        calls: Calls::Kinds(&[
            (1148, kind("not_answered", "rejected", Some(403))),
            (96, kind("no_media", "bye_caller", None)),
            // No BYE, and every later call says that it receives on the same port.
            (6, kind("no_media", "ports_reused", None)),
            (12, kind("not_answered", "bye_caller", None)),
            (72, kind("not_answered", "end_of_capture", None)),
        ]),
        ..each("sip-load-1334-dialogs.pcapng", 8989, &[])
    },
    each("sip-ipv6-fragments-sll.pcap", 34, &[unheard(
        "71846-1647924829-397430@fd17:625c:f037:2:a00:27ff:feb9:1521", ("sipp", "mcr"), "bye_caller",
    )]),
    each("sip-tcp-ipip-asymmetric.pcap", 4, &[unheard(
        "1RLuVzzBClYCf2", ("1bdaa608131517540000", "1bdaa608131517540000"), "bye_caller",
    )]),
    each("sip-tcp-64k-body-loopback.pcap", 16, &[attempt("test123@attacker.com", ("alice", "bob"), "end_of_capture", None)]),
    each("sip-compact-headers.pcap", 1, &[attempt(
        "105090259-446faf7a@192.168.1.2", ("816666", "97239287044"), "end_of_capture", None,
    )]),
    no_call("sip-junk-before-request.pcap", 2, 0),
    Capture {
        unclaimed: Some(45),
        ..each("h263-video-loopback-null.pcap", 49, &[unheard(
            "NmNhYWNhMjY0Y2M0OTc4YTI2MzgzZTNlYTRhZTMxNTE.", ("matthew", "auto"), "end_of_capture",
        )])
    },
    // RTP without SIP.
    no_call("skinny-calls-not-sip.pcap", 200, 101),
    no_call("rtp-only-alaw-30ms.pcap", 236, 236),
    no_call("rtp-only-dtmf-digit-1.pcap", 10, 8),
    no_call("rtp-only-ulaw-dtmf-2013785496.pcap", 974, 974),
    no_call("rtp-only-opus-fec-with-loss.pcapng", 2971, 2971),
];

const FAX: (&str, &str) = ("unavailable", "061963177");

const SLOW_SENDER: &[Segment] = &[
    ("caller", 0.0, 11.68, "no_media"),
    ("callee", 0.534, 0.736, "no_media"),
    ("callee", 1.270, 1.472, "no_media"),
    ("callee", 2.006, 2.208, "no_media"),
    ("callee", 2.742, 2.944, "no_media"),
    ("callee", 3.478, 3.680, "no_media"),
    ("callee", 4.214, 4.416, "no_media"),
    ("callee", 4.950, 5.152, "no_media"),
    ("callee", 5.686, 5.888, "no_media"),
    ("callee", 6.422, 6.624, "no_media"),
    ("callee", 7.158, 7.360, "no_media"),
    ("callee", 7.894, 8.096, "no_media"),
    ("callee", 8.630, 8.832, "no_media"),
    ("callee", 9.366, 9.568, "no_media"),
    ("callee", 10.102, 10.304, "no_media"),
    ("callee", 10.838, 11.040, "no_media"),
    ("callee", 11.527, 11.682, "no_media"),
];
