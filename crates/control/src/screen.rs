//! The guest's screen, as the host's gate hands it out: bytes, not lines.

use std::time::Duration;

use breakglass_model::OutputStream;
use breakglass_verbs::{Request, Verb};

use crate::control::Station;
use crate::ssh::SshError;
use crate::ssh::exec::{Exit, Order};
use crate::ssh::pool::Urgency;
use crate::text::Lines;

/// Largest picture that is taken: the gate makes none that is larger.
const LARGEST: usize = 4 << 20;
/// What every PNG begins with.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// No such target is configured.
    #[error("there is no target {0:?}")]
    UnknownTarget(String),
    /// The host was not reached.
    #[error(transparent)]
    Unreachable(#[from] SshError),
    /// The gate has none, in its own words, such as that the guest is off.
    #[error("the gate gave no picture: {0}")]
    Refused(String),
    /// What came is not a PNG of at most 4 MiB.
    #[error(
        "what the gate sent as the screen is not a picture of at most 4 MiB; check that breakglass-gate is the forced command of this key"
    )]
    NotOne,
}

/// Asks the gate of `station` for the screen; gives up after `deadline`.
pub(crate) async fn fetch(
    station: &Station,
    deadline: Duration,
    urgency: Urgency,
) -> Result<Vec<u8>, NoPicture> {
    let verb = Verb::Screenshot;
    let command = Request { verb, json: false }.to_string();
    let order = Order {
        command: &command,
        deadline,
        urgency,
    };
    let (mut picture, mut said, mut last) = (Vec::new(), Lines::default(), String::new());
    let mut take = |stream, bytes: &[u8]| match stream {
        // One byte too many tells that it is too large.
        OutputStream::Stdout => {
            let room = (LARGEST + 1 - picture.len()).min(bytes.len());
            picture.extend_from_slice(&bytes[..room]);
        }
        OutputStream::Stderr => said.push(bytes, &mut |line| line.clone_into(&mut last)),
    };
    let exit = station.host.exec_raw(order, &mut take).await?;
    match exit {
        Exit::Code(0) if picture.len() <= LARGEST && picture.starts_with(SIGNATURE) => Ok(picture),
        Exit::Code(0) => Err(NoPicture::NotOne),
        Exit::Code(_) | Exit::Abnormal if last.is_empty() => {
            Err(NoPicture::Refused("it said nothing".to_owned()))
        }
        Exit::Code(_) | Exit::Abnormal => {
            let why = last.strip_prefix("no picture: ").unwrap_or(&last);
            Err(NoPicture::Refused(why.to_owned()))
        }
    }
}
