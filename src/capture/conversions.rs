//! The public captures, as they are and as Wireshark's tools convert them: every way to the same packets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::hand_made::{Reading, Seen, read_files};
use super::{CaptureFiles, PcapWriter};
use crate::base::Timestamp;
use crate::wire::LinkType;

/// Where the public captures lie, if they do.
fn public_captures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let folder = folder.is_dir().then_some(folder);
    if folder.is_none() {
        println!("the folder of public captures is missing; nothing to read");
    }
    folder
}

/// File names and packet counts of the README's table.
fn listed(folder: &Path) -> Vec<(PathBuf, usize)> {
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('[')?.split(']').next()?;
        Some((folder.join(name), cells.get(3)?.parse().ok()?))
    };
    readme.lines().filter_map(row).collect()
}

fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        println!("{program} is not installed; nothing to compare with");
    }
    found
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) {
    let output = Command::new(program)
        .args(arguments)
        .args(paths)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

fn read(path: &Path) -> Reading {
    let reading = read_files(&[path.to_owned()]);
    assert!(reading.errors.is_empty(), "{path:?}: {:?}", reading.errors);
    reading
}

#[test]
fn every_public_capture_has_the_packets_its_readme_says() {
    let Some(folder) = public_captures() else {
        return;
    };
    let listed = listed(&folder);
    assert!(
        listed.len() > 35,
        "the table of {folder:?} was not understood"
    );
    for (path, packets) in listed {
        assert_eq!(read(&path).packets.len(), packets, "{path:?}");
    }
}

#[test]
fn every_public_capture_reads_as_libpcap_reads_it() {
    let Some(folder) = public_captures() else {
        return;
    };
    for (path, _) in listed(&folder) {
        let ours = read(&path).packets;
        let mut theirs =
            pcap::Capture::from_file_with_precision(&path, pcap::Precision::Nano).unwrap();
        for seen in &ours {
            let packet = theirs.next_packet().unwrap();
            let header = packet.header;
            let time = Timestamp::from_secs_nanos(header.ts.tv_sec, header.ts.tv_usec);
            assert_eq!((seen.time, &seen.data[..]), (time, packet.data), "{path:?}");
            assert_eq!(seen.original_len, header.len);
        }
        assert!(
            theirs.next_packet().is_err(),
            "{path:?}: packets are missing"
        );
    }
}

#[test]
fn every_format_gives_the_same_packets() {
    let Some(folder) = public_captures().filter(|_| has("editcap")) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("converted");
    for (path, _) in listed(&folder) {
        let packets = read(&path).packets;
        for format in ["pcap", "nsecpcap", "pcapng", "modpcap"] {
            run("editcap", &["-F", format], &[&path, &to]);
            let converted = read(&to).packets;
            assert_eq!(converted.len(), packets.len(), "{path:?} as {format}");
            for (seen, converted) in packets.iter().zip(&converted) {
                assert_same(seen, converted, format);
            }
        }
    }
}

/// Formats with microseconds cut the time, and only pcapng has names of interfaces.
fn assert_same(seen: &Seen, converted: &Seen, format: &str) {
    let coarse = matches!(format, "pcap" | "modpcap");
    let unit = if coarse { 1000 } else { 1 };
    let nanos = [seen, converted].map(|seen| seen.time.as_nanos() / unit * unit);
    assert_eq!(nanos[0], nanos[1], "{format}");
    let expected = Seen {
        time: converted.time,
        interface: converted.interface,
        ..seen.clone()
    };
    assert_eq!(*converted, expected, "{format}");
}

/// Swaps the byte order of a pcap file's headers.
fn big_endian(bytes: &[u8]) -> Vec<u8> {
    let (header, mut rest) = bytes.split_at(24);
    let swap = |bytes: &[u8]| -> Vec<u8> {
        bytes
            .chunks(4)
            .flat_map(|word| word.iter().rev().copied())
            .collect()
    };
    let mut swapped = swap(header);
    swapped[4..8].copy_from_slice(&[0, 2, 0, 4]);
    while !rest.is_empty() {
        let (record, after) = rest.split_at(16);
        let len = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
        swapped.extend(swap(record));
        swapped.extend_from_slice(&after[..len]);
        rest = &after[len..];
    }
    swapped
}

#[test]
fn big_endian_and_packed_copies_give_the_same_packets() {
    let Some(folder) = public_captures().filter(|_| has("editcap") && has("gzip")) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("converted.pcap");
    for (path, _) in listed(&folder) {
        run("editcap", &["-F", "nsecpcap"], &[&path, &to]);
        let expected = read(&to).packets;
        fs::write(&to, big_endian(&fs::read(&to).unwrap())).unwrap();
        assert_eq!(read(&to).packets, expected, "{path:?} in big endian");
        run("gzip", &["-kf1"], &[&to]);
        assert_eq!(
            read(&to.with_extension("pcap.gz")).packets,
            expected,
            "{path:?} in gzip"
        );
        let packed = zstd::encode_all(&fs::read(&to).unwrap()[..], 1).unwrap();
        fs::write(&to, packed).unwrap();
        assert_eq!(read(&to).packets, expected, "{path:?} in zstd");
    }
}

#[test]
fn a_capture_cut_into_pieces_merges_to_the_whole() {
    let Some(folder) = public_captures().filter(|_| has("editcap")) else {
        return;
    };
    for (name, pieces) in [
        ("fax-t38-rejected-g711.pcap", "400"),
        ("g711u-b2bua-two-legs.pcap", "2000"),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let whole = read(&folder.join(name));
        if whole.counters.out_of_order > 0 {
            println!("{name} is not in order itself");
        }
        run(
            "editcap",
            &["-c", pieces],
            &[&folder.join(name), &scratch.path().join("piece.pcap")],
        );
        let mut paths: Vec<PathBuf> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        assert!(paths.len() > 2);
        let key = |packets: &[Seen]| -> Vec<(Timestamp, Vec<u8>)> {
            packets
                .iter()
                .map(|seen| (seen.time, seen.data.clone()))
                .collect()
        };
        let merged = read_files(&paths);
        assert_eq!(key(&merged.packets), key(&whole.packets), "{name}");
    }
}

#[test]
fn written_captures_are_read_back_and_by_tshark() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("written.pcap");
    let file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    let mut writer = PcapWriter::new(file, LinkType::RawIp).unwrap();
    let packets: Vec<Seen> = (0..100u32)
        .map(|n| Seen {
            time: Timestamp::from_nanos(1_700_000_000_123_456_789 + i64::from(n) * 7),
            interface: 0,
            link: LinkType::RawIp,
            data: super::hand_made::frame(n),
            original_len: 1000 + n,
        })
        .collect();
    for seen in &packets {
        writer
            .write(seen.time, &seen.data, seen.original_len)
            .unwrap();
    }
    writer.flush().unwrap();
    assert_eq!(read(&path).packets, packets);
    if !has("tshark") {
        return;
    }
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.len",
        "-e",
        "frame.cap_len",
    ];
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&path)
        .args(fields)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let expected: String = packets
        .iter()
        .map(|seen| {
            let nanos = seen.time.as_nanos();
            let (secs, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
            format!(
                "{secs}.{nanos:09}\t{}\t{}\n",
                seen.original_len,
                seen.data.len()
            )
        })
        .collect();
    assert_eq!(text, expected);
}

#[test]
fn a_pipe_is_read_as_it_fills() {
    // Standard input of a test is not ours to give; a named pipe takes the same way.
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let writing = std::thread::spawn({
        let path = path.clone();
        move || {
            let pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
            let mut writer = PcapWriter::new(pipe, LinkType::Ethernet).unwrap();
            for n in 0..50 {
                writer.write(Timestamp::from_nanos(n), b"frame", 5).unwrap();
            }
        }
    });
    let mut files = CaptureFiles::open(&[path]).unwrap();
    assert_eq!(files.bytes_total(), None);
    let mut count = 0;
    while files.next_packet().unwrap().is_some() {
        count += 1;
    }
    writing.join().unwrap();
    assert_eq!(count, 50);
}
