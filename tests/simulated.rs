//! Calls with known audio through the real program: every recording is compared with what was sent, sample by sample.

mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use callreel::base::{PerSide, Side, Timestamp};
use callreel::rtp::Suite;
use callreel::simulate::{
    Codec, Disposition, Features, HoldKind, Network, Scenario, TruthCall, TruthSide, Voice,
};
use callreel::storage::{Cause, SampleFormat, Sidecar};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use world::{Frames, World, files, replay, simulate, write_capture, write_config};

/// Six calls of three seconds: each kind of party, two tenants.
fn short(features: Features) -> Scenario {
    Scenario {
        calls: 6,
        talk: Duration::from_secs(3),
        hold: Duration::from_secs(1),
        features,
        ..Scenario::default()
    }
}

/// Six calls that all have what `set` sets.
fn all_with(set: impl FnOnce(&mut Features)) -> Scenario {
    let mut features = Features::default();
    set(&mut features);
    short(features)
}

fn over(network: Network) -> Scenario {
    Scenario {
        network,
        ..short(Features::default())
    }
}

/// The spans of one side with one cause.
fn segments(sidecar: &Sidecar, side: Side, cause: Cause) -> Vec<(u64, u64)> {
    let own = sidecar
        .segments
        .iter()
        .filter(|s| s.side == side && s.cause == cause);
    own.map(|segment| (segment.from, segment.to)).collect()
}

/// Samples from the start of a recording to a time, where there is no jitter.
fn place(sidecar: &Sidecar, time_ns: i64) -> u64 {
    let nanos = (time_ns - sidecar.started_at_ns).max(0) as u64;
    nanos * u64::from(sidecar.sample_rate_hz) / 1_000_000_000
}

#[test]
fn plain_calls_are_exact_and_in_their_tenants_partitions() {
    let world = World::record(&Scenario {
        calls: 12,
        tenants: 4,
        ..short(Features::default())
    });
    world.assert_exact();
    for recording in &world.recordings {
        let sidecar = &recording.sidecar;
        assert_eq!(sidecar.segments_omitted, 0);
        assert_eq!(sidecar.streams.len(), 2);
        assert!(
            sidecar
                .streams
                .iter()
                .all(|stream| stream.lost + stream.late == 0)
        );
        for side in Side::BOTH {
            assert_eq!(segments(sidecar, side, Cause::Loss), []);
        }
    }
}

/// The capture stays what it is when `simulate` learns something new.
#[test]
fn calls_that_were_simulated_once_are_found_as_they_were_sent() {
    let world = World::stored("simulated", all_with(|features| features.tcp = 30));
    assert_eq!(world.truth.calls.len(), 6);
    world.assert_sound();
}

#[test]
fn without_tenants_every_call_is_the_system_tenants() {
    let folder = tempfile::tempdir().unwrap();
    let (frames, truth) = simulate(&short(Features::default()));
    let capture = folder.path().join("calls.pcap");
    write_capture(&capture, &frames);
    let storage = folder.path().join("storage");
    replay(None, &[&capture], &storage);
    let recordings = world::recordings(&storage);
    assert_eq!(recordings.len(), truth.calls.len());
    for recording in &recordings {
        assert_eq!(recording.sidecar.tenant_id, callreel::base::SYSTEM_TENANT);
        let call = truth.call(&recording.sidecar.call_id).unwrap();
        assert!(world::judge(call, recording).is_perfect(1));
    }
}

#[test]
fn every_packet_size_is_exact() {
    for ptime_ms in [10, 20, 30, 40, 60] {
        let scenario = Scenario {
            ptime_ms,
            calls: 3,
            ..short(Features::default())
        };
        World::record(&scenario).assert_exact();
    }
}

#[test]
fn linear_audio_is_exact_at_either_rate() {
    for (codec, rate_hz) in [(Codec::L16Narrow, 8000), (Codec::L16Wide, 16_000)] {
        let scenario = Scenario {
            codecs: vec![codec],
            ..short(Features::default())
        };
        for format in ["pcm16", "g711"] {
            let world = World::record_as(&scenario, format);
            world.assert_exact();
            for recording in &world.recordings {
                assert_eq!(recording.sidecar.sample_rate_hz, rate_hz);
                assert_eq!(recording.sidecar.format, SampleFormat::Pcm16);
            }
        }
    }
}

/// Where losses lie on the timeline: adjacent ones are one, and those that nothing follows or precedes leave no gap.
fn losses_between_packets(call: &TruthCall, side: Side, sidecar: &Sidecar) -> Vec<(u64, u64)> {
    let sent = &call.sides[side];
    let delivered = sent.delivered();
    let (Some(first), Some(last)) = (delivered.first(), delivered.last()) else {
        return Vec::new();
    };
    let span = sent.spans[0];
    let inner = sent
        .lost
        .iter()
        .filter(|lost| (first.first_sample..last.first_sample).contains(&lost.first_sample));
    inner
        .map(|lost| {
            let after = sent.nanos_of(span.codec, lost.first_sample - span.first_sample);
            let from = place(sidecar, span.time_ns + after);
            (from, from + lost.samples)
        })
        .collect()
}

#[test]
fn each_loss_is_silence_in_its_place_and_named() {
    for (loss_percent, ptime_ms) in [(1.0, 20), (10.0, 20), (50.0, 30)] {
        let scenario = Scenario {
            ptime_ms,
            talk: Duration::from_secs(6),
            ..over(Network {
                loss_percent,
                ..Network::default()
            })
        };
        let world = World::record(&scenario);
        world.assert_exact();
        let mut losses = 0;
        for (call, _) in world.scores() {
            let sidecar = &world.recording(call).unwrap().sidecar;
            for (side, sent) in call.sides.iter() {
                let due = losses_between_packets(call, side, sidecar);
                let packets: u64 = due
                    .iter()
                    .map(|(from, to)| (to - from) / (8 * u64::from(ptime_ms)))
                    .sum();
                let counted: u64 = sidecar
                    .streams
                    .iter()
                    .filter(|s| s.side == side)
                    .map(|s| s.lost)
                    .sum();
                assert_eq!(counted, packets, "{} of {}", packets, sent.packets_dropped);
                assert_eq!(segments(sidecar, side, Cause::Loss), due);
                losses += due.len();
            }
        }
        assert!(losses > 5);
    }
}

#[test]
fn calls_of_which_nothing_arrives_have_no_recording_and_say_so() {
    let world = World::record(&over(Network {
        loss_percent: 100.0,
        ..Network::default()
    }));
    world.assert_sound();
    assert!(
        world
            .truth
            .calls
            .iter()
            .all(|call| call.disposition == Disposition::NoMedia)
    );
}

#[test]
fn reordered_packets_are_put_in_their_places() {
    for (reorder_by, reorder_percent) in [(1, 20.0), (2, 10.0), (5, 3.0), (9, 1.0)] {
        let world = World::record(&over(Network {
            reorder_percent,
            reorder_by,
            ..Network::default()
        }));
        world.assert_sound();
        let late: u64 = world
            .recordings
            .iter()
            .flat_map(|r| &r.sidecar.streams)
            .map(|s| s.late)
            .sum();
        assert!(late > 0);
        for (call, score) in world.scores() {
            let sidecar = &world.recording(call).unwrap().sidecar;
            for (side, found) in score.sides.iter() {
                let own = sidecar.streams.iter().filter(|stream| stream.side == side);
                let not_placed: u64 = own.map(|stream| stream.not_placed).sum();
                // Only what came before the recording's beginning is not there.
                assert_eq!(found.exact + not_placed * 160, found.expected, "{found:?}");
                assert_eq!(found.inserted + found.extra, 0, "{found:?}");
                assert_eq!(segments(sidecar, side, Cause::Loss), []);
            }
        }
    }
}

#[test]
fn packets_seen_twice_are_heard_once() {
    for duplicate_percent in [5.0, 100.0] {
        World::record(&over(Network {
            duplicate_percent,
            ..Network::default()
        }))
        .assert_exact();
    }
}

#[test]
fn jitter_moves_no_audio() {
    for jitter_ms in [2, 10, 18] {
        let world = World::record(&Scenario {
            talk: Duration::from_secs(12),
            ..over(Network {
                jitter: Duration::from_millis(jitter_ms),
                ..Network::default()
            })
        });
        world.assert_sound();
        for (call, score) in world.scores() {
            for (_, found) in score.sides.iter() {
                // What is moved is the anchor, once the true delay of the network is known, and a few samples at a time.
                let due = jitter_ms * 8 + 1;
                assert_eq!(found.inserted, 0, "{}: {found:?}", call.sip_call_id);
                assert!(found.removed <= due, "{}: {found:?}", call.sip_call_id);
                assert!(found.is_within(due), "{}: {found:?}", call.sip_call_id);
                assert!(
                    found.lowest_offset >= Some(-1),
                    "heard before it was sent: {found:?}"
                );
            }
        }
    }
}

/// The call without what was sent before `time_ns`.
fn from_then_on(call: &TruthCall, time_ns: i64) -> TruthCall {
    let mut call = call.clone();
    for side in [&mut call.sides.caller, &mut call.sides.callee] {
        for span in &mut side.spans {
            let skipped = ((time_ns - span.time_ns).max(0) / 20_000_000 * 160) as u64;
            let skipped = skipped.min(span.samples);
            span.first_sample += skipped;
            span.samples -= skipped;
            span.time_ns += (skipped / 160 * 20_000_000) as i64;
        }
        side.spans.retain(|span| span.samples > 0);
    }
    call
}

#[test]
fn a_stream_whose_first_packet_was_late_is_in_its_place_soon() {
    let world = World::record(&over(Network {
        jitter: Duration::from_millis(100),
        ..Network::default()
    }));
    for (call, score) in world.scores() {
        let recording = world.recording(call).unwrap();
        for (side, found) in score.sides.iter() {
            let own = recording.sidecar.streams.iter().filter(|s| s.side == side);
            let not_placed: u64 = own.map(|stream| stream.not_placed).sum();
            assert_eq!(found.wrong + found.extra, 0, "{found:?}");
            assert_eq!(found.missing, not_placed * 160, "{found:?}");
        }
        let settled = recording.sidecar.started_at_ns + 1_500_000_000;
        let skew = world::judge(&from_then_on(call, settled), recording).skew_samples();
        assert!(
            skew.is_some_and(|skew| skew <= 160),
            "{}: {skew:?}",
            call.sip_call_id
        );
    }
}

#[test]
fn media_behind_nat_finds_its_call() {
    let world = World::record(&all_with(|f| f.nat = 100));
    world.assert_exact();
    let hidden = world.truth.calls.iter().flat_map(|call| call.sides.iter());
    assert!(
        hidden
            .filter(|(_, side)| side.described_as.is_some())
            .count()
            >= 6
    );
}

#[test]
fn a_hold_of_any_kind_is_silence_with_its_cause() {
    for kind in HoldKind::ALL {
        let world = World::record(&Scenario {
            hold_kind: Some(kind),
            ..all_with(|f| f.hold = 100)
        });
        world.assert_exact();
        for call in &world.truth.calls {
            let [hold] = call.holds[..] else {
                panic!("{} has {} holds", call.sip_call_id, call.holds.len());
            };
            let sidecar = &world.recording(call).unwrap().sidecar;
            let streams = sidecar.streams.len();
            assert_eq!(streams, 2, "{kind:?}: the streams go on after the hold");
            for side in Side::BOTH {
                assert_eq!(
                    segments(sidecar, side, Cause::Loss),
                    [],
                    "{kind:?} by {}",
                    hold.by
                );
            }
        }
    }
}

#[test]
fn early_media_is_kept() {
    let world = World::record(&all_with(|f| f.early_media = 100));
    world.assert_exact();
    for recording in &world.recordings {
        let sidecar = &recording.sidecar;
        assert!(sidecar.started_at_ns < sidecar.answered_at_ns.unwrap());
    }
}

#[test]
fn a_late_offer_is_as_good_as_an_early_one() {
    World::record(&all_with(|f| f.late_offer = 100)).assert_exact();
}

#[test]
fn signalling_over_tcp_is_put_together() {
    World::record(&all_with(|f| (f.tcp, f.hold) = (100, 100))).assert_exact();
    World::record(&all_with(|f| (f.tcp, f.ipv6, f.vlan) = (100, 100, 100))).assert_exact();
}

#[test]
fn fragmented_invites_are_put_together() {
    World::record(&all_with(|f| f.fragments = 100)).assert_exact();
    World::record(&all_with(|f| (f.fragments, f.ipv6) = (100, 100))).assert_exact();
}

#[test]
fn vlan_tags_are_taken_off_and_named() {
    for vlan_depth in [1, 2] {
        let world = World::record(&Scenario {
            vlan_depth,
            ..all_with(|f| f.vlan = 100)
        });
        world.assert_exact();
        for recording in &world.recordings {
            let vantage = &recording.sidecar.vantage;
            let tags = vantage.split_once(" vlan ").unwrap().1.split('.').count();
            assert_eq!(tags, usize::from(vlan_depth), "{vantage}");
        }
    }
}

#[test]
fn ipv6_calls_are_exact() {
    World::record(&all_with(|f| f.ipv6 = 100)).assert_exact();
}

#[test]
fn digits_are_listed_and_not_played() {
    let world = World::record(&all_with(|f| f.dtmf = 100));
    world.assert_exact();
    let digits: usize = world
        .recordings
        .iter()
        .map(|r| r.sidecar.digits.len())
        .sum();
    assert!(digits >= 6);
    for recording in &world.recordings {
        let sidecar = &recording.sidecar;
        for side in Side::BOTH {
            let pressed = sidecar
                .digits
                .iter()
                .filter(|digit| digit.side == side)
                .count();
            assert_eq!(segments(sidecar, side, Cause::Dtmf).len(), pressed);
            assert_eq!(segments(sidecar, side, Cause::Loss), []);
        }
    }
}

#[test]
fn comfort_noise_is_silence_with_its_cause() {
    let world = World::record(&all_with(|f| f.comfort_noise = 100));
    world.assert_exact();
    for (call, _) in world.scores() {
        let sidecar = &world.recording(call).unwrap().sidecar;
        for (side, sent) in call.sides.iter() {
            let quiet = segments(sidecar, side, Cause::ComfortNoise);
            assert_eq!(quiet.len(), sent.spans.len() - 1, "{}", call.sip_call_id);
            assert_eq!(segments(sidecar, side, Cause::Loss), []);
        }
    }
}

#[test]
fn a_new_ssrc_goes_on_in_the_same_recording() {
    let world = World::record(&all_with(|f| f.ssrc_change = 100));
    world.assert_exact();
    assert!(
        world
            .recordings
            .iter()
            .all(|r| r.sidecar.streams.len() == 4)
    );
}

#[test]
fn a_new_codec_goes_on_in_the_same_recording() {
    let world = World::record(&Scenario {
        codecs: vec![Codec::Pcmu, Codec::Pcma, Codec::L16Narrow],
        ..all_with(|f| f.codec_change = 100)
    });
    world.assert_exact();
    let world = World::record(&Scenario {
        codecs: vec![Codec::L16Wide],
        ..all_with(|f| f.codec_change = 100)
    });
    world.assert_sound();
    for (_, score) in world.scores() {
        for (_, found) in score.sides.iter() {
            assert!(found.resampled > 0 && found.exact > 0, "{found:?}");
            assert_eq!(found.missing, 0, "{found:?}");
            assert!(found.correlation_min > Some(0.98), "{found:?}");
        }
    }
}

#[test]
fn reports_on_any_port_are_no_media() {
    let world = World::record(&all_with(|f| f.rtcp = 100));
    world.assert_exact();
    let world = World::record(&all_with(|f| (f.rtcp, f.rtcp_mux) = (100, 100)));
    world.assert_exact();
    assert!(
        world
            .truth
            .calls
            .iter()
            .all(|call| call.sides.caller.reports > 0)
    );
}

#[test]
fn clocks_that_run_fast_or_slow_keep_both_sides_together() {
    for (caller, callee) in [(200, -200), (-200, 200), (0, 200)] {
        let world = World::record(&Scenario {
            calls: 3,
            talk: Duration::from_secs(120),
            ..over(Network {
                drift_ppm: PerSide { caller, callee },
                ..Network::default()
            })
        });
        world.assert_sound();
        for (call, score) in world.scores() {
            let sidecar = &world.recording(call).unwrap().sidecar;
            for (side, found) in score.sides.iter() {
                assert_eq!(found.missing, 0, "{found:?}");
                assert!(
                    found.is_within(8 * 8),
                    "within 8 ms of true time: {found:?}"
                );
                // Repaired is what drifted, 24 ms in two minutes, less what is not worth it yet.
                let drifted = u64::from(call.sides[side].drift_ppm.unsigned_abs()) * 120 * 8 / 1000;
                let repaired = found.removed + found.inserted;
                assert!(repaired <= drifted + 1, "{found:?}");
                assert!(repaired + 8 * 8 >= drifted, "{found:?}");
                assert_eq!(segments(sidecar, side, Cause::Loss), []);
            }
        }
    }
}

#[test]
fn resampled_audio_follows_its_clock_too() {
    let world = World::record(&Scenario {
        calls: 1,
        codecs: vec![Codec::L16Wide],
        talk: Duration::from_secs(240),
        network: Network {
            drift_ppm: PerSide {
                caller: 200,
                callee: -200,
            },
            ..Network::default()
        },
        ..all_with(|f| f.codec_change = 100)
    });
    world.assert_sound();
}

#[test]
fn media_ahead_of_its_signalling_is_kept() {
    for ahead_ms in [100, 1500, 1900] {
        let world = World::record(&Scenario {
            media_ahead: Duration::from_millis(ahead_ms),
            ..all_with(|f| f.media_ahead = 100)
        });
        world.assert_exact();
    }
}

#[test]
fn an_answer_mirrored_before_its_invite_makes_the_same_call() {
    let world = World::record(&all_with(|f| f.answer_first = 100));
    world.assert_exact();
}

#[test]
fn calls_without_bye_end_with_the_capture() {
    World::record(&all_with(|f| f.no_bye = 100)).assert_exact();
}

#[test]
fn a_repeated_bye_ends_one_call() {
    World::record(&all_with(|f| f.bye_repeated = 100)).assert_exact();
}

#[test]
fn calls_that_are_not_answered_have_a_disposition_and_no_recording() {
    for scenario in [
        all_with(|f| f.cancelled = 100),
        all_with(|f| f.rejected = 100),
    ] {
        let world = World::record(&scenario);
        world.assert_sound();
        assert!(world.recordings.is_empty());
    }
}

#[test]
fn sequence_numbers_and_timestamps_wrap() {
    for (first_sequence, first_timestamp) in [(65_500, u32::MAX - 5000), (65_535, u32::MAX), (0, 0)]
    {
        World::record(&Scenario {
            first_sequence: Some(first_sequence),
            first_timestamp: Some(first_timestamp),
            ..short(Features::default())
        })
        .assert_exact();
    }
    // Reordered over the wrap.
    let world = World::record(&Scenario {
        first_sequence: Some(65_500),
        first_timestamp: Some(u32::MAX - 5000),
        ..over(Network {
            reorder_percent: 30.0,
            reorder_by: 3,
            ..Network::default()
        })
    });
    world.assert_sound();
    let restarts = world
        .recordings
        .iter()
        .flat_map(|r| &r.sidecar.streams)
        .map(|s| s.restarts);
    assert_eq!(restarts.sum::<u32>(), 0);
}

/// What the wire had of one side, where it belongs in a recording of silence.
fn wire_bytes(sidecar: &Sidecar, sent: &TruthSide, silence: u8) -> Vec<u8> {
    let voice = Voice::new(sent.voice);
    let mut bytes = vec![silence; sidecar.samples as usize];
    for piece in sent.delivered() {
        let values: Vec<i16> = (0..piece.samples)
            .map(|n| voice.sample(piece.first_sample + n))
            .collect();
        let mut payload = Vec::new();
        piece.codec.encode(&values, &mut payload);
        let from = place(sidecar, piece.time_ns) as usize;
        bytes[from..from + payload.len()].copy_from_slice(&payload);
    }
    bytes
}

#[test]
fn g711_files_hold_the_bytes_of_the_wire() {
    for (codec, format, silence) in [
        (Codec::Pcmu, SampleFormat::Ulaw, 0xff),
        (Codec::Pcma, SampleFormat::Alaw, 0xd5),
    ] {
        let scenario = Scenario {
            codecs: vec![codec],
            network: Network {
                loss_percent: 5.0,
                duplicate_percent: 5.0,
                ..Network::default()
            },
            ..all_with(|f| (f.hold, f.early_media, f.comfort_noise) = (50, 50, 50))
        };
        let world = World::record_as(&scenario, "g711");
        world.assert_sound();
        for recording in &world.recordings {
            let sidecar = &recording.sidecar;
            assert_eq!(sidecar.format, format);
            let call = world.truth.call(&sidecar.call_id).unwrap();
            let channels = recording.companded();
            for side in Side::BOTH {
                let due = wire_bytes(sidecar, &call.sides[side], silence);
                let differ = channels[side]
                    .iter()
                    .zip(&due)
                    .position(|(is, due)| is != due);
                assert_eq!(differ, None, "{side} of {}", sidecar.call_id);
            }
        }
    }
}

/// Everything a replay of these captures leaves, and what it says.
fn traces(config: &Path, captures: &[&[(Timestamp, Vec<u8>)]]) -> impl PartialEq + use<> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..captures.len())
        .map(|n| folder.path().join(format!("{n}.pcap")))
        .collect();
    for (path, frames) in paths.iter().zip(captures) {
        write_capture(path, *frames);
    }
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    let storage = folder.path().join("storage");
    let mut report = replay(Some(config), &paths, &storage);
    for call in report["calls"].as_array_mut().unwrap() {
        // It lies in a folder of this run's.
        call["file"].take();
    }
    let files = files(&storage);
    assert!(!files.is_empty());
    (report.to_string(), files)
}

#[test]
fn the_same_capture_gives_the_same_bytes_however_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::rough(11, 8);
    let config = write_config(&scenario, folder.path(), "pcm16");
    let (frames, _) = simulate(&scenario);
    let whole = traces(&config, &[&frames]);
    assert!(whole == traces(&config, &[&frames]));
    let (first, second) = frames.split_at(frames.len() / 2);
    assert!(
        whole == traces(&config, &[first, second]),
        "cut in the middle"
    );
    assert!(
        whole == traces(&config, &[second, first]),
        "the second half first"
    );
    // Packets of one time have no order between files: they stay together.
    let (even, odd): (Frames, Frames) = frames
        .iter()
        .cloned()
        .partition(|(time, _)| time.as_millis() % 2 == 0);
    assert!(whole == traces(&config, &[&odd, &even]), "shuffled");
}

/// Whether a frame of a plain scenario belongs to a call.
fn belongs(frame: &[u8], call: &TruthCall) -> bool {
    let port = 10_000 + 2 * call.index as u16;
    let ports = [34, 36].map(|at| u16::from_be_bytes([frame[at], frame[at + 1]]));
    let name = call.sip_call_id.as_bytes();
    ports.contains(&port) || frame.windows(name.len()).any(|text| text == name)
}

#[test]
fn damage_to_other_calls_leaves_a_call_bit_exact() {
    let scenario = Scenario {
        spacing: Duration::from_millis(10),
        ..short(Features::default())
    };
    let (mut frames, truth) = simulate(&scenario);
    let mut noise = 1u32;
    for (_, frame) in &mut frames {
        if truth
            .calls
            .iter()
            .any(|call| call.index % 2 == 1 && belongs(frame, call))
        {
            noise = noise.wrapping_mul(0x9e37_79b1).wrapping_add(12_345);
            // Behind the UDP header, anywhere, or cut.
            match noise >> 24 & 3 {
                0 => frame.truncate(1 + (noise >> 8) as usize % frame.len()),
                1 => {
                    let place = (noise >> 8) as usize % frame.len();
                    frame[place] ^= (noise >> 3) as u8;
                }
                _ => {
                    let place = 42 + (noise >> 8) as usize % 40;
                    frame[place] ^= (noise >> 3) as u8;
                }
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("damaged.pcap");
    write_capture(&capture, &frames);
    let config = write_config(&scenario, folder.path(), "pcm16");
    let storage = folder.path().join("storage");
    replay(Some(&config), &[&capture], &storage);
    let recordings = world::recordings(&storage);
    for call in truth.calls.iter().filter(|call| call.index % 2 == 0) {
        let own = |r: &&world::Recording| r.sidecar.call_id == call.sip_call_id;
        let recording = recordings.iter().find(own).unwrap();
        assert_eq!(recording.sidecar.tenant_id, call.tenant);
        assert!(
            world::judge(call, recording).is_perfect(1),
            "{}",
            call.sip_call_id
        );
    }
}

#[test]
fn a_bit_of_everything_at_once() {
    for seed in [1, 2, 3, 4, 15, 33] {
        World::record(&Scenario::rough(seed, 16)).assert_sound();
    }
}

#[test]
fn losses_among_everything_else_are_named_where_they_are() {
    let world = World::record(&Scenario::rough(5, 16));
    for (call, _) in world.scores() {
        let sidecar = &world.recording(call).unwrap().sidecar;
        for (side, sent) in call.sides.iter() {
            let named = segments(sidecar, side, Cause::Loss);
            let delivered = sent.delivered();
            for lost in &sent.lost {
                let span = sent
                    .spans
                    .iter()
                    .rfind(|s| s.first_sample <= lost.first_sample)
                    .unwrap();
                let within = |at: u64| {
                    delivered
                        .iter()
                        .any(|d| d.ssrc == span.ssrc && (at == 0 || d.first_sample < at))
                };
                let followed = delivered
                    .iter()
                    .any(|d| d.ssrc == span.ssrc && d.first_sample > lost.first_sample);
                if !within(lost.first_sample) || !followed {
                    continue;
                }
                let middle = sent.nanos_of(
                    span.codec,
                    lost.first_sample + lost.samples / 2 - span.first_sample,
                );
                let at = place(sidecar, span.time_ns + middle);
                let slack = u64::from(sidecar.sample_rate_hz) / 50;
                assert!(
                    named
                        .iter()
                        .any(|(from, to)| (from.saturating_sub(slack)..to + slack).contains(&at)),
                    "{} {side}: a loss at {at} of {} packets is not among {named:?}",
                    call.sip_call_id,
                    lost.packets
                );
            }
            // And no more is called loss than was lost, but for what drift and jitter add at the edges.
            let lost: u64 = sent.packets_dropped * 60 * u64::from(sidecar.sample_rate_hz) / 1000;
            let called: u64 = named.iter().map(|(from, to)| to - from).sum();
            assert!(
                called <= lost,
                "{} {side}: {called} samples are called lost, {named:?}",
                call.sip_call_id
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4711),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_rough_world_is_recorded_soundly(seed in any::<u64>(), calls in 1u32..6) {
        World::record(&Scenario { talk: Duration::from_secs(5), ..Scenario::rough(seed, calls) }).assert_sound();
    }
}

/// What each call sounds like, by its Call-ID.
fn sounds(world: &World) -> std::collections::BTreeMap<&str, PerSide<Vec<i16>>> {
    let of = |recording: &'_ world::Recording| recording.samples();
    world
        .recordings
        .iter()
        .map(|recording| (recording.sidecar.call_id.as_str(), of(recording)))
        .collect()
}

#[test]
fn srtp_of_every_suite_is_exact() {
    for suite in Suite::ALL {
        let scenario = Scenario {
            srtp: Some(suite),
            calls: 2,
            first_sequence: Some(65_500),
            ..short(Features {
                rtcp: 100,
                dtmf: 100,
                ..Features::default()
            })
        };
        let world = World::record(&scenario);
        world.assert_exact();
        for recording in &world.recordings {
            for stream in &recording.sidecar.streams {
                assert_eq!(stream.srtp.as_deref(), Some(suite.name()));
                assert_eq!((stream.auth_failed, &stream.encrypted), (0, &None));
            }
            assert!(!recording.sidecar.digits.is_empty());
        }
    }
}

#[test]
fn what_befalls_plain_media_befalls_srtp_alike() {
    for (seed, suite) in [
        (3, Suite::AesCm128HmacSha1_32),
        (4, Suite::AeadAes128Gcm),
        (5, Suite::Aes256CmHmacSha1_80),
    ] {
        let plain = Scenario {
            first_sequence: Some(65_450),
            talk: Duration::from_secs(4),
            ..Scenario::rough(seed, 12)
        };
        let sealed = Scenario {
            srtp: Some(suite),
            ..plain.clone()
        };
        let (plain, sealed) = (World::record(&plain), World::record(&sealed));
        assert_eq!(plain.recordings.len(), sealed.recordings.len());
        let (plain_sounds, sealed_sounds) = (sounds(&plain), sounds(&sealed));
        for (call_id, sound) in &plain_sounds {
            assert!(sealed_sounds[call_id] == *sound, "{suite}: {call_id}");
        }
        for (a, b) in plain.recordings.iter().zip(&sealed.recordings) {
            let counts = |sidecar: &Sidecar| -> Vec<_> {
                // Of packets that came before their call, copies are not kept.
                let count = |s: &callreel::storage::StreamRecord| (s.packets, s.lost);
                sidecar.streams.iter().map(count).collect()
            };
            assert_eq!(counts(&a.sidecar), counts(&b.sidecar), "{suite}");
        }
    }
}

/// What tells the RTP stream of a frame of a plain scenario from every other: addresses, ports and SSRC.
fn rtp_stream(frame: &[u8]) -> Option<Vec<u8>> {
    let is_rtp = frame.get(42).is_some_and(|byte| byte >> 6 == 2);
    let (ends, ssrc) = (frame.get(26..38)?, frame.get(50..54)?);
    is_rtp.then(|| [ends, ssrc].concat())
}

#[test]
fn first_packets_that_are_late_or_swapped_leave_every_sample_in_its_place() {
    let scenario = Scenario {
        codecs: vec![Codec::Pcmu, Codec::L16Wide, Codec::Pcma, Codec::L16Narrow],
        ..all_with(|f| f.ssrc_change = 50)
    };
    let (frames, truth) = simulate(&scenario);
    for late_ms in [0, 25, 60, 100, 150] {
        let mut frames = frames.clone();
        let mut streams: std::collections::HashMap<Vec<u8>, Vec<usize>> = Default::default();
        for (n, (_, frame)) in frames.iter().enumerate() {
            if let Some(stream) = rtp_stream(frame) {
                streams.entry(stream).or_default().push(n);
            }
        }
        for packets in streams.values() {
            let due = frames[packets[0]].0 + Duration::from_millis(late_ms);
            for &n in packets {
                frames[n].0 = frames[n].0.max(due);
            }
            if late_ms == 0 {
                // The first one comes right behind the second.
                frames[packets[0]].0 = frames[packets[1]].0 + Duration::from_micros(1);
            }
        }
        frames.sort_by_key(|(time, _)| *time);
        let folder = tempfile::tempdir().unwrap();
        let capture = folder.path().join("calls.pcap");
        write_capture(&capture, &frames);
        let config = write_config(&scenario, folder.path(), "pcm16");
        let storage = folder.path().join("storage");
        let report = replay(Some(&config), &[&capture], &storage);
        assert_eq!(report["summary"]["rtp_not_placed"], 0);
        let recordings = world::recordings(&storage);
        assert_eq!(recordings.len(), truth.calls.len());
        for recording in &recordings {
            let call = truth.call(&recording.sidecar.call_id).unwrap();
            let score = world::judge(call, recording);
            assert!(score.is_perfect(1), "late by {late_ms} ms: {score:#?}");
        }
    }
}
