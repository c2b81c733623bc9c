//! Which HTTP a client begins with: an HTTP/2 connection says so in its first bytes (RFC 9113 §3.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1.
    One,
    /// HTTP/2.
    Two,
}

/// Reads as little of `stream` as tells what it is, and gives it back whole. `None` when nothing came.
pub(super) async fn listen<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<Option<(Spoken, Rewound<S>)>> {
    let mut front = BytesMut::with_capacity(PREFACE.len());
    while front.len() < PREFACE.len() && PREFACE.starts_with(&front) {
        let room = PREFACE.len() - front.len();
        if (&mut stream).take(u64::try_from(room).unwrap_or(0)).read_buf(&mut front).await? == 0 {
            if front.is_empty() {
                return Ok(None);
            }
            break;
        }
    }
    let spoken = if front[..] == *PREFACE { Spoken::Two } else { Spoken::One };
    Ok(Some((spoken, Rewound { front, inner: stream })))
}

/// A stream with what was read of it put back.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    front: BytesMut,
    inner: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.front.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let length = self.front.len().min(buffer.remaining());
        buffer.put_slice(&self.front[..length]);
        self.front.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn heard(parts: &[&[u8]]) -> Option<(Spoken, Vec<u8>)> {
        let (mut client, server) = tokio::io::duplex(3);
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let talk = async move {
            for part in parts {
                client.write_all(&part).await.unwrap();
            }
        };
        let hear = async {
            let (spoken, mut stream) = listen(server).await.unwrap()?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            Some((spoken, all))
        };
        tokio::join!(talk, hear).1
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http_2_and_nothing_is_lost() {
        let two = [PREFACE, b"frames"].concat();
        assert_eq!(heard(&[&two]).await, Some((Spoken::Two, two.clone())));
        assert_eq!(heard(&[&two[..5], &two[5..20], &two[20..]]).await, Some((Spoken::Two, two)));
        for text in
            ["GET / HTTP/1.1\r\n\r\n", "P", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"]
        {
            assert_eq!(heard(&[text.as_bytes()]).await, Some((Spoken::One, text.into())), "{text}");
        }
        assert_eq!(heard(&[]).await, None);
    }
}
