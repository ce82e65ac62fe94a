//! The flags of `callreel simulate`.

use std::path::PathBuf;
use std::time::Duration;

use super::sink::{FrameSink, InterfaceSink, PcapSink};
use super::{Codec, Error, Features, HoldKind, Network, Scenario, Truth, generate_with};
use crate::base::PerSide;
use crate::rtp::Suite;

/// Write or send telephone calls with known audio.
///
/// Features take a percentage of the calls: `--hold` holds them all, `--hold=30` about three in ten.
#[derive(Clone, Debug, clap::Args)]
pub struct SimulateOptions {
    /// The capture file to write (nanosecond pcap); - for standard output
    #[arg(value_name = "FILE", required_unless_present = "interface")]
    pub output: Option<PathBuf>,
    /// Send on this interface in real time instead (needs CAP_NET_RAW)
    #[arg(long, value_name = "NAME", conflicts_with = "output")]
    pub interface: Option<String>,
    /// Where to write what was sent, as JSON [default: FILE with .truth.json]
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Also write callreel.toml and tenants/*.toml that fit the calls into this folder
    #[arg(long, value_name = "DIR")]
    pub write_config: Option<PathBuf>,

    /// The same seed and options give the same bytes [default: 1; with --interface another at each run, since calls that
    /// were sent already are taken for retransmissions]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many calls
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    pub calls: u32,
    /// At most this many calls at a time
    #[arg(long, value_name = "COUNT")]
    pub concurrent: Option<u32>,
    /// Seconds from one call's start to the next one's
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub spacing: Duration,
    /// Seconds of ringing
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub ring: Duration,
    /// Seconds of talk
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub talk: Duration,
    /// Up to this many seconds more of talk, call by call
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub talk_spread: Duration,
    /// Tenants, each with its own networks 10.T.0.0/16 and fd00:T::/32 (1 to 250)
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    pub tenants: u8,
    /// Extensions of each tenant, from 1001 on, the same in all
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub extensions: u16,
    /// What the calls are sent as, in turn
    #[arg(long = "codec", value_name = "CODEC", value_enum, value_delimiter = ',',
          default_values_t = [Codec::Pcmu, Codec::Pcma])]
    pub codecs: Vec<Codec>,
    /// Milliseconds of audio in a packet (10 to 60)
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub ptime: u16,
    /// First RTP sequence number of every stream [default: random]
    #[arg(long, value_name = "NUMBER")]
    pub first_sequence: Option<u16>,
    /// First RTP timestamp of every stream [default: random]
    #[arg(long, value_name = "NUMBER")]
    pub first_timestamp: Option<u32>,

    /// Percent of the media packets that are lost
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 0.0,
        help_heading = "Network"
    )]
    pub loss: f64,
    /// Percent of the media packets that arrive late, after others
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 0.0,
        help_heading = "Network"
    )]
    pub reorder: f64,
    /// By how many packets these are late
    #[arg(
        long,
        value_name = "PACKETS",
        default_value_t = 2,
        help_heading = "Network"
    )]
    pub reorder_by: u8,
    /// Percent of the media packets that are seen twice
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 0.0,
        help_heading = "Network"
    )]
    pub duplicates: f64,
    /// Each media packet is late by up to this many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, help_heading = "Network")]
    pub jitter: u64,
    /// How much faster than true the callers' clocks run, parts per million
    #[arg(
        long,
        value_name = "PPM",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Network"
    )]
    pub drift_caller: i32,
    /// How much faster than true the callees' clocks run, parts per million
    #[arg(
        long,
        value_name = "PPM",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Network"
    )]
    pub drift_callee: i32,

    #[command(flatten)]
    pub features: FeatureOptions,
    /// How calls are held [default: each kind in turn]
    #[arg(long, value_name = "KIND", value_enum)]
    pub hold_kind: Option<HoldKind>,
    /// Seconds of a hold
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub hold_time: Duration,
    /// Milliseconds of media before the answer, with --media-ahead (at most 2000)
    #[arg(long, value_name = "MS", default_value_t = 1500)]
    pub media_ahead_by: u64,
    /// VLAN tags of a frame, with --vlan (1 or 2)
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub vlan_depth: u8,
    /// Encrypt the media with this suite, such as AES_CM_128_HMAC_SHA1_80 or AEAD_AES_256_GCM; the keys are in the SDP
    #[arg(long, value_name = "SUITE", value_parser = suite)]
    pub srtp: Option<Suite>,
}

macro_rules! feature_options {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Percent of the calls that have each feature.
        #[derive(Clone, Copy, Debug, Default, clap::Args)]
        #[command(next_help_heading = "Features, in percent of the calls")]
        pub struct FeatureOptions {
            /// All the features below, a few percent of each, on a network that is not clean
            #[arg(long)]
            pub rough: bool,
            $(
                $(#[doc = $doc])*
                #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true,
                      default_missing_value = "100",
                      value_parser = clap::value_parser!(u8).range(0..=100))]
                pub $name: Option<u8>,
            )*
        }

        impl FeatureOptions {
            /// What was asked for, over what goes without saying.
            fn over(&self, base: Features) -> Features {
                Features { $($name: self.$name.unwrap_or(base.$name),)* }
            }
        }
    };
}

feature_options! {
    /// One side behind NAT: its SDP shows a private address
    nat,
    /// On hold for a while
    hold,
    /// 183 and media before the answer
    early_media,
    /// The offer in the 200, the answer in the ACK
    late_offer,
    /// SIP over TCP, cut anywhere, in part retransmitted
    tcp,
    /// An INVITE in IP fragments
    fragments,
    /// VLAN tags
    vlan,
    /// IPv6
    ipv6,
    /// Digits as telephone-events
    dtmf,
    /// Gaps with comfort noise
    comfort_noise,
    /// Another SSRC in mid-call
    ssrc_change,
    /// Another codec by re-INVITE in mid-call
    codec_change,
    /// RTCP sender reports
    rtcp,
    /// RTCP on the RTP port, in percent of the calls with RTCP
    rtcp_mux,
    /// Media before the signalling that announces it
    media_ahead,
    /// The answer is seen before the INVITE
    answer_first,
    /// No BYE
    no_bye,
    /// The BYE sent twice
    bye_repeated,
    /// Cancelled by the caller
    cancelled,
    /// Rejected by the callee
    rejected,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "expected seconds, 0 or more".to_owned())
}

fn suite(name: &str) -> Result<Suite, String> {
    Suite::named(name).map_err(|error| {
        let names = Suite::ALL.map(Suite::name).join(", ");
        format!("{error}; there are {names}")
    })
}

impl SimulateOptions {
    /// The calls that were asked for.
    pub fn scenario(&self) -> Scenario {
        let seed = self.seed.unwrap_or(1);
        let network = Network {
            loss_percent: self.loss,
            reorder_percent: self.reorder,
            reorder_by: self.reorder_by,
            duplicate_percent: self.duplicates,
            jitter: Duration::from_millis(self.jitter),
            drift_ppm: PerSide {
                caller: self.drift_caller,
                callee: self.drift_callee,
            },
        };
        let clean = Network {
            reorder_by: self.reorder_by,
            ..Network::default()
        };
        let rough = self
            .features
            .rough
            .then(|| Scenario::rough(seed, self.calls));
        let base = rough
            .as_ref()
            .map(|rough| rough.features.clone())
            .unwrap_or_default();
        Scenario {
            seed,
            calls: self.calls,
            spacing: self.spacing,
            concurrent: self.concurrent,
            ring: self.ring,
            talk: self.talk,
            talk_spread: self.talk_spread,
            tenants: self.tenants,
            extensions: self.extensions,
            codecs: self.codecs.clone(),
            ptime_ms: self.ptime,
            network: rough
                .filter(|_| network == clean)
                .map_or(network, |rough| rough.network),
            features: self.features.over(base),
            hold: self.hold_time,
            hold_kind: self.hold_kind,
            media_ahead: Duration::from_millis(self.media_ahead_by),
            vlan_depth: self.vlan_depth,
            first_sequence: self.first_sequence,
            first_timestamp: self.first_timestamp,
            srtp: self.srtp,
            ..Scenario::default()
        }
    }

    /// Settles on a seed when none was given: on a wire that of this moment, so that no call repeats the Call-ID, tags and
    /// branches of an earlier run; in a file 1.
    pub fn settle_seed(&mut self, since_1970: Duration) {
        let drawn = match self.interface {
            // Microseconds are exact in any reader's JSON.
            Some(_) => u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX),
            None => 1,
        };
        self.seed.get_or_insert(drawn);
    }

    /// The file or the interface that was named.
    ///
    /// # Errors
    ///
    /// [`Error::File`] or [`Error::Interface`] if it cannot be opened, [`Error::NoOutput`] if neither was named.
    pub fn open_sink(&self) -> Result<Box<dyn FrameSink>, Error> {
        match (&self.interface, &self.output) {
            (Some(name), _) => Ok(Box::new(InterfaceSink::open(name)?)),
            (None, Some(path)) => Ok(Box::new(PcapSink::create(path)?)),
            (None, None) => Err(Error::NoOutput),
        }
    }

    /// Where the truth goes: as named, or beside the capture file.
    pub fn truth_path(&self) -> Option<PathBuf> {
        let beside = || {
            let output = self
                .output
                .as_ref()
                .filter(|path| path.as_os_str() != "-")?;
            Some(output.with_extension("truth.json"))
        };
        self.truth.clone().or_else(beside)
    }
}

/// Simulates what the options ask for into `sink`, and writes the truth file and the configuration.
///
/// # Errors
///
/// Every [`Error`] but those of opening a sink.
pub fn run(options: &SimulateOptions, sink: &mut dyn FrameSink) -> Result<Truth, Error> {
    run_with(options, sink, |_| {})
}

/// As [`run`], with a word of progress after every thousandth frame: how many there were.
///
/// # Errors
///
/// As [`run`].
pub fn run_with(
    options: &SimulateOptions,
    sink: &mut dyn FrameSink,
    progress: impl FnMut(u64),
) -> Result<Truth, Error> {
    let scenario = options.scenario();
    scenario.check()?;
    if let Some(dir) = &options.write_config {
        scenario.write_config(dir)?;
    }
    let truth = generate_with(&scenario, sink, progress)?;
    if let Some(path) = options.truth_path() {
        truth.save(&path)?;
    }
    Ok(truth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: SimulateOptions,
    }

    fn parse(line: &str) -> Result<SimulateOptions, clap::Error> {
        Command::try_parse_from(line.split(' ')).map(|command| command.options)
    }

    #[test]
    fn no_flags_are_the_default_scenario() {
        assert_eq!(
            parse("simulate calls.pcap").unwrap().scenario(),
            Scenario::default()
        );
    }

    #[test]
    fn flags_reach_the_scenario() {
        let options = parse(
            "simulate --calls 7 --codec pcma,l16-16k --hold --nat=30 --drift-caller -50 --talk 2.5 calls.pcap",
        );
        let options = options.unwrap();
        let scenario = options.scenario();
        assert_eq!(
            (scenario.calls, scenario.talk),
            (7, Duration::from_millis(2500))
        );
        assert_eq!(scenario.codecs, [Codec::Pcma, Codec::L16Wide]);
        assert_eq!((scenario.features.hold, scenario.features.nat), (100, 30));
        assert_eq!(scenario.network.drift_ppm.caller, -50);
        assert_eq!(options.truth_path(), Some("calls.truth.json".into()));
        let srtp = parse("simulate --srtp aead_aes_256_gcm calls.pcap").unwrap();
        assert_eq!(srtp.scenario().srtp, Some(Suite::AeadAes256Gcm));
        assert!(parse("simulate --srtp F8_128_HMAC_SHA1_80 calls.pcap").is_err());
    }

    #[test]
    fn rough_is_rough_where_nothing_else_was_said() {
        let scenario = parse("simulate --rough --tcp=0 calls.pcap")
            .unwrap()
            .scenario();
        assert_eq!(
            scenario.features,
            Features {
                tcp: 0,
                ..Scenario::rough(1, 10).features
            }
        );
        assert_eq!(scenario.network, Scenario::rough(1, 10).network);
    }

    #[test]
    fn each_run_on_a_wire_has_a_seed_of_its_own_and_files_are_always_the_same() {
        let settled = |line: &str, micros: u64| {
            let mut options = parse(line).unwrap();
            options.settle_seed(Duration::from_micros(micros));
            options.scenario().seed
        };
        assert_eq!(settled("simulate calls.pcap", 7), 1);
        let wire = "simulate --interface veth0";
        assert_ne!(settled(wire, 7), settled(wire, 8));
        assert_eq!(settled("simulate --interface veth0 --seed 1", 7), 1);
        assert_eq!(settled("simulate --seed 5 calls.pcap", 7), 5);
    }

    #[test]
    fn another_seed_shares_no_call_id_tag_or_branch() {
        let marks = |seed: &str| {
            let options = parse(&format!("simulate --calls 2 --talk 1 --seed {seed} x")).unwrap();
            let mut frames = Vec::new();
            crate::simulate::generate(&options.scenario(), &mut frames).unwrap();
            let sip: Vec<String> = frames
                .iter()
                .map(|(_, frame)| String::from_utf8_lossy(frame).into_owned())
                .filter(|text| text.contains("Call-ID: "))
                .collect();
            let mut marks = std::collections::BTreeSet::new();
            for (start, end) in [("Call-ID: ", "\r"), (";tag=", "\r"), ("branch=", "\r")] {
                let found = sip.iter().flat_map(|text| text.split(start).skip(1));
                marks.extend(found.map(|rest| rest.split(end).next().unwrap().to_owned()));
            }
            assert!(marks.len() > 6, "{marks:?}");
            marks
        };
        let (one, other) = (marks("1767700000000000"), marks("1767700000000001"));
        assert!(one.is_disjoint(&other), "{one:?}\n{other:?}");
    }

    #[test]
    fn a_place_to_put_the_calls_is_needed_and_one_is_enough() {
        assert!(parse("simulate").is_err());
        assert!(parse("simulate --interface veth0 calls.pcap").is_err());
        assert!(parse("simulate --hold=101 calls.pcap").is_err());
    }

    #[test]
    fn a_run_leaves_capture_truth_and_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = parse("simulate --calls 2 --talk 1 x.pcap").unwrap();
        options.output = Some(dir.path().join("x.pcap"));
        options.write_config = Some(dir.path().join("config"));
        let mut sink = options.open_sink().unwrap();
        let truth = run(&options, &mut sink).unwrap();
        assert_eq!(
            Truth::load(&dir.path().join("x.truth.json")).unwrap(),
            truth
        );
        let bytes = std::fs::metadata(dir.path().join("x.pcap")).unwrap().len();
        assert_eq!(bytes, 24 + 16 * truth.frames + truth.bytes);
        assert!(dir.path().join("config/tenants/tenant2.toml").exists());
    }
}
