//! What goes over the connection.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::child::Exit;
use crate::start::Plan;

/// The form of everything here; told first, so that two that don't fit say so.
pub(super) const VERSION: u32 = 2;
/// The longest frame, without its length.
const MAX_FRAME: usize = 256 * 1024;
/// How much of a stream goes into one frame.
pub(super) const CHUNK: usize = 64 * 1024;

/// What a process is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) version: u32,
    /// None to say the version and end.
    pub(super) plan: Option<Plan>,
    /// The agent's instructions, with the names of its machines in them.
    pub(super) instructions: String,
    pub(super) ssh_config: String,
    pub(super) known_hosts: String,
    pub(super) max_api_retries: u32,
}

/// From the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Start(Box<Start>),
    /// Bytes for standard input.
    Input(Bytes),
    /// Close standard input, give it this long, and see to it that nothing is left.
    End(Duration),
    Kill,
    /// Kill what the process has started and that still runs, but not itself.
    Sweep,
}

/// From the runner.
#[derive(Debug)]
pub(super) enum Report {
    /// It runs; whether it has a login of the model's API.
    Started(bool),
    /// It does not; a sentence.
    Refused(String),
    /// Bytes of standard output.
    Output(Bytes),
    /// The end of standard output.
    Eof,
    /// The answer to [`Order::Sweep`].
    Swept,
    Ended(Exit),
}

#[derive(Serialize, Deserialize)]
struct End {
    /// As `wait` tells it.
    status: Option<i32>,
    last_words: String,
}

/// A kind of frame that can be written and read.
pub(super) trait Frame: Sized {
    /// The byte that tells the kind, and the rest.
    fn parts(&self) -> io::Result<(u8, Bytes)>;
    /// The opposite.
    fn from_parts(kind: u8, rest: Bytes) -> io::Result<Self>;
}

impl Frame for Order {
    fn parts(&self) -> io::Result<(u8, Bytes)> {
        Ok(match self {
            Order::Start(start) => (b'S', serde_json::to_vec(start)?.into()),
            Order::Input(bytes) => (b'I', bytes.clone()),
            Order::End(grace) => {
                let millis = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
                (b'E', Bytes::copy_from_slice(&millis.to_be_bytes()))
            }
            Order::Kill => (b'K', Bytes::new()),
            Order::Sweep => (b'W', Bytes::new()),
        })
    }

    fn from_parts(kind: u8, mut rest: Bytes) -> io::Result<Order> {
        match kind {
            b'S' => Ok(Order::Start(serde_json::from_slice(&rest)?)),
            b'I' => Ok(Order::Input(rest)),
            b'E' => Ok(Order::End(Duration::from_millis(
                rest.try_get_u32().map_err(io::Error::other)?.into(),
            ))),
            b'K' => Ok(Order::Kill),
            b'W' => Ok(Order::Sweep),
            _ => Err(unknown(kind)),
        }
    }
}

impl Frame for Report {
    fn parts(&self) -> io::Result<(u8, Bytes)> {
        Ok(match self {
            Report::Started(signed_in) => (b's', Bytes::copy_from_slice(&[u8::from(*signed_in)])),
            Report::Refused(why) => (b'r', Bytes::copy_from_slice(why.as_bytes())),
            Report::Output(bytes) => (b'o', bytes.clone()),
            Report::Eof => (b'f', Bytes::new()),
            Report::Swept => (b'w', Bytes::new()),
            Report::Ended(exit) => {
                let end = End {
                    status: exit.status.map(ExitStatus::into_raw),
                    last_words: exit.last_words.clone(),
                };
                (b'e', serde_json::to_vec(&end)?.into())
            }
        })
    }

    fn from_parts(kind: u8, rest: Bytes) -> io::Result<Report> {
        Ok(match kind {
            b's' => Report::Started(rest.first() == Some(&1)),
            b'r' => Report::Refused(String::from_utf8_lossy(&rest).into_owned()),
            b'o' => Report::Output(rest),
            b'f' => Report::Eof,
            b'w' => Report::Swept,
            b'e' => {
                let end: End = serde_json::from_slice(&rest)?;
                Report::Ended(Exit {
                    status: end.status.map(ExitStatus::from_raw),
                    last_words: end.last_words,
                    lost: None,
                })
            }
            _ => return Err(unknown(kind)),
        })
    }
}

fn unknown(kind: u8) -> io::Error {
    io::Error::other(format!("a frame of the unknown kind {kind:#04x}"))
}

/// The bytes of a frame.
///
/// # Errors
/// If it is too long.
pub(super) fn encode(frame: &impl Frame) -> io::Result<Bytes> {
    let (kind, rest) = frame.parts()?;
    let length = rest.len() + 1;
    if length > MAX_FRAME {
        return Err(io::Error::other(format!(
            "a frame of {length} bytes is longer than {MAX_FRAME}"
        )));
    }
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&rest);
    Ok(bytes.into())
}

/// Reads frames of bounded length.
pub(super) struct Frames<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(input: R) -> Frames<R> {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(MAX_FRAME)
            .new_codec();
        Frames(FramedRead::new(input, codec))
    }

    /// The next frame; none at the end. Cancel-safe.
    ///
    /// # Errors
    /// What the connection says, and what is no frame of this kind.
    pub(super) async fn next<F: Frame>(&mut self) -> io::Result<Option<F>> {
        let Some(frame) = self.0.next().await else {
            return Ok(None);
        };
        let mut frame: BytesMut = frame?;
        let kind = frame.try_get_u8().map_err(io::Error::other)?;
        F::from_parts(kind, frame.freeze()).map(Some)
    }
}
