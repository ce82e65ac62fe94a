//! What a codec does to speech by itself, and how it bears loss: input of the E-model.
//!
//! From ITU-T G.113 Appendix I (tables I.1 and I.2) and, for wideband, Appendix IV. For many codecs they publish no robustness, and
//! for some nothing: those rows say so.

use super::Codec;

/// On which scale of the E-model a codec is rated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// G.107: the best is G.711, at R = 93.2.
    Narrow,
    /// G.107.1: the best is linear wideband, at R = 129.
    Wide,
}

/// How a codec is rated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    pub band: Band,
    /// Equipment impairment factor Ie without loss, on the R scale.
    pub ie: f64,
    /// Packet-loss robustness factor Bpl.
    pub bpl: f64,
}

/// G.711 with its Appendix I: receivers conceal what they lack.
const CONCEALED: f64 = 25.1;
/// Where no robustness is published: the least that is published for a codec with concealment (GSM EFR).
const UNPUBLISHED: f64 = 10.0;

const TABLE: [(&str, Band, f64, f64); 26] = [
    ("PCMU", Band::Narrow, 0.0, CONCEALED),
    ("PCMA", Band::Narrow, 0.0, CONCEALED),
    ("G726-40", Band::Narrow, 2.0, UNPUBLISHED),
    ("G726-32", Band::Narrow, 7.0, UNPUBLISHED),
    ("G726-24", Band::Narrow, 25.0, UNPUBLISHED),
    ("G726-16", Band::Narrow, 50.0, UNPUBLISHED),
    ("AAL2-G726-40", Band::Narrow, 2.0, UNPUBLISHED),
    ("AAL2-G726-32", Band::Narrow, 7.0, UNPUBLISHED),
    ("AAL2-G726-24", Band::Narrow, 25.0, UNPUBLISHED),
    ("AAL2-G726-16", Band::Narrow, 50.0, UNPUBLISHED),
    ("G728", Band::Narrow, 7.0, UNPUBLISHED),
    // Annex A with silence suppression.
    ("G729", Band::Narrow, 11.0, 19.0),
    // At 6.3 kbit/s with silence suppression.
    ("G723", Band::Narrow, 15.0, 16.1),
    ("GSM", Band::Narrow, 20.0, UNPUBLISHED),
    ("GSM-HR-08", Band::Narrow, 23.0, UNPUBLISHED),
    ("GSM-EFR", Band::Narrow, 5.0, 10.0),
    // At 12.2 kbit/s, which is GSM EFR.
    ("AMR", Band::Narrow, 5.0, 10.0),
    // Not in G.113: what other monitors take.
    ("iLBC", Band::Narrow, 11.0, 32.0),
    // Not in G.113: taken as G.729.
    ("speex", Band::Narrow, 11.0, 19.0),
    // At 64 kbit/s. Appendix IV gives Ie; the robustness is a guess.
    ("G722", Band::Wide, 13.0, UNPUBLISHED),
    ("G7221", Band::Wide, 13.0, UNPUBLISHED),
    // At 12.65 kbit/s. As G.722.
    ("AMR-WB", Band::Wide, 13.0, UNPUBLISHED),
    // Not in G.113: taken as AMR-WB at its best, with the concealment of G.711.
    ("opus", Band::Wide, 1.0, CONCEALED),
    ("EVS", Band::Wide, 1.0, CONCEALED),
    ("SILK", Band::Wide, 13.0, UNPUBLISHED),
    ("G7291", Band::Wide, 7.0, UNPUBLISHED),
];

impl Codec {
    /// How the codec is rated; `None` for one that is no speech or that nobody has rated.
    pub fn impairment(self) -> Option<Impairment> {
        if !self.is_audio() {
            return None;
        }
        let name = self.to_string();
        if name == "L16" {
            return Some(Impairment {
                band: match self.is_wideband() {
                    true => Band::Wide,
                    false => Band::Narrow,
                },
                ie: 0.0,
                bpl: CONCEALED,
            });
        }
        let row = TABLE
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(&name));
        row.map(|&(_, band, ie, bpl)| Impairment { band, ie, bpl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_rated_by_their_names_in_sdp() {
        let of = |name, rate| Codec::from_sdp(name, rate, 1).impairment();
        assert_eq!(of("pcma", 8000).map(|i| (i.ie, i.bpl)), Some((0.0, 25.1)));
        assert_eq!(of("G729", 8000).map(|i| (i.ie, i.bpl)), Some((11.0, 19.0)));
        assert_eq!(of("L16", 44_100).map(|i| i.band), Some(Band::Wide));
        assert_eq!(of("L16", 8000).map(|i| i.band), Some(Band::Narrow));
        assert_eq!(of("opus", 48_000).map(|i| i.band), Some(Band::Wide));
        assert_eq!(of("telephone-event", 8000), None);
        assert_eq!(of("H263", 90_000), None);
    }
}
