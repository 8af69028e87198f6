//! Relays one request to the guest and its output back, as if the client were connected directly.
//!
//! ```text
//!   client ── to_guest: data, end, window size, signal ──▶ guest     each direction waits for its reader,
//!          ◀── to_client: output, exit status ────────────           by way of the SSH windows
//! ```
//! Everything is captured before it is passed on. The relay ends when the guest ends it, or the client
//! disconnects, or its token is cancelled or the log fails; in the last two cases the processes on the guest are
//! ended, too.

use std::pin::pin;
use std::time::Duration;

use breakglass_control::ssh::channel::STDERR;
use breakglass_control::ssh::{MarkSupport, OpenSession, SshError, Upstream};
use breakglass_model::CommandStream;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::timeout;

use crate::channel_request::ChannelRequest;
use crate::cleanup;
use crate::client_channel::{ClientChannel, FAILED, signal_name};
use crate::execution::{EarlySession, EffectSender, Execution};
use crate::recorder::{Ended, Recorder};

/// Timeout for the guest's answer to a request on a new session.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of the output waits for the exit status: OpenSSH's ControlMaster forgets the status if
/// the end arrives alone.
const EXIT_STATUS_TIMEOUT: Duration = Duration::from_millis(250);
/// Timeout for sending a signal or closing a channel.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a relay ended.
enum RelayEnd {
    Exited(Ended),
    ClientClosed,
    Cancelled,
    Unrecorded,
}

pub(crate) async fn run(
    execution: &Execution<'_>,
    client: &mut ChannelReadHalf,
    early_session: EarlySession,
    effect: EffectSender,
) -> Ended {
    let opening = async {
        match early_session {
            Some(opened) => opened,
            None => open(execution).await,
        }
    };
    let opening = tokio::select! {
        biased;
        opened = opening => opened,
        () = execution.admitted.token.cancelled() => return Ended::because(FAILED, cancelled(execution)),
        () = execution.client.closed.cancelled() => return Ended::because(FAILED, "the agent no longer waits for it"),
    };
    let session = match opening {
        Ok(session) => session,
        Err(error) => return Ended::because(FAILED, error.to_string()),
    };
    let (mut reading, writing) = session.channel.split();
    if let Err(why) = start(execution, &mut reading, &writing).await {
        let _ = timeout(SEND_TIMEOUT, writing.close()).await;
        return Ended::because(FAILED, why);
    }
    if let Some(effect) = effect {
        let _decider_is_gone = effect.send(());
    }
    let end = relay(execution, client, &mut reading, &writing).await;
    let ended = match end {
        RelayEnd::Exited(ended) => ended,
        RelayEnd::ClientClosed => {
            execution.session.detach(execution.admitted.command);
            let message = format!(
                "the agent's client disconnected; its processes may still be running on {}",
                execution.session.target.config().name
            );
            Ended::because(FAILED, message)
        }
        RelayEnd::Cancelled => cut(execution, &writing, &cancelled(execution)).await,
        RelayEnd::Unrecorded => {
            cut(execution, &writing, "the log does not accept its output").await
        }
    };
    let _ = timeout(SEND_TIMEOUT, writing.close()).await;
    ended
}

/// Opens a session on the guest; reports a wait to the client.
async fn open(execution: &Execution<'_>) -> Result<OpenSession, SshError> {
    let upstream = &execution.session.target.guest();
    match upstream.open_at_once().await {
        Ok(opened) => opened,
        Err(granted) => {
            let machine = &execution.session.target.config().name;
            let why =
                format!("the sshd of {machine} allows {granted}: waiting for a command to end");
            execution.client.message(&why).await;
            upstream.open().await
        }
    }
}

fn cancelled(execution: &Execution<'_>) -> String {
    if execution.session.is_cut_off() {
        "the operator cut the agent off".to_owned()
    } else {
        "its turn was ended".to_owned()
    }
}

/// Prepares the session as the client prepared its own, and sends the request.
async fn start(
    execution: &Execution<'_>,
    reading: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
) -> Result<(), String> {
    let upstream = &execution.session.target.guest();
    let endpoint = &upstream.endpoint;
    let lost = |_| format!("the connection to {endpoint} broke before the command was sent");
    if let Some(terminal) = execution.terminal {
        let (width, height) = terminal.pixels;
        let (columns, rows) = (terminal.columns, terminal.rows);
        let asked = writing.request_pty(
            false,
            &terminal.term,
            columns,
            rows,
            width,
            height,
            &terminal.modes,
        );
        asked.await.map_err(lost)?;
    }
    for (name, value) in execution.variables.iter() {
        let set = writing.set_env(false, name.as_str(), value.as_str());
        set.await.map_err(lost)?;
    }
    let mark = cleanup::mark(execution.admitted.command);
    let marked = set_mark(upstream, reading, writing, &mark).await?;
    match execution.request {
        ChannelRequest::Exec(command) => {
            let command = if marked {
                command.clone()
            } else {
                let mut with_mark = format!("export {}={mark}\n", cleanup::VARIABLE).into_bytes();
                with_mark.extend_from_slice(command);
                with_mark
            };
            writing.exec(true, command).await.map_err(lost)
        }
        ChannelRequest::Shell => writing.request_shell(true).await.map_err(lost),
        ChannelRequest::Subsystem(name) => writing
            .request_subsystem(true, name.as_str())
            .await
            .map_err(lost),
    }
}

/// Sets the mark of the session. Whether the guest's sshd accepts it is tried once.
async fn set_mark(
    upstream: &Upstream,
    reading: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
    mark: &str,
) -> Result<bool, String> {
    let ask = match upstream.mark_support() {
        MarkSupport::Refused => return Ok(false),
        MarkSupport::Accepted => false,
        MarkSupport::Unknown => true,
    };
    let lost = || {
        format!(
            "{} does not answer on a new session; run status, then try again",
            upstream.endpoint
        )
    };
    let set = writing.set_env(ask, cleanup::VARIABLE, mark);
    set.await.map_err(|_| lost())?;
    if !ask {
        return Ok(true);
    }
    let answer = async {
        while let Some(message) = reading.wait().await {
            match message {
                ChannelMsg::Success => return Some(true),
                ChannelMsg::Failure => return Some(false),
                _ => {}
            }
        }
        None
    };
    let taken = timeout(REQUEST_TIMEOUT, answer)
        .await
        .ok()
        .flatten()
        .ok_or_else(lost)?;
    upstream.set_mark_support(taken);
    Ok(taken)
}

async fn relay(
    execution: &Execution<'_>,
    client: &mut ChannelReadHalf,
    reading: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
) -> RelayEnd {
    let mut to_guest = pin!(to_guest(execution.recorder, client, writing));
    let mut to_client = pin!(to_client(execution, reading));
    let mut client_sends = true;
    loop {
        tokio::select! {
            ended = &mut to_client => return RelayEnd::Exited(ended),
            closed = &mut to_guest, if client_sends => {
                if closed {
                    return RelayEnd::ClientClosed;
                }
                client_sends = false;
            }
            () = execution.admitted.token.cancelled() => return RelayEnd::Cancelled,
            () = execution.recorder.failed() => return RelayEnd::Unrecorded,
            () = execution.client.closed.cancelled() => return RelayEnd::ClientClosed,
        }
    }
}

/// Relays from client to guest. Returns true if the client closed the channel, false if the guest no longer
/// reads.
async fn to_guest(
    recorder: &Recorder,
    client: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
) -> bool {
    while let Some(message) = client.wait().await {
        let sent = match message {
            ChannelMsg::Data { data } => {
                recorder.add(CommandStream::Stdin, &data);
                writing.data_bytes(data).await
            }
            ChannelMsg::Eof => writing.eof().await,
            ChannelMsg::WindowChange {
                col_width,
                row_height,
                pix_width,
                pix_height,
            } => {
                writing
                    .window_change(col_width, row_height, pix_width, pix_height)
                    .await
            }
            ChannelMsg::Signal { signal } => writing.signal(signal).await,
            ChannelMsg::Close => return true,
            _ => Ok(()),
        };
        if sent.is_err() {
            return false;
        }
    }
    true
}

/// Relays from guest to client, to the end of the output.
async fn to_client(execution: &Execution<'_>, reading: &mut ChannelReadHalf) -> Ended {
    let client = execution.client;
    let mut ended: Option<Ended> = None;
    let mut output_ended = false;
    loop {
        let message = if output_ended && ended.is_none() {
            match timeout(EXIT_STATUS_TIMEOUT, reading.wait()).await {
                Ok(message) => message,
                Err(_) => {
                    let _ = client.writing.eof().await;
                    reading.wait().await
                }
            }
        } else {
            reading.wait().await
        };
        match message {
            None => break,
            Some(ChannelMsg::Eof) => output_ended = true,
            Some(ChannelMsg::Failure) => return Ended::because(FAILED, refused(execution)),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                let exit_code = i32::try_from(exit_status).ok();
                ended = Some(Ended {
                    exit_code,
                    ..Ended::default()
                });
            }
            Some(ChannelMsg::ExitSignal {
                signal_name: signal,
                ..
            }) => {
                let signal = Some(signal_name(&signal));
                ended = Some(Ended {
                    signal,
                    ..Ended::default()
                });
            }
            Some(message) => pass(message, execution.recorder, client).await,
        }
        if output_ended && ended.is_some() {
            break;
        }
    }
    ended.unwrap_or_else(|| {
        let endpoint = &execution.session.target.guest().endpoint;
        let message = format!(
            "the connection to {endpoint} broke while the command was running; it may still be running there"
        );
        execution.session.detach(execution.admitted.command);
        Ended::because(FAILED, message)
    })
}

/// Captures output and passes it on. `relay` notices a client that has disconnected.
async fn pass(message: ChannelMsg, recorder: &Recorder, client: &ClientChannel) {
    match message {
        ChannelMsg::Data { data } => {
            recorder.add(CommandStream::Stdout, &data);
            let _ = client.out(data).await;
        }
        ChannelMsg::ExtendedData { data, ext: STDERR } => {
            recorder.add(CommandStream::Stderr, &data);
            let _ = client.err(data).await;
        }
        _ => {}
    }
}

fn refused(execution: &Execution<'_>) -> String {
    let endpoint = &execution.session.target.guest().endpoint;
    match execution.request {
        ChannelRequest::Subsystem(_) => format!("{endpoint} has no such subsystem"),
        ChannelRequest::Exec(_) | ChannelRequest::Shell => {
            format!("{endpoint} does not run commands for this account")
        }
    }
}

/// Ends the command's processes on the guest, and reports the result.
async fn cut(execution: &Execution<'_>, writing: &ChannelWriteHalf<Msg>, why: &str) -> Ended {
    let _ = timeout(SEND_TIMEOUT, writing.signal(Sig::TERM)).await;
    let name = &execution.session.target.config().name;
    let found = cleanup::end(
        execution.session.target.guest(),
        &[execution.admitted.command],
    )
    .await;
    let result = match found {
        Ok(cleanup::CleanupResult { left: 0, .. }) => {
            format!("none of its processes is left on {name}")
        }
        Ok(cleanup::CleanupResult { left, .. }) => {
            format!("{left} of its processes on {name} could not be ended")
        }
        Err(error) => format!("whether it is still running on {name} is unknown: {error}"),
    };
    Ended {
        exit_code: None,
        signal: Some("TERM".to_owned()),
        message: Some(format!("{why}; {result}")),
    }
}
