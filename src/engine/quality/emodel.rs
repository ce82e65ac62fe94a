//! The E-model: from codec, loss and delay to a rating and a mean opinion score.
//!
//! ITU-T G.107 for narrowband and G.107.1 for wideband, with the defaults of both for everything that is not heard on a wire:
//! telephones, rooms, and echo, which is taken to be cancelled. What is left of the sum is R = R0 - Idd - Ie,eff.

use std::time::Duration;

use crate::codec::{Band, Impairment};

/// R of a narrowband connection without fault: G.107 section 7.7, all parameters at their defaults.
const BEST_NARROW: f64 = 93.2;
/// The same of a wideband connection: G.107.1 section 7.2.
const BEST_WIDE: f64 = 129.0;
/// The wideband scale is longer; divided by this it is read as the narrowband one is (G.107.1 Annex A).
const WIDE_SCALE: f64 = 1.29;

/// What a listener's packets went through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Share of packets that were not played: 0 to 1.
    pub loss: f64,
    /// BurstR of G.107: length of runs of loss, relative to that under random loss. 1 and more.
    pub burst_ratio: f64,
    /// From mouth to ear, one way.
    pub delay: Duration,
}

/// How a conversation over a path is likely to be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    pub band: Band,
    /// Transmission rating factor: 0 to 93.2, wideband to 129.
    pub r: f64,
    /// Mean opinion scores, 1 to 4.5: of who only listens, and of who talks too, whom delay disturbs.
    pub mos_lq: f64,
    pub mos_cq: f64,
}

/// Rates what a codec makes of a path.
pub fn rate(codec: Impairment, path: &Path) -> Rating {
    let (best, scale) = match codec.band {
        Band::Narrow => (BEST_NARROW, 1.0),
        Band::Wide => (BEST_WIDE, WIDE_SCALE),
    };
    let heard = best - effective_equipment_impairment(codec, path);
    let r = (heard - delay_impairment(path.delay)).max(0.0);
    Rating {
        band: codec.band,
        r,
        mos_lq: mos(heard / scale),
        mos_cq: mos(r / scale),
    }
}

/// Ie,eff (G.107 equation 7-29, the same in G.107.1).
fn effective_equipment_impairment(codec: Impairment, path: &Path) -> f64 {
    let percent = (path.loss * 100.0).clamp(0.0, 100.0);
    let weight = percent / (percent / path.burst_ratio.max(1.0) + codec.bpl);
    // Bursts beyond what the model was made for would weigh more than all.
    codec.ie + (95.0 - codec.ie) * weight.min(1.0)
}

/// Idd (G.107 equations 7-27 and 7-28).
fn delay_impairment(delay: Duration) -> f64 {
    let millis = delay.as_secs_f64() * 1000.0;
    if millis <= 100.0 {
        return 0.0;
    }
    let x = (millis / 100.0).log2();
    let sixth = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0)
}

/// Annex B.
fn mos(r: f64) -> f64 {
    match r {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

/// BurstR from the mean length of runs of loss: the share of packets between runs is what random loss would leave.
pub fn burst_ratio(loss: f64, run_packets: f64) -> f64 {
    (run_packets * (1.0 - loss)).max(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Codec;

    fn path(percent: f64, delay_ms: u64) -> Path {
        Path {
            loss: percent / 100.0,
            burst_ratio: 1.0,
            delay: Duration::from_millis(delay_ms),
        }
    }

    fn codec(name: &str) -> Impairment {
        Codec::from_sdp(name, 8000, 1).impairment().unwrap()
    }

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found}, not {expected}"
        );
    }

    /// The constant, from the equations of G.107 and the defaults of its table 3.
    #[test]
    fn the_defaults_of_g_107_give_93_2() {
        let (slr, rlr, stmr, ds, dr): (f64, f64, f64, f64, f64) = (8.0, 2.0, 15.0, 3.0, 3.0);
        let (nc, n_for, ps, pr, lstr, qdu, t): (f64, f64, f64, f64, f64, f64, f64) =
            (-70.0, -64.0, 35.0, 35.0, 18.0, 1.0, 0.0);
        assert_eq!(lstr, stmr + dr);
        let power = |level: f64| 10f64.powf(level / 10.0);
        let olr = slr + rlr;
        let nos = ps - slr - ds - 100.0 + 0.004 * (ps - olr - ds - 14.0).powi(2);
        let pre = pr + 10.0 * (1.0 + 10f64.powf((10.0 - lstr) / 10.0)).log10();
        let nor = rlr - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
        let nfo = n_for + rlr;
        let no = 10.0 * (power(nc) + power(nos) + power(nor) + power(nfo)).log10();
        let ro = 15.0 - 1.5 * (slr + no);
        let xolr = olr + 0.2 * (64.0 + no - rlr);
        let iolr = 20.0 * ((1.0 + (xolr / 8.0).powi(8)).powf(1.0 / 8.0) - xolr / 8.0);
        let stmr_o = -10.0
            * (10f64.powf(-stmr / 10.0) + (-t / 4.0).exp() * 10f64.powf(-65.0 / 10.0)).log10();
        let ist = 12.0 * (1.0 + ((stmr_o - 13.0) / 6.0).powi(8)).powf(1.0 / 8.0)
            - 28.0 * (1.0 + ((stmr_o + 1.0) / 19.4).powi(35)).powf(1.0 / 35.0)
            - 13.0 * (1.0 + ((stmr_o - 3.0) / 33.0).powi(13)).powf(1.0 / 13.0)
            + 29.0;
        let q = 37.0 - 15.0 * qdu.log10();
        let g = 1.07 + 0.258 * q + 0.0602 * q * q;
        let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
        let z = 46.0 / 30.0 - g / 40.0;
        let iq = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
        near(ro, 94.77, 0.01);
        // The listener's echo: WEPL 110, and no delay.
        let rle = 10.5 * (110.0 + 7.0);
        let idle = (ro - rle) / 2.0 + ((ro - rle).powi(2) / 4.0 + 169.0f64).sqrt();
        near(ro - (iolr + ist + iq) - idle, BEST_NARROW, 0.02);
    }

    #[test]
    fn g_711_without_fault_is_4_41() {
        let rating = rate(codec("PCMU"), &path(0.0, 0));
        assert_eq!(rating.r, 93.2);
        near(rating.mos_cq, 4.41, 0.005);
    }

    /// G.107 table B.1: R and the MOS that belongs to it.
    #[test]
    fn scores_are_those_of_annex_b() {
        for (r, expected) in [
            (90.0, 4.34),
            (80.0, 4.03),
            (70.0, 3.60),
            (60.0, 3.10),
            (50.0, 2.58),
        ] {
            near(mos(r), expected, 0.01);
        }
        assert_eq!(
            (mos(0.0), mos(-5.0), mos(100.0), mos(3.0)),
            (1.0, 1.0, 4.5, 1.0)
        );
    }

    /// G.114 and G.107 say of delay alone: no fault up to 100 ms, little to 150, much at 400.
    #[test]
    fn delay_disturbs_who_talks() {
        let idd = |ms| delay_impairment(Duration::from_millis(ms));
        near(idd(100), 0.0, 1e-9);
        near(idd(150), 0.16, 0.02);
        near(idd(200), 3.06, 0.1);
        near(idd(400), 24.1, 1.5);
        let rating = rate(codec("PCMA"), &path(0.0, 400));
        assert!(rating.mos_lq > 4.4 && rating.mos_cq < 3.7, "{rating:?}");
    }

    /// G.113: the codec alone, then with random loss; equation 7-29 by hand.
    #[test]
    fn codecs_bear_loss_as_g_113_says() {
        near(rate(codec("G729"), &path(0.0, 0)).r, 82.2, 0.001);
        near(
            rate(codec("G729"), &path(2.0, 0)).r,
            82.2 - 84.0 * 2.0 / 21.0,
            0.001,
        );
        near(rate(codec("G729"), &path(5.0, 0)).mos_lq, 3.35, 0.05);
        near(
            rate(codec("PCMA"), &path(5.0, 0)).r,
            93.2 - 95.0 * 5.0 / 30.1,
            0.001,
        );
        near(
            rate(codec("G723"), &path(1.0, 0)).r,
            78.2 - 80.0 / 17.1,
            0.001,
        );
        near(
            rate(codec("GSM-EFR"), &path(3.0, 0)).r,
            88.2 - 90.0 * 3.0 / 13.0,
            0.001,
        );
    }

    #[test]
    fn wideband_has_a_scale_of_its_own() {
        let rating = rate(codec("G722"), &path(0.0, 0));
        assert_eq!((rating.band, rating.r), (Band::Wide, 116.0));
        near(rating.mos_lq, mos(116.0 / 1.29), 1e-9);
    }

    #[test]
    fn bursts_weigh_more_than_the_same_loss_alone() {
        let alone = rate(codec("PCMA"), &path(5.0, 0));
        let together = Path {
            burst_ratio: burst_ratio(0.05, 4.0),
            ..path(5.0, 0)
        };
        assert!(rate(codec("PCMA"), &together).r < alone.r);
        assert_eq!(burst_ratio(0.5, 1.0), 1.0);
        near(burst_ratio(0.05, 4.0), 3.8, 1e-9);
    }

    proptest! {
        #[test]
        fn ratings_stay_in_their_ranges(loss in -1.0f64..3.0, ratio in 0.0f64..1e6, delay in 0u64..1_000_000, name in 0usize..4) {
            let codec = codec(["PCMU", "G729", "G722", "GSM"][name]);
            let path = Path { loss, burst_ratio: ratio, delay: Duration::from_millis(delay) };
            let rating = rate(codec, &path);
            prop_assert!((0.0..=129.0).contains(&rating.r), "{:?}", rating);
            prop_assert!((1.0..=4.5).contains(&rating.mos_cq) && (1.0..=4.5).contains(&rating.mos_lq));
            prop_assert!(rating.mos_cq <= rating.mos_lq + 1e-9);
        }
    }
}
