//! A client that does not read, or only a little now and then, is not waited for without end.
//!
//! Why: its request holds a unit, a connection to the upstream and a place among the connections. What
//! counts is its pace ([`Pace`]): what it takes buys time, and not more than that.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::throttle::Pace;

/// A stream whose writes fail when too little could be written for a while.
pub(super) struct Patient<S> {
    inner: S,
    pace: Pace,
    /// A write waits since then, and its timer runs.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(super) fn new(inner: S, patience: Duration) -> Patient<S> {
        Patient { inner, pace: Pace::new(patience), waiting: None }
    }

    /// The result of a write, which wrote `bytes` if it wrote, or the end of patience.
    fn judge<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = &polled {
            if let Some((since, _)) = self.waiting.take() {
                self.pace.waited(now() - since);
            }
            let bytes = written.as_ref().map_or(0, bytes);
            self.pace.moved(u64::try_from(bytes).unwrap_or(u64::MAX));
            return polled;
        }
        let left = self.pace.left();
        let (_, timer) = self.waiting.get_or_insert_with(|| (now(), Box::pin(tokio::time::sleep(left))));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => {
                let what = "the client takes too little";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The time as timers have it.
fn now() -> Instant {
    tokio::time::sleep(Duration::ZERO).deadline()
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(polled, |length| *length, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(polled, |()| 0, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(polled, |()| 0, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(polled, |length| *length, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_takes_nothing_is_left_and_who_takes_is_served() {
        let (mut reader, writer) = tokio::io::duplex(16);
        let mut patient = Patient::new(writer, Duration::from_millis(50));
        let stalled = patient.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);

        let mut taken = [0; 16];
        reader.read_exact(&mut taken).await.unwrap();
        let (written, read) = tokio::join!(patient.write_all(&[8; 64]), async {
            let mut rest = [0; 64];
            reader.read_exact(&mut rest).await.map(|_| rest)
        });
        written.unwrap();
        assert_eq!(read.unwrap(), [8; 64]);
    }

    /// A byte now and then holds a request no longer than silence would.
    #[tokio::test]
    async fn who_drips_is_left_as_well() {
        let (mut reader, writer) = tokio::io::duplex(16);
        let patience = Duration::from_millis(300);
        let mut patient = Patient::new(writer, patience);
        let begun = now();
        let drip = async {
            let mut byte = [0; 1];
            loop {
                tokio::time::sleep(Duration::from_millis(30)).await;
                reader.read_exact(&mut byte).await.unwrap();
            }
        };
        let all = [7; 4096];
        let stalled = tokio::select! {
            stalled = patient.write_all(&all) => stalled.unwrap_err(),
            () = drip => unreachable!("it drips for ever"),
        };
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        let lasted = now() - begun;
        assert!(lasted >= patience, "{lasted:?}");
    }

    #[tokio::test]
    async fn who_is_slow_and_steady_is_served_to_the_end() {
        let (mut reader, writer) = tokio::io::duplex(512);
        let mut patient = Patient::new(writer, Duration::from_millis(500));
        let all = vec![7; 16 * 1024];
        let steady = async {
            let mut taken = [0; 512];
            for _ in 0..32 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                reader.read_exact(&mut taken).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(patient.write_all(&all), steady);
        written.unwrap();
    }
}
