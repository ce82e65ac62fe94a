//! Packets from public captures, packets that another library wrote, and packets that lie.

use proptest::prelude::*;
use rtcp_types::{Bye, ReceiverReport, RtcpPacketWriterExt, SenderReport};

use super::*;

fn read(bytes: &[u8]) -> (Vec<Report<'_>>, bool) {
    let mut reports = reports(bytes);
    let all = reports.by_ref().collect();
    (all, reports.is_damaged())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Of sip-over-tcp-g711a.pcap, packet 17; the values are tshark's.
#[test]
fn a_compound_of_a_gateway() {
    let bytes = hex(
        "81c8000c 5a3361b3 0026481d 99580fb1 05b6fe86 00000001 000000a0 42f433d4 00000000 0000d444 00000000 09253062
         00000418 81ca0003 5a3361b3 01036330 00000000",
    );
    let (all, is_damaged) = read(&bytes);
    assert!(!is_damaged);
    let [
        Report::Sender {
            ssrc,
            info,
            receptions,
        },
        Report::SourceDescription,
    ] = all[..]
    else {
        panic!("{all:?}");
    };
    assert_eq!((ssrc, info.packets, info.octets), (0x5a33_61b3, 1, 160));
    assert_eq!(
        (info.ntp_middle(), info.rtp_timestamp),
        (0x481d_9958, 95_878_790)
    );
    let blocks: Vec<_> = receptions.collect();
    let expected = ReceptionReport {
        ssrc: 0x42f4_33d4,
        fraction_lost: 0,
        cumulative_lost: 0,
        highest_sequence: 54_340,
        jitter: 0,
        last_sender_report: 153_432_162,
        delay_since: 1048,
    };
    assert_eq!(blocks, [expected]);
}

/// Of volte-gtp-ipv6-amr.pcap: a report alone, as RFC 5506 allows.
#[test]
fn a_reduced_size_packet() {
    let bytes = hex(
        "81c8000c 6399bbc1 d810b7d6 94d7060b 4bcb670a 000000e1 00001c20 a2ff620f 00000000 000100ad 00000000 00000000
         00000000",
    );
    let (all, is_damaged) = read(&bytes);
    let [Report::Sender { receptions, .. }] = all[..] else {
        panic!("{all:?}");
    };
    let block = receptions.clone().next().unwrap();
    assert_eq!((block.highest_sequence, is_damaged), (0x1_00ad, false));
    let bye = hex("81cb0001 6399bbc1");
    let (all, _) = read(&bye);
    assert!(matches!(all[..], [Report::Bye { sources }] if sources.eq([0x6399_bbc1])));
}

#[test]
fn losses_may_be_negative() {
    let mut bytes = hex("81c90007 00000001 00000002 40fffffe 00000003 00000004 00000005 00000006");
    let lost = |bytes: &[u8]| match reports(bytes).next() {
        Some(Report::Receiver { mut receptions, .. }) => receptions.next().unwrap().cumulative_lost,
        other => panic!("{other:?}"),
    };
    assert_eq!(lost(&bytes), -2);
    bytes[13] = 0x7f;
    assert_eq!(lost(&bytes), 0x7f_fffe);
}

/// RFC 3611 sections 4.4 to 4.7, each block in one report.
#[test]
fn extended_reports_are_read() {
    let bytes = hex("80cf001c 00000001
         04000002 00112233 44556677
         05000003 000000aa 22334455 00010000
         06e00009 000000bb 00640096 00000007 00000002 0000000a 00000014 0000000f 00000000 00000000
         07000008 000000bb 20100840 03e80fa0 00280014 c4a0ff10 5a7f2b2a 80000028 00500064
         63000000");
    let (all, is_damaged) = read(&bytes);
    let [Report::Extended { ssrc: 1, blocks }] = all[..] else {
        panic!("{all:?}");
    };
    assert!(!is_damaged);
    let blocks: Vec<_> = blocks.collect();
    let [
        ExtendedBlock::ReceiverReferenceTime { ntp },
        ExtendedBlock::DelaySinceLast(answers),
        ExtendedBlock::StatisticsSummary(summary),
        ExtendedBlock::VoipMetrics(voip),
        ExtendedBlock::Other { block_type: 0x63 },
    ] = blocks[..]
    else {
        panic!("{blocks:?}");
    };
    assert_eq!(ntp, 0x0011_2233_4455_6677);
    let answers: Vec<_> = answers.collect();
    assert_eq!(
        (
            answers[0].ssrc,
            answers[0].last_reference,
            answers[0].delay_since
        ),
        (0xaa, 0x2233_4455, 65_536)
    );
    assert_eq!(
        (summary.begin, summary.end, summary.lost, summary.duplicates),
        (100, 150, Some(7), Some(2))
    );
    assert_eq!(summary.jitter, Some([10, 20, 15]));
    assert_eq!(
        (
            voip.loss_rate,
            voip.discard_rate,
            voip.burst_density,
            voip.gap_density
        ),
        (32, 16, 8, 64)
    );
    assert_eq!(
        (
            voip.burst_ms,
            voip.gap_ms,
            voip.round_trip_ms,
            voip.end_system_ms
        ),
        (1000, 4000, 40, 20)
    );
    assert_eq!(
        (voip.signal_level, voip.noise_level),
        (Some(-60), Some(-96))
    );
    assert_eq!(
        (voip.r_factor, voip.mos_lq, voip.mos_cq),
        (Some(90), Some(43), Some(42))
    );
    assert_eq!((voip.buffer_nominal_ms, voip.buffer_maximum_ms), (40, 80));
}

/// RFC 3611 section 4.1: a run of 10 received, a run of 4 lost, then 15 bits.
#[test]
fn runs_of_loss_are_counted() {
    let of = |words: &str| {
        let bytes = hex(words);
        match reports(&bytes).next() {
            Some(Report::Extended { mut blocks, .. }) => match blocks.next() {
                Some(ExtendedBlock::LossRuns(runs)) => runs.lost(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        of("80cf0006 00000001 01000004 00000002 0000001d 400a0004 ffff0000"),
        4
    );
    assert_eq!(
        of("80cf0006 00000001 01000004 00000002 0000001d 400a0004 f0000000"),
        4 + 12
    );
    // No more than the interval has, whatever runs say.
    assert_eq!(
        of("80cf0006 00000001 01000004 00000002 0000001d 3fff3fff 3fff0000"),
        29
    );
    assert_eq!(
        of("80cf0006 00000001 01010004 00000002 0000001d 3fff3fff 3fff0000"),
        15
    );
}

#[test]
fn what_lies_is_left_out_and_what_stands_before_it_is_read() {
    let report = hex("80c90001 00000001");
    for (lie, kept) in [
        ("81c9ffff 00000002", 2),
        ("80c80001 00000002", 1),
        ("a0c90001 00000009", 1),
        ("00c90001 00000002", 1),
        ("8000", 1),
    ] {
        let bytes = [report.clone(), hex(lie)].concat();
        let (all, is_damaged) = read(&bytes);
        assert_eq!((all.len(), is_damaged), (kept, true), "{lie}");
    }
    assert_eq!(read(&[]).0.len(), 0);
}

fn written(packet: &impl RtcpPacketWriterExt) -> Vec<u8> {
    let mut bytes = vec![0; packet.calculate_size().unwrap()];
    packet.write_into(&mut bytes).unwrap();
    bytes
}

proptest! {
    /// What another library writes is read as it was meant.
    #[test]
    fn reports_of_another_library_are_read(
        ssrc: u32, ntp: u64, packets: u32, blocks in proptest::collection::vec((any::<u32>(), any::<u8>(), 0u32..1 << 23, any::<u32>(), any::<[u32; 3]>()), 0..31), bye: u32,
    ) {
        let mut sender = SenderReport::builder(ssrc).ntp_timestamp(ntp).packet_count(packets);
        let mut receiver = ReceiverReport::builder(ssrc);
        for &(ssrc, fraction, lost, highest, [jitter, last, delay]) in &blocks {
            let block = || rtcp_types::ReportBlock::builder(ssrc)
                .fraction_lost(fraction)
                .cumulative_lost(lost)
                .extended_sequence_number(highest)
                .interarrival_jitter(jitter)
                .last_sender_report_timestamp(last)
                .delay_since_last_sender_report_timestamp(delay);
            sender = sender.add_report_block(block());
            receiver = receiver.add_report_block(block());
        }
        let bye = Bye::builder().add_source(bye);
        let bytes = [written(&sender), written(&receiver), written(&bye)].concat();
        let (all, is_damaged) = read(&bytes);
        prop_assert!(!is_damaged);
        let [Report::Sender { info, receptions, .. }, Report::Receiver { receptions: more, .. }, Report::Bye { .. }] = all[..] else {
            return Err(TestCaseError::fail(format!("{all:?}")));
        };
        prop_assert_eq!((info.ntp, info.packets), (ntp, packets));
        let expected: Vec<_> = blocks.iter().map(|&(ssrc, fraction_lost, lost, highest_sequence, [jitter, last_sender_report, delay_since])| {
            let cumulative_lost = lost as i32;
            ReceptionReport { ssrc, fraction_lost, cumulative_lost, highest_sequence, jitter, last_sender_report, delay_since }
        }).collect();
        prop_assert_eq!(receptions.collect::<Vec<_>>(), expected.clone());
        prop_assert_eq!(more.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_give_no_more_than_they_are(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        packet_type in 198u8..210,
        block_type in 0u8..9,
    ) {
        let mut shaped = vec![0x85, packet_type, 0, 12, 0, 0, 0, 1, block_type, 0xff, 0, 8];
        shaped.extend(&bytes);
        for bytes in [&bytes, &shaped] {
            let mut given = 0;
            for report in reports(bytes) {
                given += 4;
                match report {
                    Report::Sender { receptions, .. } | Report::Receiver { receptions, .. } => given += 24 * receptions.count(),
                    Report::Bye { sources } => given += 4 * sources.count(),
                    Report::Extended { blocks, .. } => for block in blocks {
                        given += 4;
                        match block {
                            ExtendedBlock::LossRuns(runs) => prop_assert!(runs.lost() <= 65_535),
                            ExtendedBlock::DelaySinceLast(answers) => given += 12 * answers.count(),
                            _ => {}
                        }
                    },
                    Report::SourceDescription | Report::Other { .. } => {}
                }
            }
            prop_assert!(given <= bytes.len());
        }
    }
}
