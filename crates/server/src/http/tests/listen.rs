//! What a connection may take, and how the server ends.

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

/// Asks over a connection, and stays on it.
async fn assert_answers(stream: &mut TcpStream) {
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 1024];
    let read = timeout(DEADLINE, stream.read(&mut answer)).await.unwrap();
    assert!(read.unwrap() > 0, "the connection was closed");
}

#[tokio::test]
async fn a_header_that_never_ends_is_not_waited_for() {
    let listen = ListenLimits {
        header: Duration::from_millis(200),
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
async fn one_connection_too_many_is_told_so_and_the_others_live() {
    let listen = ListenLimits {
        connections: 2,
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
async fn a_shutdown_closes_idle_connections_and_waits_for_no_half_request() {
    let mut server = Server::start().await;
    let mut idle = server.connect(LOOPBACK).await;
    assert_answers(&mut idle).await;
    let mut half = server.connect(LOOPBACK).await;
    half.write_all(b"POST /api/incidents HTTP/1.1\r\nHost: localhost\r\n")
        .await
        .unwrap();
    server.cancel.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    let drain = ListenLimits::default().drain;
    timeout(drain / 2, &mut server.task)
        .await
        .expect("half a header was waited for")
        .unwrap();
    read_to_end(&mut half).await;
}
