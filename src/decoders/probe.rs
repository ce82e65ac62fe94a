//! What the operator's decoder can do.

use std::collections::BTreeSet;

use super::process;
use super::{Error, Framing, Settings};

/// What it lists of itself is at most so long.
const MAX_LIST: usize = 256 << 10;

/// The decoders and formats of an `ffmpeg`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Its first line: name and version.
    pub version: String,
    decoders: BTreeSet<String>,
    demuxers: BTreeSet<String>,
}

/// Starts the program, locked in, and reads what it says of itself.
pub fn ask(settings: &Settings) -> Result<Abilities, Error> {
    let program = || settings.program.display().to_string();
    if let Err(error) = std::fs::metadata(&settings.program) {
        return Err(Error::Start {
            program: program(),
            reason: error.to_string(),
        });
    }
    let list = |what| process::ask(settings, &["-hide_banner", what], MAX_LIST);
    let abilities = Abilities {
        version: first_line(&list("-version")?),
        decoders: names(&list("-decoders")?),
        demuxers: names(&list("-demuxers")?),
    };
    if abilities.decoders.is_empty() || abilities.demuxers.is_empty() {
        return Err(Error::Unusable {
            program: program(),
            reason: "it lists no decoders".into(),
        });
    }
    Ok(abilities)
}

impl Abilities {
    pub fn can(&self, framing: &Framing) -> bool {
        let (decoders, demuxer) = framing.needs();
        let decoder = decoders.is_empty() || decoders.iter().any(|&d| self.decoders.contains(d));
        decoder && self.demuxers.contains(demuxer)
    }

    /// Whether there is a decoder of this name.
    pub(super) fn has(&self, decoder: &str) -> bool {
        self.decoders.contains(decoder)
    }

    /// Encoding names of what it decodes that this program does not.
    pub fn encodings(&self) -> Vec<&'static str> {
        [("iLBC", 8000), ("speex", 8000), ("G723", 8000)]
            .into_iter()
            .filter(|(name, clock)| {
                Framing::of(name, *clock, &Default::default())
                    .is_some_and(|framing| self.can(&framing))
            })
            .map(|(name, _)| name)
            .collect()
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let words = line.split(" Copyright").next().unwrap_or_default();
    words.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The second column of a list that begins behind a line of dashes; a name may stand for several.
fn names(list: &str) -> BTreeSet<String> {
    let lines = list
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("--"));
    lines
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .flat_map(|names| names.split(','))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_their_columns() {
        let list = "File formats:\n D. = Demuxing supported\n .E = Muxing\n --\n D  ilbc            iLBC storage\n D  mov,mp4,m4a     QuickTime\n";
        let found = names(list);
        assert!(found.contains("ilbc") && found.contains("mp4") && !found.contains("="));
        assert_eq!(
            first_line("ffmpeg version 5.1.9 Copyright (c) 2000\nbuilt"),
            "ffmpeg version 5.1.9"
        );
        assert!(names("nonsense").is_empty());
    }
}
