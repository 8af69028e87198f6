//! Parses the server name in the first message of a TLS client (SNI). A provider serves many customers at one address, and
//! this name selects one, regardless of the name in the CONNECT request.

use tls_parser::{
    SNIType, TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_client_hello_extensions,
    parse_tls_message_handshake,
};

/// Size of a record's header: type, version and length.
const HEADER_BYTES: usize = 5;
/// Type of a handshake record.
const HANDSHAKE: u8 = 22;
/// Maximum size of a record in the protocol.
const RECORD_MAX_BYTES: usize = 1 << 14;

/// The result of parsing a client's first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hello {
    /// More bytes are needed.
    Incomplete,
    /// The server name in lower case; `None` if the message contains none.
    Name(Option<String>),
    /// It is not a first TLS message, or contains several names.
    Invalid,
}

/// Parses the name from the bytes received so far.
pub(super) fn read(bytes: &[u8]) -> Hello {
    let Some(message) = handshake(bytes) else {
        return Hello::Invalid;
    };
    // The length excludes the message's type and the length itself.
    let Some(&[_, a, b, c]) = message.first_chunk() else {
        return Hello::Incomplete;
    };
    let size = 4 + usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
    if size > RECORD_MAX_BYTES {
        return Hello::Invalid;
    }
    match message.get(..size) {
        Some(message) => name(message),
        None => Hello::Incomplete,
    }
}

/// The content of all handshake records received so far; `None` if there is a record of another type. A message may span
/// several records.
fn handshake(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    while let Some(&[kind, 3, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || length == 0 || length > RECORD_MAX_BYTES {
            return None;
        }
        let rest = &bytes[HEADER_BYTES..];
        let (record, next) = rest.split_at(length.min(rest.len()));
        message.extend_from_slice(record);
        bytes = next;
    }
    // The rest is the start of a header, or not TLS.
    (bytes.len() < HEADER_BYTES).then_some(message)
}

fn name(message: &[u8]) -> Hello {
    let Ok((_, TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)))) =
        parse_tls_message_handshake(message)
    else {
        return Hello::Invalid;
    };
    let extensions = hello.ext.map_or(Ok(vec![]), |extensions| {
        parse_tls_client_hello_extensions(extensions)
            .map(|(left, extensions)| if left.is_empty() { extensions } else { vec![] })
    });
    let Ok(extensions) = extensions else {
        return Hello::Invalid;
    };
    if hello.ext.is_some_and(|bytes| !bytes.is_empty()) && extensions.is_empty() {
        return Hello::Invalid;
    }
    let names: Vec<_> = extensions
        .iter()
        .filter_map(|extension| match extension {
            TlsExtension::SNI(names) => Some(names),
            _ => None,
        })
        .flatten()
        .collect();
    match names.as_slice() {
        [] => Hello::Name(None),
        [(SNIType::HostName, name)] => match std::str::from_utf8(name) {
            Ok(name) => Hello::Name(Some(name.to_ascii_lowercase())),
            Err(_) => Hello::Invalid,
        },
        _ => Hello::Invalid,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first message of a TLS client with these server names.
    pub(in crate::egress) fn hello(names: &[&str]) -> Vec<u8> {
        let mut list = vec![];
        for name in names {
            list.push(0);
            list.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            list.extend(name.bytes());
        }
        let mut sni = u16::try_from(list.len()).unwrap().to_be_bytes().to_vec();
        sni.extend(list);
        let mut extension = vec![0, 0];
        extension.extend(u16::try_from(sni.len()).unwrap().to_be_bytes());
        extension.extend(sni);
        let extensions = if names.is_empty() { vec![] } else { extension };
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 2, 0x13, 0x01, 1, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut message = vec![1, length[1], length[2], length[3]];
        message.extend(body);
        message
    }

    /// Splits a message into records of at most `size` bytes.
    pub(in crate::egress) fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let mut record = vec![HANDSHAKE, 3, 1];
            record.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            record.extend(part);
            record
        };
        message.chunks(size).flat_map(record).collect()
    }

    fn named(name: &str) -> Hello {
        Hello::Name(Some(name.to_owned()))
    }

    #[test]
    fn name_is_parsed_from_a_message_in_many_records() {
        let message = hello(&["API.example.com"]);
        for size in [1, 7, 4_000] {
            assert_eq!(read(&records(&message, size)), named("api.example.com"));
        }
        assert_eq!(read(&records(&hello(&[]), 4_000)), Hello::Name(None));
    }

    #[test]
    fn several_names_and_other_protocols_are_invalid() {
        assert_eq!(
            read(&records(&hello(&["a.b", "c.d"]), 4_000)),
            Hello::Invalid
        );
        for bytes in ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n"] {
            assert_eq!(read(bytes.as_bytes()), Hello::Invalid, "{bytes}");
        }
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 0, 0]), Hello::Invalid);
        assert_eq!(
            read(&[HANDSHAKE, 3, 1, 0, 4, 1, 0xFF, 0, 0]),
            Hello::Invalid
        );
    }

    proptest! {
        #[test]
        fn truncated_message_is_incomplete_and_never_a_name(cut in 0usize..200, size in 1usize..90) {
            let bytes = records(&hello(&["api.example.com"]), size);
            let cut = cut.min(bytes.len() - 1);
            prop_assert_eq!(read(&bytes[..cut]), Hello::Incomplete);
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read(&bytes);
            read(&records(&bytes, 64));
        }
    }
}
