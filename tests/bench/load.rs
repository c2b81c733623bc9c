//! A light client: keep-alive connections that ask the same thing again and again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 16;
const SPAN: Duration = Duration::from_secs(5);

/// Answers a second, each a 402, over all connections.
pub(crate) async fn challenges_per_second(gateway: SocketAddr) -> Result<f64> {
    let mut clients = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        clients.spawn(one(gateway, begun + SPAN));
    }
    let mut answers = 0_u32;
    while let Some(done) = clients.join_next().await {
        answers += done??;
    }
    Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
}

async fn one(gateway: SocketAddr, until: Instant) -> Result<u32> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET /v1/exchange-rates HTTP/1.1\r\nHost: {gateway}\r\n\r\n");
    let (mut answers, mut buffer) = (0, Vec::with_capacity(8_192));
    while Instant::now() < until {
        stream.write_all(request.as_bytes()).await?;
        read_one(&mut stream, &mut buffer).await?;
        answers += 1;
    }
    Ok(answers)
}

/// Reads one answer to its end; it must be a 402 with a challenge.
async fn read_one(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    let head = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(stream.read_buf(buffer).await? > 0, "the gateway closed the connection");
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    if !text.starts_with("HTTP/1.1 402 ") {
        bail!("not a 402: {text}");
    }
    ensure!(text.contains("www-authenticate: L402 "), "no challenge: {text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
    let whole = head + length.trim().parse::<usize>()?;
    while buffer.len() < whole {
        ensure!(stream.read_buf(buffer).await? > 0, "the answer broke off");
    }
    Ok(())
}
