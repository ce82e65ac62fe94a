//! Answers that are being sent.
//!
//! A request's place is free again when the head of its answer is there; but who does not read keeps the answer, and what it is
//! compressed with, for as long as its connection lives. So answers are counted until their last byte is handed on: as many as
//! there may be connections, and of one client as many as one client may have. HTTP/2 gets no more at a time than HTTP/1.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::server::household;

/// Answers that are being sent, by whom they are for.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// Room for one answer; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    under_way: Arc<UnderWay>,
    of: IpAddr,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowded {
    All,
    Client,
}

impl UnderWay {
    /// `most`: in all, and of one client.
    pub fn take(
        self: &Arc<UnderWay>,
        client: IpAddr,
        most: (usize, usize),
    ) -> Result<Room, Crowded> {
        let of = household(client);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.of.get(&of).is_some_and(|own| *own >= most.1) {
            return Err(Crowded::Client);
        }
        if table.all >= most.0 {
            return Err(Crowded::All);
        }
        table.all += 1;
        *table.of.entry(of).or_default() += 1;
        drop(table);
        let under_way = self.clone();
        Ok(Room { under_way, of })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let table = &self.under_way.0;
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.all = table.all.saturating_sub(1);
        match table.of.get_mut(&self.of) {
            Some(own) if *own > 1 => *own -= 1,
            _ => _ = table.of.remove(&self.of),
        }
    }
}

/// The answer, in its room until all of it is handed on.
pub(super) fn sent_from(room: Option<Room>, answer: Response) -> Response {
    answer.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Sent { body, _room: room })
    })
}

struct Sent {
    body: Body,
    _room: Option<Room>,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_client_has_no_more_than_its_share_and_all_no_more_than_there_is() {
        let under_way = Arc::<UnderWay>::default();
        let take = |client: &str| under_way.take(ip(client), (3, 2));
        let first = take("2001:db8::1").unwrap();
        // The same /64 is the same client.
        let _second = take("2001:db8::2").unwrap();
        assert_eq!(take("2001:db8::3").unwrap_err(), Crowded::Client);
        let _third = take("192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.2").unwrap_err(), Crowded::All);
        drop(first);
        let _fourth = take("192.0.2.2").unwrap();
        assert_eq!(take("192.0.2.3").unwrap_err(), Crowded::All);
    }

    #[tokio::test]
    async fn an_answer_keeps_its_room_until_it_is_read() {
        let under_way = Arc::<UnderWay>::default();
        let taken = || under_way.0.lock().unwrap().all;
        for body in ["some text", ""] {
            let room = under_way.take(ip("192.0.2.1"), (1, 1)).unwrap();
            let answer = sent_from(Some(room), Response::new(Body::from(body)));
            assert_eq!(taken(), usize::from(!body.is_empty()));
            let exact = answer.body().size_hint().exact();
            assert_eq!(exact, Some(body.len() as u64), "its length is still known");
            let read = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
            assert_eq!(read, body);
            assert_eq!(taken(), 0);
        }
    }
}
