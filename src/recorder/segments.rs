//! Silence on a timeline, and its causes.

use crate::base::Side;
use crate::storage::{Cause, SegmentRecord};

/// Samples that may be missing between packets where drift was repaired: filled with the sample before them.
pub const SEAM: i64 = 8;
/// Spans listed for one side of a recording; further ones are counted.
const MAX_SPANS: usize = 4096;

/// Samples that were not filled, with a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub to: u64,
    pub cause: Cause,
}

/// The spans of one side, by their beginnings, not overlapping.
#[derive(Debug, Default)]
pub struct Spans {
    spans: Vec<Span>,
    omitted: u64,
}

impl Spans {
    /// Adds a span behind all others; one that continues the last with the same cause lengthens it.
    pub fn push(&mut self, span: Span) {
        if span.from >= span.to {
            return;
        }
        if let Some(last) = self.spans.last_mut()
            && last.to == span.from
            && last.cause == span.cause
        {
            last.to = span.to;
        } else if self.spans.len() < MAX_SPANS {
            self.spans.push(span);
        } else {
            self.omitted += 1;
        }
    }

    /// The same up to `end`, or with all from the start up to a place in one span.
    pub fn within(&self, start: Option<(u64, Cause)>, end: u64) -> Spans {
        let mut all = Spans {
            spans: Vec::new(),
            omitted: self.omitted,
        };
        let to = start.map_or(0, |(to, _)| to);
        if let Some((to, cause)) = start {
            let to = to.min(end);
            all.push(Span { from: 0, to, cause });
        }
        for span in &self.spans {
            all.push(Span {
                from: span.from.max(to),
                to: span.to.min(end),
                ..*span
            });
        }
        all
    }

    /// Takes `from..to` out of the spans: a late packet fills it. Gives the stretches that were free.
    pub fn take(&mut self, from: u64, to: u64) -> Vec<(i64, i64)> {
        let mut taken = Vec::new();
        let Some(at) = self
            .spans
            .iter()
            .position(|span| span.from < to && from < span.to)
        else {
            return taken;
        };
        let mut rest = Vec::new();
        while let Some(span) = self.spans.get(at).filter(|span| span.from < to).copied() {
            self.spans.remove(at);
            taken.push((from.max(span.from) as i64, to.min(span.to) as i64));
            rest.extend([
                Span {
                    to: from.min(span.to),
                    ..span
                },
                Span {
                    from: to.max(span.from),
                    ..span
                },
            ]);
        }
        rest.retain(|span| span.from < span.to);
        self.spans.splice(at..at, rest);
        taken
    }

    /// Gives memory back that no span needs.
    pub fn rest(&mut self) {
        self.spans.shrink_to_fit();
    }

    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    pub fn records(&self, side: Side) -> impl Iterator<Item = SegmentRecord> {
        self.spans
            .iter()
            .map(move |span| SegmentRecord::new(side, span.from, span.to, span.cause))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span {
            from,
            to,
            cause: Cause::Loss,
        }
    }

    #[test]
    fn a_late_packet_splits_a_gap() {
        let mut spans = Spans::default();
        spans.push(span(160, 640));
        spans.push(span(640, 800));
        assert_eq!(spans.take(320, 480), [(320, 480)]);
        assert_eq!(spans.spans, [span(160, 320), span(480, 800)]);
        assert_eq!(spans.take(0, 1000), [(160, 320), (480, 800)]);
        assert_eq!(spans.spans, []);
    }

    proptest! {
        #[test]
        fn what_is_filled_is_no_gap(
            gaps in proptest::collection::vec((1u64..50, 1u64..50), 0..20),
            fills in proptest::collection::vec((0u64..1000, 1u64..100), 0..20),
        ) {
            let (mut spans, mut missing, mut at) = (Spans::default(), vec![false; 2500], 0);
            for (skip, len) in gaps {
                spans.push(span(at + skip, at + skip + len));
                (at + skip..at + skip + len).for_each(|n| missing[n as usize] = true);
                at += skip + len;
            }
            for (from, len) in fills {
                spans.take(from, from + len);
                (from..from + len).for_each(|n| missing[n as usize] = false);
            }
            let mut listed = vec![false; 2500];
            for s in &spans.spans {
                (s.from..s.to).for_each(|n| listed[n as usize] = true);
            }
            prop_assert_eq!(missing, listed);
            prop_assert!(spans.spans.windows(2).all(|w| w[0].to <= w[1].from));
        }
    }
}
