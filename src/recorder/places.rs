//! Files that were taken away while their calls last, and what is lost with them.

use super::recording::{Output, Recording, Trouble};
use crate::engine::event::Block;
use crate::storage::{Cause, Error, PartFile, Place, RawRecord};

impl Recording {
    /// Looks where the files are. One that nobody will find again is given up, and what was in it counted; one that is elsewhere
    /// is set aside until it is back or another is begun.
    pub(super) fn look_for_files(&mut self) {
        for output in &mut self.outputs {
            output.put_back();
            let Some(part) = output.part.take() else {
                continue;
            };
            match part.place() {
                Place::Own => output.part = Some(part),
                Place::Other => output.away = Some(Box::new(part)),
                Place::Gone => output.lose(&part, self.written, &mut self.taken),
            }
        }
    }

    /// Adds what was taken away to what became of a block.
    pub(super) fn own_up(&mut self, trouble: &mut Trouble) {
        if let Some(taken) = self.taken.take() {
            trouble.packets += taken.packets;
            trouble.note(taken.error.map_or(Ok(()), Err));
        }
    }

    /// Counts a block that the files took.
    pub(super) fn count_kept(&mut self, block: &Block) {
        let packets = block.packets();
        let open = self.outputs.iter_mut().filter(|o| o.part.is_some());
        open.for_each(|output| output.packets += packets);
    }

    /// Counts a block, up to frame `to`, of a tenant whose file could not be begun while another's could: it is lost to that one only.
    pub(super) fn count_missed(&mut self, block: &Block, to: u64) {
        let closed = self.outputs.iter_mut().filter(|o| o.part.is_none());
        for output in closed {
            output.lost += block.packets();
            output.lost_until = output.lost_until.max(to);
        }
    }
}

impl Output {
    /// Takes up again a file that was set aside.
    pub(super) fn put_back(&mut self) {
        if self.part.is_none() {
            self.part = self.away.take().map(|part| *part);
        }
    }

    /// Gives up a file that was set aside: another one is in its place.
    pub(super) fn lose_away(&mut self, written: u64, taken: &mut Option<Box<Trouble>>) {
        if let Some(before) = self.away.take() {
            self.lose(&before, written, taken);
        }
    }

    /// Gives up a file of which frames up to `written` are no more, and adds it to what was `taken`.
    fn lose(&mut self, part: &PartFile, written: u64, taken: &mut Option<Box<Trouble>>) {
        let packets = std::mem::take(&mut self.packets);
        self.lost += packets;
        self.lost_until = written;
        let gone = std::io::Error::new(std::io::ErrorKind::NotFound, "it was taken away");
        taken.get_or_insert_default().also(Trouble {
            error: Some(Error::io("go on with", part.path())(gone)),
            packets,
            recovered: false,
        });
    }

    /// What is lost of the tenant's file alone, from the start.
    pub(super) fn lost_span(&self) -> Option<(u64, Cause)> {
        (self.lost_until > 0).then_some((self.lost_until, Cause::Storage))
    }
}

impl Trouble {
    /// One more file that was taken away: a packet that was in several is lost once.
    fn also(&mut self, other: Trouble) {
        self.packets = self.packets.max(other.packets);
        self.note(other.error.map_or(Ok(()), Err));
    }
}

/// What a sidecar says of packets whose first file was taken away. `found`: what is in the one that was begun after it.
pub(super) fn without_lost(record: RawRecord, found: Option<RawRecord>) -> RawRecord {
    let found = found.unwrap_or_default();
    RawRecord {
        packets_dropped: record.packets_dropped + record.packets.saturating_sub(found.packets),
        packets: found.packets,
        streams: found.streams,
        ..record
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::easel::Easel;
    use super::super::tests::{START, block, end, info, settings};
    use super::*;
    use crate::base::{SYSTEM_TENANT, Side};
    use crate::recorder::recording::Done;

    /// Three blocks of which the first two have two packets each, and the last one; `between` is done before the last.
    fn record(root: &Path, companded: bool, between: impl FnOnce()) -> (Done, Vec<Trouble>) {
        let info = info(&[SYSTEM_TENANT]);
        let mut settings = settings(root);
        settings.keep_g711 = companded;
        let mut easel = Easel::default();
        let mut recording = Recording::new(START, 8000);
        let blocks = [
            block(0, false, &[(Side::Caller, 0, 4), (Side::Caller, 1, 4)]),
            block(1, false, &[(Side::Caller, 26, 4), (Side::Caller, 27, 4)]),
            block(2, false, &[(Side::Caller, 60, 4)]),
        ];
        let [first, second, third] = blocks;
        let mut take = |block| recording.take_block(block, &info, &settings, &mut easel);
        let mut troubles = vec![take(first), take(second)];
        between();
        troubles.push(take(third));
        let messages = Default::default();
        let (done, _) = recording.finish(&end(&info, 70), &info, &messages, &settings, &mut easel);
        (done, troubles)
    }

    fn empty(root: &Path) {
        for entry in fs::read_dir(root).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }

    fn storage_segments(done: &Done) -> Vec<(u64, u64)> {
        let segments = done.finished[0].sidecar.segments.iter();
        let lost = segments.filter(|segment| segment.cause == Cause::Storage);
        lost.map(|segment| (segment.from, segment.to)).collect()
    }

    #[test]
    fn a_file_that_is_removed_is_begun_again_and_what_was_in_it_is_counted() {
        for companded in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (done, troubles) = record(folder.path(), companded, || empty(folder.path()));
            assert!(troubles[..2].iter().all(|trouble| trouble.error.is_none()));
            assert!(troubles[2].error.is_some());
            // The block at hand is in the new file.
            assert_eq!(troubles[2].packets, 4);
            let sidecar = &done.finished[0].sidecar;
            assert_eq!(sidecar.packets_dropped, 4);
            assert_eq!(storage_segments(&done), [(0, 8192), (0, 8192)]);
            let file = fs::read(done.finished[0].part.path()).unwrap();
            let frame_bytes = if companded { 2 } else { 4 };
            let header = crate::storage::HEADER_LEN as usize;
            let at = |frame: usize| &file[header + frame * frame_bytes..][..frame_bytes];
            let silent: &[u8] = if companded { &[0xff, 0xff] } else { &[0; 4] };
            assert_eq!((at(100), at(8191)), (silent, silent));
            assert_ne!(at(60 * 160), silent, "what came after it");
        }
    }

    #[test]
    fn a_file_that_comes_back_goes_on_and_nothing_is_lost_twice() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let (aside, elsewhere) = (folder.path().join("aside"), root.clone());
        let (done, troubles) = record(&root, false, || {
            fs::rename(&elsewhere, &aside).unwrap();
            // Nothing can be made in its place.
            fs::write(&elsewhere, "").unwrap();
        });
        assert!(troubles[2].error.is_some());
        assert_eq!(troubles[2].packets, 1, "only what came meanwhile");
        assert_eq!(done.finished[0].sidecar.packets_dropped, 1);
        assert_eq!(storage_segments(&done), [(8192, 11200), (8192, 11200)]);
        // All the same it is written to its end where it is.
        let name = done.finished[0]
            .part
            .name
            .relative(crate::storage::Kind::AudioPart);
        let file = fs::metadata(folder.path().join("aside").join(name)).unwrap();
        assert_eq!(file.len(), done.finished[0].sidecar.size_bytes);
    }

    #[test]
    fn a_file_that_is_gone_when_its_call_ends_is_lost_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let info = info(&[SYSTEM_TENANT]);
        let settings = settings(folder.path());
        let mut easel = Easel::default();
        let mut recording = Recording::new(START, 8000);
        let packets = [(Side::Caller, 0, 4), (Side::Callee, 0, 4)];
        recording.take_block(block(0, false, &packets), &info, &settings, &mut easel);
        empty(folder.path());
        let messages = Default::default();
        let (done, trouble) =
            recording.finish(&end(&info, 10), &info, &messages, &settings, &mut easel);
        assert!(done.finished.is_empty());
        assert_eq!((trouble.packets, trouble.error.is_some()), (2, true));
    }
}
