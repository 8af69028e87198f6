//! The frames of the connection between server and runner.

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
use crate::plan::Plan;

/// Version of this protocol. The first frame contains it, so that a mismatch is reported.
pub(super) const VERSION: u32 = 2;
/// Maximum length of a frame without its length field.
const FRAME_MAX_BYTES: usize = 256 * 1024;
/// Maximum length of a stream's piece in one frame.
pub(super) const CHUNK_MAX_BYTES: usize = 64 * 1024;

/// How to start a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StartOrder {
    pub(super) version: u32,
    /// None to print the version and exit.
    pub(super) plan: Option<Plan>,
    /// The agent's instructions with the names of its machines.
    pub(super) instructions: String,
    pub(super) ssh_config: String,
    pub(super) known_hosts: String,
    pub(super) max_api_retries: u32,
}

/// From the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Start(Box<StartOrder>),
    /// Bytes for standard input.
    Input(Bytes),
    /// Close standard input, wait this long for the process to exit, and kill whatever is left.
    End(Duration),
    Kill,
    /// Kill every running process that the process started, but not itself.
    Sweep,
}

/// From the runner.
#[derive(Debug)]
pub(super) enum Report {
    /// The process runs; whether it has a login of the model's API.
    Started(bool),
    /// It was not started; a sentence.
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
struct ExitReport {
    /// As `wait` returns it.
    status: Option<i32>,
    last_words: String,
}

/// A kind of frame that can be written and read.
pub(super) trait Frame: Sized {
    /// The byte of its kind, and its payload.
    fn parts(&self) -> io::Result<(u8, Bytes)>;
    fn from_parts(kind: u8, payload: Bytes) -> io::Result<Self>;
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

    fn from_parts(kind: u8, mut payload: Bytes) -> io::Result<Order> {
        match kind {
            b'S' => Ok(Order::Start(serde_json::from_slice(&payload)?)),
            b'I' => Ok(Order::Input(payload)),
            b'E' => Ok(Order::End(Duration::from_millis(
                payload.try_get_u32().map_err(io::Error::other)?.into(),
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
                let end = ExitReport {
                    status: exit.status.map(ExitStatus::into_raw),
                    last_words: exit.last_words.clone(),
                };
                (b'e', serde_json::to_vec(&end)?.into())
            }
        })
    }

    fn from_parts(kind: u8, payload: Bytes) -> io::Result<Report> {
        Ok(match kind {
            b's' => Report::Started(payload.first() == Some(&1)),
            b'r' => Report::Refused(String::from_utf8_lossy(&payload).into_owned()),
            b'o' => Report::Output(payload),
            b'f' => Report::Eof,
            b'w' => Report::Swept,
            b'e' => {
                let end: ExitReport = serde_json::from_slice(&payload)?;
                Report::Ended(Exit {
                    status: end.status.map(ExitStatus::from_raw),
                    last_words: end.last_words,
                    unknown_because: None,
                })
            }
            _ => return Err(unknown(kind)),
        })
    }
}

fn unknown(kind: u8) -> io::Error {
    io::Error::other(format!("a frame of the unknown kind {kind:#04x}"))
}

/// Encodes a frame with its length field.
///
/// # Errors
/// If it is too long.
pub(super) fn encode(frame: &impl Frame) -> io::Result<Bytes> {
    let (kind, payload) = frame.parts()?;
    let length = payload.len() + 1;
    if length > FRAME_MAX_BYTES {
        return Err(io::Error::other(format!(
            "a frame of {length} bytes is longer than {FRAME_MAX_BYTES}"
        )));
    }
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&payload);
    Ok(bytes.into())
}

/// Reads frames of bounded length.
pub(super) struct Frames<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(input: R) -> Frames<R> {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(FRAME_MAX_BYTES)
            .new_codec();
        Frames(FramedRead::new(input, codec))
    }

    /// The next frame; none at the end. Cancel-safe.
    ///
    /// # Errors
    /// The connection's error, or an invalid frame.
    pub(super) async fn next<F: Frame>(&mut self) -> io::Result<Option<F>> {
        let Some(frame) = self.0.next().await else {
            return Ok(None);
        };
        let mut frame: BytesMut = frame?;
        let kind = frame.try_get_u8().map_err(io::Error::other)?;
        F::from_parts(kind, frame.freeze()).map(Some)
    }
}
