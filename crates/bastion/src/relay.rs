//! Carries one errand to the guest and back, as if the bastion were not there.
//!
//! ```text
//!   client ── down: data, end, size, signal ──▶ guest      each direction waits for its reader,
//!          ◀── up: output, error, status ──────            and the SSH windows carry that back
//! ```
//! Whatever passes is booked first. It ends when the guest ends it; when the client goes away; and when
//! its token is cancelled or the record fails: then what runs on the guest is ended too, and looked for.

use std::pin::pin;
use std::time::Duration;

use breakglass_model::CommandStream;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::timeout;

use super::remote;
use crate::caller::{self, Caller, FAILED, STDERR};
use crate::errand::Errand;
use crate::recorder::{Ended, Recorder};
use crate::work::{Opened, Taken, Work};
use breakglass_control::ssh::SshError;
use breakglass_control::ssh::{Marks, OpenSession, Upstream};

/// How long the guest may take to answer a request on a fresh session.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long the end of the output waits for the exit status: passed on alone, it makes OpenSSH's
/// ControlMaster forget the status.
const STATUS_LIMIT: Duration = Duration::from_millis(250);
/// Longest wait for a signal or a goodbye to be sent.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// What ended a relay.
enum End {
    Itself(Ended),
    ClientGone,
    Cancelled,
    Unrecorded,
}

pub(crate) async fn run(
    work: &Work<'_>,
    client: &mut ChannelReadHalf,
    (opened, taken): (Opened, Taken),
) -> Ended {
    let opening = async {
        match opened {
            Some(opened) => opened,
            None => open(work).await,
        }
    };
    let opening = tokio::select! {
        biased;
        opened = opening => opened,
        () = work.admitted.token.cancelled() => return Ended::because(FAILED, cancelled(work)),
        () = work.caller.gone.cancelled() => return Ended::because(FAILED, "the agent no longer waits for it"),
    };
    let session = match opening {
        Ok(session) => session,
        Err(error) => return Ended::because(FAILED, error.to_string()),
    };
    let (mut reading, writing) = session.channel.split();
    if let Err(why) = start(work, &mut reading, &writing).await {
        let _ = timeout(SEND_LIMIT, writing.close()).await;
        return Ended::because(FAILED, why);
    }
    if let Some(taken) = taken {
        let _decider_left = taken.send(());
    }
    let end = carry(work, client, &mut reading, &writing).await;
    let ended = match end {
        End::Itself(ended) => ended,
        End::ClientGone => {
            work.seat.leave(work.admitted.command);
            let message = format!(
                "the agent's client went away; what it started may run on on {}",
                work.seat.target.config().name
            );
            Ended::because(FAILED, message)
        }
        End::Cancelled => cut(work, &writing, &cancelled(work)).await,
        End::Unrecorded => cut(work, &writing, "the record does not take what it does").await,
    };
    let _ = timeout(SEND_LIMIT, writing.close()).await;
    ended
}

/// A session on the guest; who has to wait for one is told what for.
async fn open(work: &Work<'_>) -> Result<OpenSession, SshError> {
    let upstream = &work.seat.target.guest();
    match upstream.open_at_once().await {
        Ok(opened) => opened,
        Err(granted) => {
            let machine = &work.seat.target.config().name;
            let why =
                format!("the sshd of {machine} grants {granted}: waiting for a command to end");
            work.caller.say(&why).await;
            upstream.open().await
        }
    }
}

fn cancelled(work: &Work<'_>) -> String {
    if work.seat.is_cut_off() {
        "the operator cut the agent off".to_owned()
    } else {
        "its turn was ended".to_owned()
    }
}

/// Prepares the session as the client prepared its own, and starts the errand in it.
async fn start(
    work: &Work<'_>,
    reading: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
) -> Result<(), String> {
    let upstream = &work.seat.target.guest();
    let endpoint = &upstream.endpoint;
    let lost = |_| format!("the connection to {endpoint} broke before the command was sent");
    if let Some(terminal) = work.terminal {
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
    for (name, value) in work.variables.iter() {
        let set = writing.set_env(false, name.as_str(), value.as_str());
        set.await.map_err(lost)?;
    }
    let mark = remote::mark(work.admitted.command);
    let marked = set_mark(upstream, reading, writing, &mark).await?;
    match work.errand {
        Errand::Exec(command) => {
            let command = if marked {
                command.clone()
            } else {
                let mut with_mark = format!("export {}={mark}\n", remote::VARIABLE).into_bytes();
                with_mark.extend_from_slice(command);
                with_mark
            };
            writing.exec(true, command).await.map_err(lost)
        }
        Errand::Shell => writing.request_shell(true).await.map_err(lost),
        Errand::Subsystem(name) => writing
            .request_subsystem(true, name.as_str())
            .await
            .map_err(lost),
    }
}

/// Gives the session its mark. Whether the guest's sshd takes it is asked once.
async fn set_mark(
    upstream: &Upstream,
    reading: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
    mark: &str,
) -> Result<bool, String> {
    let ask = match upstream.marks() {
        Marks::Refused => return Ok(false),
        Marks::Taken => false,
        Marks::Unknown => true,
    };
    let lost = || {
        format!(
            "{} does not answer on a fresh session; ask status, then try again",
            upstream.endpoint
        )
    };
    let set = writing.set_env(ask, remote::VARIABLE, mark);
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
    let taken = timeout(ANSWER_LIMIT, answer)
        .await
        .ok()
        .flatten()
        .ok_or_else(lost)?;
    upstream.learn_marks(taken);
    Ok(taken)
}

async fn carry(
    work: &Work<'_>,
    client: &mut ChannelReadHalf,
    reading: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
) -> End {
    let mut down = pin!(down(work.recorder, client, writing));
    let mut up = pin!(up(work, reading));
    let mut client_speaks = true;
    loop {
        tokio::select! {
            ended = &mut up => return End::Itself(ended),
            closed = &mut down, if client_speaks => {
                if closed {
                    return End::ClientGone;
                }
                client_speaks = false;
            }
            () = work.admitted.token.cancelled() => return End::Cancelled,
            () = work.recorder.failed() => return End::Unrecorded,
            () = work.caller.gone.cancelled() => return End::ClientGone,
        }
    }
}

/// Client to guest. True when the client closed the channel, false when the guest reads no more.
async fn down(
    recorder: &Recorder,
    client: &mut ChannelReadHalf,
    writing: &ChannelWriteHalf<Msg>,
) -> bool {
    while let Some(message) = client.wait().await {
        let sent = match message {
            ChannelMsg::Data { data } => {
                recorder.take(CommandStream::Stdin, &data);
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

/// Guest to client, until the guest has said all.
async fn up(work: &Work<'_>, reading: &mut ChannelReadHalf) -> Ended {
    let caller = work.caller;
    let mut ended: Option<Ended> = None;
    let mut silent = false;
    loop {
        let message = if silent && ended.is_none() {
            match timeout(STATUS_LIMIT, reading.wait()).await {
                Ok(message) => message,
                Err(_) => {
                    let _ = caller.writing.eof().await;
                    reading.wait().await
                }
            }
        } else {
            reading.wait().await
        };
        match message {
            None => break,
            Some(ChannelMsg::Eof) => silent = true,
            Some(ChannelMsg::Failure) => return Ended::because(FAILED, refused(work)),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                let exit_code = i32::try_from(exit_status).ok();
                ended = Some(Ended {
                    exit_code,
                    ..Ended::default()
                });
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                let signal = Some(caller::name(&signal_name));
                ended = Some(Ended {
                    signal,
                    ..Ended::default()
                });
            }
            Some(message) => pass(message, work.recorder, caller).await,
        }
        if silent && ended.is_some() {
            break;
        }
    }
    ended.unwrap_or_else(|| {
        let endpoint = &work.seat.target.guest().endpoint;
        let message = format!(
            "the connection to {endpoint} broke while it ran; it may still be running there"
        );
        work.seat.leave(work.admitted.command);
        Ended::because(FAILED, message)
    })
}

/// Books and passes on what was printed. A client that does not take it is noticed elsewhere.
async fn pass(message: ChannelMsg, recorder: &Recorder, caller: &Caller) {
    match message {
        ChannelMsg::Data { data } => {
            recorder.take(CommandStream::Stdout, &data);
            let _ = caller.out(data).await;
        }
        ChannelMsg::ExtendedData { data, ext: STDERR } => {
            recorder.take(CommandStream::Stderr, &data);
            let _ = caller.err(data).await;
        }
        _ => {}
    }
}

fn refused(work: &Work<'_>) -> String {
    let endpoint = &work.seat.target.guest().endpoint;
    match work.errand {
        Errand::Subsystem(_) => format!("{endpoint} has no such subsystem"),
        Errand::Exec(_) | Errand::Shell => {
            format!("{endpoint} does not run commands for this account")
        }
    }
}

/// Ends what runs on the guest, and says what was found.
async fn cut(work: &Work<'_>, writing: &ChannelWriteHalf<Msg>, why: &str) -> Ended {
    let _ = timeout(SEND_LIMIT, writing.signal(Sig::TERM)).await;
    let name = &work.seat.target.config().name;
    let found = remote::end(&work.seat.target.guest(), &[work.admitted.command]).await;
    let proof = match found {
        Ok(remote::Found { left: 0, .. }) => format!("no process of it is left on {name}"),
        Ok(remote::Found { left, .. }) => format!("{left} of its processes do not die on {name}"),
        Err(error) => format!("whether it is gone on {name} is not known: {error}"),
    };
    Ended {
        exit_code: None,
        signal: Some("TERM".to_owned()),
        message: Some(format!("{why}; {proof}")),
    }
}
