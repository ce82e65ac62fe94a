//! Says once, at the start, what the operator's decoder can do, or why nobody decodes.

use super::pipeline;
use crate::config;
use crate::decoders::Abilities;

/// What of the codecs that this program leaves to others can be decoded here.
///
/// # Errors
/// Why none, in a sentence.
pub fn probe(settings: &config::Decoders) -> Result<Abilities, String> {
    let decoders = pipeline::decoders(settings);
    decoders.abilities().cloned().map_err(ToString::to_string)
}

/// Tells it in the log, from a thread of its own: the program is started for it.
pub fn tell(settings: &config::Decoders) {
    if settings.ffmpeg.as_os_str().is_empty() {
        return;
    }
    let settings = settings.clone();
    let tell = move || match probe(&settings) {
        Ok(abilities) => tracing::info!(
            program = abilities.version,
            codecs = abilities.encodings().join(", "),
            "calls in codecs of others are decoded when they have ended"
        ),
        Err(reason) => tracing::warn!(
            reason,
            "nobody decodes iLBC, Speex and G.723.1: calls in them are kept raw"
        ),
    };
    let thread = std::thread::Builder::new().name("probing".into());
    if let Err(error) = thread.spawn(tell) {
        tracing::warn!(%error, "the decoder was not looked at");
    }
}
