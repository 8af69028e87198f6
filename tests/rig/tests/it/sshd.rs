//! The rig's sshd reports why it closed a connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use breakglass_rig::sshd::Sshd;

#[test]
fn what_closed_a_connection_is_in_the_last_words_of_the_server() {
    let mut sshd = Sshd::with_authorized_keys("");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, sshd.port)).unwrap();
    let patience = Some(Duration::from_secs(60));
    client.set_read_timeout(patience).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // Until the server has closed it, by a shutdown or a reset.
    let _ = client.read_to_end(&mut Vec::new());
    let words = sshd.last_words();
    assert!(words.contains(" is there, load "), "{words}");
    assert!(words.contains("banner exchange"), "{words}");
    sshd.kill();
    assert!(sshd.last_words().contains(" has ended, load "));
}
