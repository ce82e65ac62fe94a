//! Silence that is not silence: what a side sent was encrypted.

use std::ops::Range;

use crate::base::Side;
use crate::storage::{Cause, SegmentRecord};

/// Gives the parts of a side's silences that lie within `span` their true cause. To the timeline, packets that could not be
/// opened are packets that never came.
pub fn mark(segments: Vec<SegmentRecord>, side: Side, span: Range<u64>) -> Vec<SegmentRecord> {
    let mut marked = Vec::with_capacity(segments.len() + 2);
    for segment in segments {
        let silent = matches!(segment.cause, Cause::NoMedia | Cause::Loss);
        let (from, to) = (segment.from.max(span.start), segment.to.min(span.end));
        if segment.side != side || !silent || from >= to {
            marked.push(segment);
            continue;
        }
        let part = |from: u64, to: u64, cause: Cause| SegmentRecord {
            from,
            to,
            cause,
            ..segment.clone()
        };
        marked.push(part(segment.from, from, segment.cause));
        marked.push(part(from, to, Cause::Encrypted));
        marked.push(part(to, segment.to, segment.cause));
    }
    marked.retain(|segment| segment.from < segment.to);
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silence_of_that_side_and_time_is_marked() {
        let segment = SegmentRecord::new;
        let (caller, callee) = (Side::Caller, Side::Callee);
        let before = vec![
            segment(caller, 0, 100, Cause::NoMedia),
            segment(callee, 0, 100, Cause::NoMedia),
            segment(caller, 200, 250, Cause::Dtmf),
            segment(caller, 290, 400, Cause::Loss),
        ];
        let after = mark(before, caller, 40..300);
        let expected = [
            segment(caller, 0, 40, Cause::NoMedia),
            segment(caller, 40, 100, Cause::Encrypted),
            segment(callee, 0, 100, Cause::NoMedia),
            segment(caller, 200, 250, Cause::Dtmf),
            segment(caller, 290, 300, Cause::Encrypted),
            segment(caller, 300, 400, Cause::Loss),
        ];
        assert_eq!(after, expected);
    }
}
