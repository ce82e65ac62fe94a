//! A connection on which something has to move.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::counters::{Counters, add};

/// Before so many bytes have come it is not known which HTTP it is, and what waits for a request's head does not watch yet.
const FIRST: u64 = 24;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the first bytes together.
    pub first: Duration,
    /// Without a byte that comes or goes: longer than events are apart that keep streams alive.
    pub quiet: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            first: Duration::from_secs(15),
            quiet: Duration::from_secs(75),
        }
    }
}

/// A connection that fails when nothing moves on it for too long: nobody holds a place by saying nothing, or by not reading.
pub(super) struct Moving<T> {
    inner: T,
    patience: Patience,
    begun: Instant,
    moved: Instant,
    read: u64,
    alarm: Pin<Box<Sleep>>,
    counters: Arc<Counters>,
}

impl<T> Moving<T> {
    pub fn new(inner: T, patience: Patience, counters: Arc<Counters>) -> Moving<T> {
        let begun = Instant::now();
        Moving {
            inner,
            patience,
            begun,
            moved: begun,
            read: 0,
            alarm: Box::pin(sleep_until(begun + patience.first)),
            counters,
        }
    }

    fn due(&self) -> Instant {
        match self.read < FIRST {
            true => self.begun + self.patience.first,
            false => self.moved + self.patience.quiet,
        }
    }

    /// Pending, or the error of who waited for too long. The alarm is set anew only when it goes off: to move costs nothing.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let due = self.due();
            if due <= Instant::now() {
                add(&self.counters.stalled_connections);
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.alarm.as_mut().reset(due);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Moving<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(context, buffer) {
            Poll::Ready(done) => {
                self.read += (buffer.filled().len() - before) as u64;
                self.moved = Instant::now();
                Poll::Ready(done)
            }
            Poll::Pending => self.wait(context).map(Err),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Moving<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(context, bytes) {
            Poll::Ready(done) => {
                self.moved = Instant::now();
                Poll::Ready(done)
            }
            Poll::Pending => self.wait(context).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => self.wait(context).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_shutdown(context) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => self.wait(context).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SHORT: Patience = Patience {
        first: Duration::from_millis(60),
        quiet: Duration::from_millis(200),
    };

    fn moving(capacity: usize) -> (Moving<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = duplex(capacity);
        (Moving::new(ours, SHORT, Arc::default()), theirs)
    }

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for() {
        let (mut connection, mut theirs) = moving(64);
        let begin = Instant::now();
        // A byte now and then does not help: it takes 24 until it is known what is spoken.
        let drips = tokio::spawn(async move {
            while theirs.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let error = connection.read_exact(&mut [0; 24]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() >= SHORT.first);
        drips.abort();
    }

    #[tokio::test]
    async fn who_does_not_read_is_not_waited_for() {
        let (mut connection, mut theirs) = moving(64);
        theirs.write_all(&[b'x'; 24]).await.unwrap();
        connection.read_exact(&mut [0; 24]).await.unwrap();
        let begin = Instant::now();
        let error = connection.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() >= SHORT.quiet);
        let counted = &connection.counters.stalled_connections;
        assert_eq!(counted.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_stream_that_moves_now_and_then_goes_on() {
        let (mut connection, mut theirs) = moving(64);
        theirs.write_all(&[b'x'; 24]).await.unwrap();
        connection.read_exact(&mut [0; 24]).await.unwrap();
        for _ in 0..10 {
            tokio::time::sleep(SHORT.quiet / 4).await;
            connection.write_all(b"data").await.unwrap();
            theirs.read_exact(&mut [0; 4]).await.unwrap();
        }
        assert_eq!(
            connection.read_u8().await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }
}
