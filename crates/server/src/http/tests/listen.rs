//! Limits on connections, and the shutdown of the listener.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::{DEADLINE, Server};
use crate::http::ListenLimits;
use breakglass_config::LimitsConfig;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request over the connection, reads the response, and keeps the connection open.
async fn assert_answers(stream: &mut TcpStream) {
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 1024];
    let read = timeout(DEADLINE, stream.read(&mut answer)).await.unwrap();
    assert!(read.unwrap() > 0, "the connection was closed");
}

#[tokio::test]
async fn incomplete_header_times_out() {
    let listen = ListenLimits {
        header_timeout: Duration::from_millis(200),
        ..ListenLimits::default()
    };
    let server = Server::with(listen, LimitsConfig::default()).await;
    let mut stream = server.connect(LOOPBACK).await;
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: loc")
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
}

#[tokio::test]
async fn connection_above_the_limit_gets_a_503_and_others_continue() {
    let listen = ListenLimits {
        max_connections: 2,
        ..ListenLimits::default()
    };
    let server = Server::with(listen, LimitsConfig::default()).await;
    let mut kept = server.connect(LOOPBACK).await;
    assert_answers(&mut kept).await;
    let mut second = server.connect(LOOPBACK).await;
    assert_answers(&mut second).await;
    let mut third = server.connect(LOOPBACK).await;
    assert!(read_to_end(&mut third).await.starts_with("HTTP/1.1 503"));
    assert_answers(&mut kept).await;
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_incomplete_requests() {
    let mut server = Server::start().await;
    let mut idle = server.connect(LOOPBACK).await;
    assert_answers(&mut idle).await;
    let mut half = server.connect(LOOPBACK).await;
    half.write_all(b"POST /api/incidents HTTP/1.1\r\nHost: localhost\r\n")
        .await
        .unwrap();
    server.cancel.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    let drain = ListenLimits::default().drain_timeout;
    timeout(drain / 2, &mut server.task)
        .await
        .expect("the shutdown waited for an incomplete header")
        .unwrap();
    read_to_end(&mut half).await;
}
