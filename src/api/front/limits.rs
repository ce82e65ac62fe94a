//! What is too much, and what takes too long.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;
use hyper::body::{Frame, SizeHint};

use super::Front;
use super::counters::add;
use super::trouble::too_large;
use super::under_way::{Crowded, Room, sent_from};
use crate::api::caller::ClientAddress;
use crate::api::problem::Problem;

/// Lets a request in if there is a place for it, hands on no more of its body than is allowed, and answers in its stead when
/// the head of the answer takes too long. How long the body of an answer takes is not limited here: it may be a stream. How many
/// there are is.
pub(super) async fn in_bounds(
    State(front): State<Arc<Front>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = front.places.try_acquire() else {
        add(&front.counters.refused_requests);
        return overloaded().into_response();
    };
    let room = match room(&front, &request) {
        Ok(room) => room,
        Err(crowded) => {
            add(&front.counters.refused_requests);
            return match crowded {
                Crowded::All => overloaded().into_response(),
                Crowded::Client => too_many().into_response(),
            };
        }
    };
    let max = front.settings.max_body;
    if declared_length(&request).is_some_and(|length| length > max as u64) {
        add(&front.counters.too_large_requests);
        return and_close(too_large());
    }
    let whole = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let request = request.map(|body| {
        let body = Watched {
            body,
            whole: whole.clone(),
        };
        Body::new(Limited::new(body, max))
    });
    let answer = tokio::time::timeout(front.settings.patience, next.run(request)).await;
    let Ok(answer) = answer else {
        add(&front.counters.timed_out_requests);
        return match whole.load(Ordering::Relaxed) {
            true => late().into_response(),
            false => and_close(slow()),
        };
    };
    if answer.status() == StatusCode::PAYLOAD_TOO_LARGE {
        add(&front.counters.too_large_requests);
    }
    sent_from(room, answer)
}

/// Room for the answer; none is needed where it goes to no connection.
fn room(front: &Arc<Front>, request: &Request) -> Result<Option<Room>, Crowded> {
    let settings = &front.settings;
    let Some(ClientAddress(client)) = request.extensions().get() else {
        return Ok(None);
    };
    let trusted = &settings.trusted_proxies;
    // A proxy that does not say whom it asks for asks for many.
    let of_one = match trusted.iter().any(|network| network.holds(*client)) {
        true => settings.max_connections,
        false => settings.max_connections_per_address,
    };
    let most = (settings.max_connections, of_one);
    front.under_way.take(*client, most).map(Some)
}

fn declared_length(request: &Request) -> Option<u64> {
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn overloaded() -> Problem {
    let title = "Too many requests at the same time";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", title).retry_after(1)
}

fn too_many() -> Problem {
    let title = "You have too many answers on their way";
    let status = StatusCode::TOO_MANY_REQUESTS;
    Problem::new(status, "too_many_requests", title).retry_after(1)
}

fn late() -> Problem {
    let title = "The answer took too long";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", title).retry_after(10)
}

fn slow() -> Problem {
    let title = "The body took too long";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", title)
}

/// The rest of the body is not waited for.
fn and_close(problem: Problem) -> Response {
    let mut answer = problem.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A body that tells when all of it has come.
struct Watched {
    body: Body,
    whole: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None) = polled {
            self.whole.store(true, Ordering::Relaxed);
        }
        if self.body.is_end_stream() {
            self.whole.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
