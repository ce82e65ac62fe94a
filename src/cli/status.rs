//! `callreel status`: how the running daemon is.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::output::{self, Table, harmless};
use super::{DEFAULT_CONFIG, Exit, selection};
use crate::config::Settings;
use crate::daemon::status::{Retention, Status, VantageLine};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// No status is longer.
const LONGEST: u64 = 4 << 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 it records as configured, 1 it runs and something is wrong (the table says what), 2 bad usage or \
configuration, 4 no daemon answers."
)]
pub struct Args {
    /// The daemon's configuration, for the address it answers on [default: /etc/callreel/callreel.toml, else 127.0.0.1:8080]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask here instead of where the configuration says
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "config")]
    address: Option<SocketAddr>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let address = match address(args) {
        Ok(address) => address,
        Err(exit) => return Ok(exit),
    };
    let answer = match ask(address) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("callreel: no daemon answers on {address}: {error:#}");
            return Ok(Exit::Unreachable);
        }
    };
    if args.json {
        output::print_json(&answer)?;
    }
    if answer.get("status").and_then(Value::as_str) == Some("starting") {
        if !args.json {
            output::print("starting: it has not begun to record\n");
        }
        return Ok(Exit::Found);
    }
    let status: Status = serde_json::from_value(answer)
        .with_context(|| format!("what answers on {address} is not this version's daemon"))?;
    if !args.json {
        print(&status);
    }
    Ok(match &*status.status {
        "ok" => Exit::Success,
        _ => Exit::Found,
    })
}

/// Where the daemon listens, as seen from this machine.
fn address(args: &Args) -> Result<SocketAddr, Exit> {
    if let Some(address) = args.address {
        return Ok(address);
    }
    let configured = args.config.is_some() || Path::new(DEFAULT_CONFIG).exists();
    let listen = match configured {
        true => selection::load(args.config.clone())?.settings.api.listen,
        false => Settings::default().api.listen,
    };
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}

/// One request, one answer: nothing of HTTP is needed but its first line and where its head ends.
fn ask(address: SocketAddr) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /status HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("what answers does not speak HTTP")?;
    let first = head.lines().next().unwrap_or_default();
    match first.split_ascii_whitespace().nth(1) {
        Some("200") => serde_json::from_str(body).context("the answer is no JSON"),
        Some("403") => bail!("it answers on loopback only"),
        _ => bail!("it answers {}", harmless(first)),
    }
}

fn print(status: &Status) {
    print_head(status);
    print_interfaces(status);
    print_counts(
        "CALLS",
        status
            .calls
            .iter()
            .filter(|c| c.count > 0)
            .map(|c| (&*c.name, c.count)),
    );
    print_counts(
        "PACKETS LOST HERE",
        status
            .losses
            .iter()
            .filter(|c| c.count > 0)
            .map(|c| (&*c.name, c.count)),
    );
    print_quality(status);
    if !status.sip_faults.is_empty() {
        let faults = status.sip_faults.iter();
        print_counts("FAULTS IN SIP", faults.map(|c| (&*c.name, c.count)));
    }
    if !status.sdp_faults.is_empty() {
        let faults = status.sdp_faults.iter();
        print_counts("FAULTS IN SDP", faults.map(|c| (&*c.name, c.count)));
    }
    print_vantages(&status.vantages);
}

fn print_head(status: &Status) {
    let mut lines = format!(
        "{}, version {}, up {}\n",
        status.status,
        harmless(&status.version),
        span(status.uptime_seconds)
    );
    for problem in &status.problems {
        lines += &format!(
            "  {}: {}\n",
            harmless(&problem.code),
            harmless(&problem.message)
        );
    }
    let disk = &status.disk;
    let state = match (disk.failing, disk.low) {
        (true, _) => ", failing",
        (false, true) => ", too little: nothing is recorded",
        (false, false) => "",
    };
    lines += &format!(
        "\n{} open calls, {} RTP streams, {} packets\ndisk: {:.1} GiB free{state}\ncatalog: {}, {} calls entered, {} not\n",
        status.open_calls,
        status.open_streams,
        status.packets,
        disk.free_bytes as f64 / f64::from(1u32 << 30),
        if status.catalog.away { "away" } else { "there" },
        status.catalog.rows_written,
        status.catalog.rows_dropped,
    );
    lines += &kept(&status.retention);
    output::print(&lines);
}

/// How calls go that plans have kept for long enough; nothing where none of them says it.
fn kept(retention: &Retention) -> String {
    if retention.tenants == 0 && retention.calls_removed == 0 {
        return String::new();
    }
    let mut line = format!(
        "retention: {} tenants, {} calls removed",
        retention.tenants, retention.calls_removed
    );
    if retention.overdue_seconds > 0 {
        line += &format!(
            ", the oldest overdue by {}",
            span(retention.overdue_seconds)
        );
    }
    if retention.files_waiting > 0 {
        line += &format!(", files of {} still there", retention.files_waiting);
    }
    line + "\n"
}

fn print_interfaces(status: &Status) {
    output::print("\n");
    let mut table = Table::new(&[
        "INTERFACE",
        "STATE",
        "PACKETS",
        "KERNEL DROPS",
        "NIC DROPS",
        "QUEUE DROPS",
    ]);
    for interface in &status.interfaces {
        table.row(vec![
            interface.name.clone(),
            if interface.up { "up" } else { "away" }.into(),
            interface.packets.to_string(),
            interface.dropped_kernel.to_string(),
            interface.dropped_interface.to_string(),
            interface.dropped_queue.to_string(),
        ]);
    }
    table.print();
}

fn print_counts<'a>(title: &'static str, counts: impl Iterator<Item = (&'a str, u64)>) {
    let mut table = Table::new(&[title, "COUNT"]);
    let mut is_empty = true;
    for (name, count) in counts {
        is_empty = false;
        table.row(vec![name.to_owned(), count.to_string()]);
    }
    if is_empty {
        table.row(vec!["none".into(), "0".into()]);
    }
    output::print("\n");
    table.print();
}

fn print_quality(status: &Status) {
    let quality = &status.quality;
    let rows = [
        ("packets lost by the network", quality.network_lost),
        ("packets lost by the mirror, at least", quality.mirror_lost),
        ("packets too late to be played", quality.discarded),
        ("calls rated", quality.rated_calls),
        ("of them below MOS 3.6", quality.bad_calls),
        ("calls with one-way audio", quality.one_way_calls),
        ("calls without RTP", quality.calls_without_rtp),
        ("RTP streams without a call", quality.streams_without_call),
        ("RTP streams of another clock", quality.streams_other_clock),
        ("RTCP packets", quality.rtcp_packets),
    ];
    print_counts("QUALITY", rows.into_iter());
}

fn print_vantages(vantages: &[VantageLine]) {
    if vantages.is_empty() {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&[
        "VANTAGE",
        "CALLS",
        "RTP PACKETS",
        "TWICE",
        "ONE DIRECTION",
        "NO CALL",
    ]);
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "-".into(), |share| format!("{:.1} %", share * 100.0))
    };
    for line in vantages {
        table.row(vec![
            line.vantage.clone(),
            line.calls.to_string(),
            line.rtp_packets.to_string(),
            percent(line.duplicate_share),
            percent(line.one_direction_share),
            line.streams_without_call.to_string(),
        ]);
    }
    table.print();
}

/// `3 d 04:05:06`.
fn span(seconds: u64) -> String {
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days} d "),
    };
    format!(
        "{days}{:02}:{:02}:{:02}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        assert_eq!(span(59), "00:00:59");
        assert_eq!(span(3 * 86_400 + 4 * 3600 + 5 * 60 + 6), "3 d 04:05:06");
    }
}
