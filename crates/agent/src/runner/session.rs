//! The runner's end of one connection: one process, from its start to its end.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame::{CHUNK, Frames, Order, Report, Start, VERSION, encode};
use super::listen::Shared;
use super::porter::{self, Porter};
use crate::agents::is_model_name;
use crate::child::{Exit, Local, MARK};
use crate::health::has_login;
use crate::ssh_files::write_ssh_files;
use crate::start::{Plan, start_here};
use crate::wire::{RawLine, stub};

/// How long the server may take to say what is to be started.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to read what is left for it.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// Frames that wait to be written.
const QUEUE: usize = 2;

pub(super) async fn run(stream: UnixStream, shared: &Shared) {
    let (input, output) = stream.into_split();
    let mut frames = Frames::new(input);
    let (reports, queue) = mpsc::channel(QUEUE);
    let mut writer = JoinSet::new();
    writer.spawn(write(queue, output));
    match begin(&mut frames, shared).await {
        Ok((child, _porter)) => {
            let signed_in = has_login(&shared.options.agent);
            report(&reports, &Report::Started(signed_in)).await;
            let exit = Session::new(frames, child, &reports).run(shared).await;
            report(&reports, &Report::Ended(exit)).await;
        }
        Err(why) => report(&reports, &Report::Refused(why)).await,
    }
    drop(reports);
    let _ = timeout(FLUSH_LIMIT, writer.join_next()).await;
}

/// Queues a frame; the server may be gone.
async fn report(reports: &mpsc::Sender<Bytes>, report: &Report) {
    if let Ok(frame) = encode(report) {
        let _ = timeout(FLUSH_LIMIT, reports.send(frame)).await;
    }
}

async fn write(mut frames: mpsc::Receiver<Bytes>, mut output: OwnedWriteHalf) {
    while let Some(frame) = frames.recv().await {
        if output.write_all(&frame).await.is_err() {
            break;
        }
    }
}

/// Starts what the first frame asks for.
///
/// # Errors
/// A sentence for the server.
async fn begin(
    frames: &mut Frames<OwnedReadHalf>,
    shared: &Shared,
) -> Result<(Local, Option<Porter>), String> {
    let mut start = match timeout(START_LIMIT, frames.next()).await {
        Ok(Ok(Some(Order::Start(start)))) => start,
        Ok(Err(error)) => return Err(misfit(&error.to_string())),
        _ => return Err(misfit("it did not say what to start")),
    };
    check(&start)?;
    let ssh_dir = &shared.options.ssh_dir;
    // Without keys of machines it reaches none, and what is there is another's who does.
    if !start.known_hosts.is_empty() {
        let written = std::env::current_exe().and_then(|program| {
            let seen = (ssh_dir.as_path(), program.as_path());
            write_ssh_files(ssh_dir, seen, &start.ssh_config, &start.known_hosts)
        });
        written.map_err(|error| {
            let dir = ssh_dir.display();
            format!("The runner's directory {dir} can't be written: {error}. Set its owner there.")
        })?;
    }
    let mut options = shared.options.agent.clone();
    options.max_api_retries = start.max_api_retries;
    let porter = match &mut start.plan {
        Some(plan) => Porter::stand(plan, shared).map_err(|error| no_way(shared, &error))?,
        None => None,
    };
    let plan = start
        .plan
        .as_ref()
        .map(|plan| (plan, start.instructions.as_str()));
    let child = start_here(&options, &shared.launcher, plan).await?;
    if let Some(porter) = &porter {
        // One that has ended already needs no way.
        let _ = child.family().map(|family| porter.open_to(family));
    }
    Ok((child, porter))
}

fn no_way(shared: &Shared, error: &io::Error) -> String {
    let dir = porter::root(&shared.options.socket);
    let dir = dir.display();
    format!(
        "The runner's sockets could not be made in {dir}: {error}. Set the owner of the directory above."
    )
}

fn misfit(why: &str) -> String {
    format!("The agent's runner does not understand this server: {why}. Run both in one version.")
}

/// What is started becomes arguments, a file's name and variables: nothing odd may be in it.
fn check(start: &Start) -> Result<(), String> {
    if start.version != VERSION {
        return Err(misfit(&format!("it speaks version {}", start.version)));
    }
    let Some(plan) = &start.plan else {
        return Ok(());
    };
    let named = [&plan.names.guest, &plan.names.host]
        .into_iter()
        .all(|name| is_plain_name(name));
    if !named || !is_model_name(&plan.model) {
        return Err(misfit("a name in it is none"));
    }
    if let Some(name) = odd_variable(plan) {
        return Err(misfit(&format!("it sets the variable {name:?}")));
    }
    Ok(())
}

fn is_plain_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && name.bytes().all(fits)
}

/// A variable that could change more than how the agent reaches its machines.
fn odd_variable(plan: &Plan) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    let mut odd = plan.env.iter().filter(|(name, value)| {
        let ours = name.starts_with("BREAKGLASS_") && name.bytes().all(fits) && name != MARK;
        !ours || value.contains('\0')
    });
    odd.next().map(|(name, _)| name.as_str())
}

/// Why a session ends.
enum Ending {
    /// By the server's order, after this long for the process to end by itself.
    Asked(Duration),
    Kill,
}

struct Session<'a> {
    frames: Frames<OwnedReadHalf>,
    child: Local,
    reports: &'a mpsc::Sender<Bytes>,
    /// Frames that are still to be queued; the next line is read when there is none.
    pending: VecDeque<Bytes>,
    /// Standard output has ended.
    over: bool,
}

impl<'a> Session<'a> {
    fn new(
        frames: Frames<OwnedReadHalf>,
        child: Local,
        reports: &'a mpsc::Sender<Bytes>,
    ) -> Session<'a> {
        Session {
            frames,
            child,
            reports,
            pending: VecDeque::new(),
            over: false,
        }
    }

    /// Relays until the server ends the process or is gone; then nothing of it is left.
    async fn run(mut self, shared: &Shared) -> Exit {
        loop {
            let step = tokio::select! {
                biased;
                () = shared.end.cancelled() => Err(Ending::Kill),
                order = self.frames.next() => self.obey(order).await,
                room = self.reports.reserve(), if !self.pending.is_empty() => match room {
                    Ok(room) => {
                        if let Some(frame) = self.pending.pop_front() {
                            room.send(frame);
                        }
                        Ok(())
                    }
                    Err(_) => Err(Ending::Kill),
                },
                line = self.child.next(), if self.pending.is_empty() && !self.over => {
                    self.pending = match line {
                        Ok(Some(RawLine::Whole(line))) => chunks(line),
                        Ok(Some(RawLine::TooLong(outline))) => {
                            chunks(stub(&outline.line()).as_bytes())
                        }
                        Ok(None) | Err(_) => {
                            self.over = true;
                            encode(&Report::Eof).into_iter().collect()
                        }
                    };
                    Ok(())
                }
            };
            match step {
                Ok(()) => {}
                Err(Ending::Kill) => return self.child.kill().await,
                Err(Ending::Asked(grace)) => return self.child.end(grace).await,
            }
        }
    }

    async fn obey(&mut self, order: io::Result<Option<Order>>) -> Result<(), Ending> {
        match order {
            // A CLI that takes no input any more is about to end, and that is told.
            Ok(Some(Order::Input(bytes))) => drop(self.child.send(&bytes).await),
            Ok(Some(Order::Sweep)) => {
                self.child.kill_descendants().await;
                self.pending.extend(encode(&Report::Swept));
            }
            Ok(Some(Order::End(grace))) => return Err(Ending::Asked(grace)),
            // A second start, an end and an unreadable frame alike: this server is no more.
            Ok(Some(Order::Kill | Order::Start(_)) | None) | Err(_) => return Err(Ending::Kill),
        }
        Ok(())
    }
}

/// A line, with its newline, in as many frames as it needs.
fn chunks(line: &[u8]) -> VecDeque<Bytes> {
    let mut all: VecDeque<Bytes> = line
        .chunks(CHUNK)
        .filter_map(|chunk| encode(&Report::Output(Bytes::copy_from_slice(chunk))).ok())
        .collect();
    all.extend(encode(&Report::Output(Bytes::from_static(b"\n"))));
    all
}
