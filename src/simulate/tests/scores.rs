//! Recordings, perfect and spoilt, against their truth.

use std::time::Duration;

use super::super::*;
use super::{recording, short, simulate};
use crate::base::PerSide;

#[test]
fn a_perfect_recording_is_perfect() {
    let clean = Scenario::rough(4, 60);
    let clean = Scenario {
        network: Network {
            drift_ppm: PerSide::default(),
            ..clean.network
        },
        codecs: vec![Codec::Pcmu, Codec::Pcma, Codec::L16Narrow],
        ..clean
    };
    let (_, truth) = simulate(&clean);
    let mut recorded = 0;
    for call in truth
        .calls
        .iter()
        .filter(|call| call.disposition == Disposition::Recorded)
    {
        let (left, right, start) = recording(call, 8000);
        let score = score(&left, &right, 8000, start, call);
        assert!(score.is_perfect(0), "{score:#?}");
        assert_eq!(score.skew_samples(), Some(0));
        for (_, side) in score.sides.iter() {
            assert!(side.correlation_min.unwrap() > 0.9999);
            assert!((-21.0..-19.0).contains(&side.level_dbfs.unwrap()));
        }
        recorded += 1;
    }
    assert!(recorded > 40);
}

#[test]
fn a_shift_is_found_and_measured() {
    let (_, truth) = simulate(&short(Features::default()));
    let call = &truth.calls[1];
    let (left, right, start) = recording(call, 8000);
    let shifted = [vec![0; 100], left.clone()].concat();
    let both = score(&shifted, &right[30..], 8000, start, call);
    let (caller, callee) = (both.sides.caller, both.sides.callee);
    assert!(caller.is_exact() && caller.offset_samples == Some(100));
    assert_eq!((callee.offset_samples, callee.missing), (Some(-30), 30));
    assert!(!both.is_perfect(20));
    assert_eq!(both.skew_samples(), Some(130));
    let beyond = score(&[vec![0; 4000], left].concat(), &right, 8000, start, call);
    assert_eq!(beyond.sides.caller.offset_samples, None);
    assert!(!beyond.sides.caller.is_exact());
}

#[test]
fn swapped_sides_and_mixed_up_calls_are_nothing_alike() {
    let (_, truth) = simulate(&short(Features::default()));
    let (left, right, start) = recording(&truth.calls[0], 8000);
    let swapped = score(&right, &left, 8000, start, &truth.calls[0]);
    let (other_left, other_right, _) = recording(&truth.calls[2], 8000);
    let mixed = score(&other_left, &other_right, 8000, start, &truth.calls[0]);
    let sum: Vec<i16> = left
        .iter()
        .zip(&right)
        .map(|(a, b)| a.saturating_add(*b))
        .collect();
    let added = score(&sum, &sum, 8000, start, &truth.calls[0]);
    for wrong in [swapped, mixed, added] {
        for (_, side) in wrong.sides.iter() {
            assert!(
                !side.is_exact() && side.exact < side.expected / 10,
                "{side:?}"
            );
            assert!(side.correlation_mean.unwrap() < 0.8);
        }
    }
}

#[test]
fn every_kind_of_damage_is_counted_as_what_it_is() {
    let (_, truth) = simulate(&short(Features::default()));
    let call = &truth.calls[0];
    let (left, right, start) = recording(call, 8000);
    let caller = |samples: &[i16]| score(samples, &right, 8000, start, call).sides.caller;

    let mut silent = left.clone();
    silent[8000..8160].fill(0);
    let found = caller(&silent);
    assert_eq!(found.missing + found.exact, found.expected);
    assert!((150..=160).contains(&found.missing), "{found:?}");

    let mut noisy = left.clone();
    noisy[9000] = -noisy[9000] / 2 + 5000;
    assert_eq!((caller(&noisy).wrong, caller(&noisy).missing), (1, 0));

    let removed = [&left[..9000], &left[9003..]].concat();
    let found = caller(&removed);
    assert_eq!(
        (found.removed, found.wrong, found.highest_offset),
        (3, 0, Some(0)),
        "{found:?}"
    );
    assert_eq!(found.lowest_offset, Some(-3));

    let inserted = [&left[..9000], &[4000, 4000][..], &left[9000..]].concat();
    let found = caller(&inserted);
    assert_eq!(
        (found.inserted, found.wrong, found.exact),
        (2, 0, found.expected),
        "{found:?}"
    );

    let longer = [left.clone(), vec![900; 50]].concat();
    assert_eq!(caller(&longer).extra, 50);
    let cut = caller(&left[..left.len() - 400]);
    assert_eq!(cut.missing + cut.exact, cut.expected);
    assert_eq!(caller(&[]).missing, caller(&[]).expected);
}

#[test]
fn audio_where_packets_were_lost_is_extra() {
    let network = Network {
        loss_percent: 10.0,
        ..Network::default()
    };
    let (_, truth) = simulate(&Scenario {
        network,
        ..short(Features::default())
    });
    let call = &truth.calls[0];
    let (mut left, right, start) = recording(call, 8000);
    assert!(score(&left, &right, 8000, start, call).is_perfect(0));
    let lost = call
        .sides
        .caller
        .lost
        .iter()
        .find(|lost| lost.first_sample > 8000)
        .unwrap();
    let from = call.sides.caller.spans[0].time_ns - start.as_nanos();
    let from = from as usize / 125_000 + lost.first_sample as usize;
    left[from..from + lost.samples as usize].fill(500);
    assert_eq!(
        score(&left, &right, 8000, start, call).sides.caller.extra,
        lost.samples
    );
}

#[test]
fn repaired_drift_costs_the_repairs_only() {
    let network = Network {
        drift_ppm: PerSide {
            caller: 100,
            callee: -100,
        },
        ..Network::default()
    };
    let talk = Duration::from_secs(30);
    let (_, truth) = simulate(&Scenario {
        network,
        talk,
        calls: 2,
        ..Scenario::default()
    });
    let call = &truth.calls[1];
    let (left, right, start) = recording(call, 8000);
    let found = score(&left, &right, 8000, start, call);
    for (_, side) in found.sides.iter() {
        assert_eq!(
            (side.wrong, side.missing, side.extra),
            (0, 0, 0),
            "{side:?}"
        );
        assert!(
            (20..30).contains(&(side.removed + side.inserted)),
            "{side:?}"
        );
        assert!(side.is_within(1), "{side:?}");
    }
    // Without repair the sides drift apart: 24 samples each way in 30 s.
    let unrepaired = |side: &TruthSide| -> Vec<i16> {
        let voice = Voice::new(side.voice);
        let head = (side.spans[0].time_ns - start.as_nanos()) as usize / 125_000;
        let audio = (0..side.spans[0].samples).map(|n| side.spans[0].codec.heard(voice.sample(n)));
        std::iter::repeat_n(0, head).chain(audio).collect()
    };
    let sides = &call.sides;
    let found = score(
        &unrepaired(&sides.caller),
        &unrepaired(&sides.callee),
        8000,
        start,
        call,
    );
    assert!(found.sides.caller.is_exact() && found.sides.callee.is_exact());
    let skew = found.skew_samples().unwrap();
    assert!((45..=50).contains(&skew), "{skew}");
}

#[test]
fn audio_of_another_rate_is_known_by_likeness() {
    let (_, truth) = simulate(&Scenario {
        codecs: vec![Codec::Pcmu],
        ..short(Features::default())
    });
    let call = &truth.calls[0];
    let (left, right, start) = recording(call, 16_000);
    let found = score(&left, &right, 16_000, start, call);
    for (_, side) in found.sides.iter() {
        assert!(side.resampled > side.expected * 99 / 100, "{side:?}");
        assert!(side.correlation_min.unwrap() > 0.9, "{side:?}");
        assert_eq!(side.offset_samples, Some(0));
    }
    let swapped = score(&right, &left, 16_000, start, call);
    assert_eq!(swapped.sides.caller.offset_samples, None);
    assert!(swapped.sides.caller.correlation_mean.unwrap() < 0.3);
}
