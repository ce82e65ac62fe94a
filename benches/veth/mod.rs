//! Calls over a pair of virtual interfaces, and what a daemon that captures them lost.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

/// Two interfaces, what goes into one comes out of the other. They go with it.
pub struct Pair {
    pub in_front: String,
    pub behind: String,
}

impl Pair {
    pub fn new() -> Result<Pair, String> {
        let number = std::process::id() % 10_000;
        let pair = Pair {
            in_front: format!("crba{number}"),
            behind: format!("crbb{number}"),
        };
        ip(&[
            "link",
            "add",
            &pair.in_front,
            "type",
            "veth",
            "peer",
            "name",
            &pair.behind,
        ])?;
        for name in [&pair.in_front, &pair.behind] {
            ip(&["link", "set", name, "up"])?;
        }
        Ok(pair)
    }
}

impl Pair {
    /// The configuration of a daemon that records what comes out, below `folder`, and answers at `address`.
    pub fn configuration(&self, folder: &Path, address: &str) -> PathBuf {
        let config = folder.join("callreel.toml");
        let text = format!(
            "[capture]\ninterfaces = [\"{}\"]\n[storage]\nroot = \"{}\"\nmin_free_mib = 1\n[catalog]\nurl = \"sqlite://{}\"\n\
             [api]\nlisten = \"{address}\"\n[access]\nkey_file = \"{}\"\n[log]\nlevel = \"warn\"\n",
            self.behind,
            folder.join("recordings").display(),
            folder.join("catalog.db").display(),
            folder.join("access.key").display(),
        );
        fs::create_dir(folder.join("recordings")).expect("a folder for recordings");
        fs::write(&config, text).expect("the configuration is written");
        config
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.in_front]);
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let Output { status, stderr, .. } = Command::new("ip")
        .args(words)
        .output()
        .map_err(|error| format!("ip cannot be run: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
    }
}

/// Waits for who sends; the frames that were sent.
pub fn frames_of(sender: Child) -> u64 {
    let done = sender.wait_with_output().expect("simulate ends");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "simulate failed: {said}");
    // "200 calls in 123456 frames, 1234 bytes"
    let mut words = said.split_whitespace();
    words.position(|word| word == "in");
    let frames = words.next().and_then(|word| word.parse().ok());
    frames.expect("simulate says how many frames were sent")
}

/// The sum of a daemon's metrics whose lines begin with `name`.
pub fn metric(address: &str, name: &str) -> u64 {
    let text = metrics(address).expect("the daemon tells its metrics");
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

/// None while the daemon does not record yet.
pub fn metrics(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

/// Whether all that was sent was captured, and nothing was dropped anywhere.
pub fn print_losses(address: &str, sent: u64) -> bool {
    let captured = metric(address, "callreel_packets_total");
    let dropped = metric(address, "callreel_dropped_packets_total");
    println!("packets: {sent} sent, {captured} captured, {dropped} dropped");
    captured >= sent && dropped == 0
}
