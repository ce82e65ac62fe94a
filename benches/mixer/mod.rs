//! Calls in G.711 become a mix: half stay, a quarter speak Opus, a quarter G.729.

use std::collections::HashMap;
use std::io;

use callreel::base::Timestamp;
use callreel::simulate::FrameSink;

use crate::phones;

/// Changes frames of simulated calls on their way to another sink. The RTP clock stays 8 kHz, for Opus too.
pub struct Mixer<S> {
    sink: S,
    /// Payloads of 20 ms, played again and again.
    opus: Vec<Vec<u8>>,
    g729: Vec<Vec<u8>>,
    calls: HashMap<String, Voice>,
    /// Addresses and ports that media is sent to.
    places: HashMap<[u8; 6], Voice>,
    frame: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Voice {
    G711,
    Opus,
    G729,
}

const MIX: [Voice; 4] = [Voice::G711, Voice::Opus, Voice::G711, Voice::G729];

/// Ethernet, IPv4 without options, UDP.
const IP: usize = 14;
const UDP: usize = IP + 20;
const PAYLOAD: usize = UDP + 8;
const RTP_HEADER: usize = 12;

impl<S: FrameSink> Mixer<S> {
    pub fn new(sink: S) -> Self {
        Mixer {
            sink,
            opus: phones::phone("opus"),
            g729: phones::g729(),
            calls: HashMap::new(),
            places: HashMap::new(),
            frame: Vec::new(),
        }
    }

    /// Another codec of as many letters, so that the length of the body stays true.
    fn change_sip(&mut self) {
        let text = String::from_utf8_lossy(&self.frame[PAYLOAD..]).into_owned();
        let Some(call_id) = line(&text, "Call-ID: ").or_else(|| line(&text, "i: ")) else {
            return;
        };
        let next = MIX[self.calls.len() % MIX.len()];
        let voice = *self.calls.entry(call_id.to_owned()).or_insert(next);
        let (Some(address), Some(port)) = (line(&text, "c=IN IP4 "), line(&text, "m=audio "))
        else {
            return;
        };
        let octets: Vec<u8> = address
            .split('.')
            .map(|o| o.parse().expect("an octet"))
            .collect();
        let port: u16 = port
            .split(' ')
            .next()
            .and_then(|p| p.parse().ok())
            .expect("a port");
        let mut place = [0; 6];
        place[..4].copy_from_slice(&octets);
        place[4..].copy_from_slice(&port.to_be_bytes());
        self.places.insert(place, voice);
        let name = match voice {
            Voice::G711 => return,
            Voice::Opus => "opus/8000",
            Voice::G729 => "G729/8000",
        };
        let changed = text.replace("PCMU/8000", name);
        self.frame.truncate(PAYLOAD);
        self.frame.extend_from_slice(changed.as_bytes());
    }

    fn change_rtp(&mut self, voice: Voice) {
        let sequence = usize::from(u16::from_be_bytes([
            self.frame[PAYLOAD + 2],
            self.frame[PAYLOAD + 3],
        ]));
        let payloads = match voice {
            Voice::G711 => return,
            Voice::Opus => &self.opus,
            Voice::G729 => &self.g729,
        };
        self.frame.truncate(PAYLOAD + RTP_HEADER);
        self.frame
            .extend_from_slice(&payloads[sequence % payloads.len()]);
    }

    /// Lengths, and checksums that are not looked at.
    fn finish_headers(&mut self) {
        let ip = (self.frame.len() - IP) as u16;
        let udp = (self.frame.len() - UDP) as u16;
        self.frame[IP + 2..IP + 4].copy_from_slice(&ip.to_be_bytes());
        self.frame[UDP + 4..UDP + 6].copy_from_slice(&udp.to_be_bytes());
        self.frame[UDP + 6..PAYLOAD].fill(0);
    }
}

impl<S: FrameSink> FrameSink for Mixer<S> {
    fn frame(&mut self, time: Timestamp, bytes: &[u8]) -> io::Result<()> {
        self.frame.clear();
        self.frame.extend_from_slice(bytes);
        if bytes.len() > PAYLOAD + RTP_HEADER {
            assert_eq!(bytes[12..15], [8, 0, 0x45], "IPv4 on Ethernet");
            if bytes[PAYLOAD] == 0x80 {
                let mut place = [0; 6];
                place[..4].copy_from_slice(&bytes[IP + 16..UDP]);
                place[4..].copy_from_slice(&bytes[UDP + 2..UDP + 4]);
                if let Some(&voice) = self.places.get(&place) {
                    self.change_rtp(voice);
                }
            } else if bytes[PAYLOAD].is_ascii_uppercase() {
                self.change_sip();
            }
            self.finish_headers();
        }
        self.sink.frame(time, &self.frame)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.finish()
    }
}

fn line<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split("\r\n").find_map(|line| line.strip_prefix(name))
}
