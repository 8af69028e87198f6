//! HTTP over a plain socket: the client must cost less than what it measures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Sends a GET and gives the socket, positioned at the answer's first byte.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the server listens");
    socket.set_nodelay(true).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n"
    )
    .unwrap();
    socket
}

/// Reads until `end` has been seen in the stream; gives the bytes read.
pub(crate) fn read_until(socket: &mut TcpStream, end: &[u8]) -> usize {
    let mut buffer = vec![0; 1 << 18];
    let mut tail: Vec<u8> = Vec::new();
    let mut total = 0;
    loop {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended early, after {total} bytes");
        total += count;
        // `end` can only be in the last bytes.
        let from = count.saturating_sub(512);
        tail.extend_from_slice(&buffer[from..count]);
        if tail.windows(end.len()).any(|window| window == end) {
            return total;
        }
        let keep = tail.len().saturating_sub(end.len());
        tail.drain(..keep);
    }
}

/// Reads exactly `length` bytes.
pub(crate) fn read_exact(socket: &mut TcpStream, length: usize) {
    let mut buffer = vec![0; 1 << 18];
    let mut left = length;
    while left > 0 {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended {left} bytes early");
        left = left.saturating_sub(count);
    }
}
