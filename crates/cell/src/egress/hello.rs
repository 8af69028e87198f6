//! The server's name in the first message of a TLS client. Behind one address a provider has many
//! customers: the name in the message decides which of them is spoken to, whatever name was connected to.

use tls_parser::{
    SNIType, TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_client_hello_extensions,
    parse_tls_message_handshake,
};

/// A record's header: its kind, a version, and a length.
const HEADER_BYTES: usize = 5;
/// The kind of a record that holds a handshake.
const HANDSHAKE: u8 = 22;
/// The longest record that the protocol knows, in bytes.
const RECORD_MAX_BYTES: usize = 1 << 14;

/// What the first bytes of a client say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hello {
    /// More bytes are needed.
    Incomplete,
    /// The one name that it asks for, in lower case; none where it asks for none.
    Name(Option<String>),
    /// It is no such message, or asks for several names.
    Nonsense,
}

/// Reads the name from all that a client has sent so far.
pub(super) fn read(bytes: &[u8]) -> Hello {
    let Some(message) = handshake(bytes) else {
        return Hello::Nonsense;
    };
    // The length of the message without its kind and the length itself.
    let Some(&[_, a, b, c]) = message.first_chunk() else {
        return Hello::Incomplete;
    };
    let wanted = 4 + usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
    if wanted > RECORD_MAX_BYTES {
        return Hello::Nonsense;
    }
    match message.get(..wanted) {
        Some(message) => name(message),
        None => Hello::Incomplete,
    }
}

/// What the records hold, as far as they are there; none where one is no handshake. A message may
/// stand in several of them.
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
    // What is left is the beginning of a header, or no header of this protocol.
    (bytes.len() < HEADER_BYTES).then_some(message)
}

fn name(message: &[u8]) -> Hello {
    let Ok((_, TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)))) =
        parse_tls_message_handshake(message)
    else {
        return Hello::Nonsense;
    };
    let extensions = hello.ext.map_or(Ok(vec![]), |extensions| {
        parse_tls_client_hello_extensions(extensions)
            .map(|(left, extensions)| if left.is_empty() { extensions } else { vec![] })
    });
    let Ok(extensions) = extensions else {
        return Hello::Nonsense;
    };
    if hello.ext.is_some_and(|bytes| !bytes.is_empty()) && extensions.is_empty() {
        return Hello::Nonsense;
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
            Err(_) => Hello::Nonsense,
        },
        _ => Hello::Nonsense,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first message of a client that asks for these names.
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

    /// In records of at most `size` bytes.
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
    fn the_name_is_read_also_from_a_message_in_many_records() {
        let message = hello(&["API.example.com"]);
        for size in [1, 7, 4_000] {
            assert_eq!(read(&records(&message, size)), named("api.example.com"));
        }
        assert_eq!(read(&records(&hello(&[]), 4_000)), Hello::Name(None));
    }

    #[test]
    fn several_names_and_what_is_no_client_are_refused() {
        assert_eq!(
            read(&records(&hello(&["a.b", "c.d"]), 4_000)),
            Hello::Nonsense
        );
        for bytes in ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n"] {
            assert_eq!(read(bytes.as_bytes()), Hello::Nonsense, "{bytes}");
        }
        assert_eq!(read(&[HANDSHAKE, 3, 1, 0, 0, 0]), Hello::Nonsense);
        assert_eq!(
            read(&[HANDSHAKE, 3, 1, 0, 4, 1, 0xFF, 0, 0]),
            Hello::Nonsense
        );
    }

    proptest! {
        #[test]
        fn a_beginning_is_incomplete_and_never_a_name(cut in 0usize..200, size in 1usize..90) {
            let bytes = records(&hello(&["api.example.com"]), size);
            let cut = cut.min(bytes.len() - 1);
            prop_assert_eq!(read(&bytes[..cut]), Hello::Incomplete);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read(&bytes);
            read(&records(&bytes, 64));
        }
    }
}
