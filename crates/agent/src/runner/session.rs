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

use super::bastion_sockets::{self, BastionSockets};
use super::frame::{Frames, Order, Report, StartOrder, VERSION, encode};
use super::options::Shared;
use crate::cell::{self, Program, SshFiles, write_ssh_files};
use crate::child::{Exit, LocalChild, MARK};
use crate::login::has_login;
use crate::model_name::is_model_name;
use crate::plan::Plan;
use crate::sandbox::no_connections;

/// Maximum time for the server to send its start order.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time for the server to read a report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of frames that wait to be written.
const REPORT_QUEUE: usize = 2;
/// Maximum length of a machine's name.
const NAME_MAX_BYTES: usize = 63;

pub(super) async fn run(stream: UnixStream, shared: &Shared) {
    let (input, output) = stream.into_split();
    let mut frames = Frames::new(input);
    let (reports, queue) = mpsc::channel(REPORT_QUEUE);
    let mut writer = JoinSet::new();
    writer.spawn(write(queue, output));
    match start(&mut frames, shared).await {
        Ok((child, _sockets)) => {
            let has_login = has_login(&shared.options.agent);
            report(&reports, &Report::Started(has_login)).await;
            let session = Session {
                frames,
                child,
                reports: &reports,
                pending: VecDeque::new(),
                stdout_ended: false,
            };
            let exit = session.run(shared).await;
            report(&reports, &Report::Ended(exit)).await;
        }
        Err(reason) => report(&reports, &Report::Refused(reason)).await,
    }
    drop(reports);
    let _ = timeout(REPORT_TIMEOUT, writer.join_next()).await;
}

/// Queues a frame. Ignore errors: the server may be gone.
async fn report(reports: &mpsc::Sender<Bytes>, report: &Report) {
    if let Ok(frame) = encode(report) {
        let _ = timeout(REPORT_TIMEOUT, reports.send(frame)).await;
    }
}

async fn write(mut frames: mpsc::Receiver<Bytes>, mut output: OwnedWriteHalf) {
    while let Some(frame) = frames.recv().await {
        if output.write_all(&frame).await.is_err() {
            break;
        }
    }
}

/// Starts the process that the first frame orders.
///
/// # Errors
/// A sentence for the server.
async fn start(
    frames: &mut Frames<OwnedReadHalf>,
    shared: &Shared,
) -> Result<(LocalChild, Option<BastionSockets>), String> {
    let mut order = match timeout(START_TIMEOUT, frames.next()).await {
        Ok(Ok(Some(Order::Start(order)))) => order,
        Ok(Err(error)) => return Err(incompatible(&error.to_string())),
        _ => return Err(incompatible("it sent no start order")),
    };
    check(&order)?;
    // A server that reaches no machine sends no host keys, and must not overwrite those of another one.
    if !order.known_hosts.is_empty() {
        write_server_files(&order, shared)?;
    }
    let mut options = shared.options.agent.clone();
    options.max_api_retries = order.max_api_retries;
    let sockets = match &mut order.plan {
        Some(plan) => {
            BastionSockets::open(plan, shared).map_err(|error| no_sockets(shared, &error))?
        }
        None => None,
    };
    let program = order.plan.as_ref().map_or(Program::Version, |plan| {
        Program::Conversation(plan, &order.instructions)
    });
    let child = cell::start(&options, &shared.spawner, program, no_connections()).await?;
    if let (Some(sockets), Ok(tree)) = (&sockets, child.process_tree()) {
        sockets.admit(tree);
    }
    Ok((child, sockets))
}

fn write_server_files(order: &StartOrder, shared: &Shared) -> Result<(), String> {
    let dir = &shared.options.ssh_dir;
    let written = std::env::current_exe().and_then(|program| {
        let files = SshFiles {
            cell: dir,
            program: &program,
            config: &order.ssh_config,
            known_hosts: &order.known_hosts,
        };
        write_ssh_files(dir, files)
    });
    written.map_err(|error| {
        let dir = dir.display();
        format!("The runner's directory {dir} can't be written: {error}. Set its owner there.")
    })
}

fn no_sockets(shared: &Shared, error: &io::Error) -> String {
    let dir = bastion_sockets::root(&shared.options.socket);
    let dir = dir.display();
    format!(
        "The runner's sockets could not be made in {dir}: {error}. Set the owner of the directory above."
    )
}

fn incompatible(reason: &str) -> String {
    format!(
        "The agent's runner does not understand this server: {reason}. Run both in one version."
    )
}

/// The order becomes arguments, file names and variables, so each part is checked.
fn check(order: &StartOrder) -> Result<(), String> {
    if order.version != VERSION {
        return Err(incompatible(&format!(
            "it speaks version {}",
            order.version
        )));
    }
    let Some(plan) = &order.plan else {
        return Ok(());
    };
    let names = [&plan.names.guest, &plan.names.host];
    if !names.into_iter().all(|name| is_machine_name(name)) || !is_model_name(&plan.model) {
        return Err(incompatible("it sent an invalid name"));
    }
    if let Some(name) = forbidden_variable(plan) {
        return Err(incompatible(&format!("it sets the variable {name:?}")));
    }
    Ok(())
}

fn is_machine_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(is_allowed)
}

/// A variable that could change more than how the agent reaches its machines.
fn forbidden_variable(plan: &Plan) -> Option<&str> {
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    let forbidden = plan.env.iter().find(|(name, value)| {
        let is_ours =
            name.starts_with("BREAKGLASS_") && name.bytes().all(is_allowed) && name != MARK;
        !is_ours || value.contains('\0')
    });
    forbidden.map(|(name, _)| name.as_str())
}

/// How a session stops.
enum Stop {
    /// After this grace period for the process to exit by itself.
    End(Duration),
    Kill,
}

struct Session<'a> {
    frames: Frames<OwnedReadHalf>,
    child: LocalChild,
    reports: &'a mpsc::Sender<Bytes>,
    /// Frames that are not queued yet. The child's output is read only while there are none.
    pending: VecDeque<Bytes>,
    stdout_ended: bool,
}

impl Session<'_> {
    /// Relays until the server ends the process or is gone. Then nothing of the process is left.
    async fn run(mut self, shared: &Shared) -> Exit {
        loop {
            let step = tokio::select! {
                biased;
                () = shared.shutdown.cancelled() => Err(Stop::Kill),
                order = self.frames.next() => self.obey(order).await,
                permit = self.reports.reserve(), if !self.pending.is_empty() => {
                    match (permit, self.pending.pop_front()) {
                        (Ok(permit), Some(frame)) => {
                            permit.send(frame);
                            Ok(())
                        }
                        _ => Err(Stop::Kill),
                    }
                }
                chunk = self.child.next_chunk(), if self.pending.is_empty() && !self.stdout_ended => {
                    let chunk = chunk.unwrap_or_default();
                    self.stdout_ended = chunk.is_empty();
                    let report = if self.stdout_ended { Report::Eof } else { Report::Output(chunk) };
                    self.pending.extend(encode(&report));
                    Ok(())
                }
            };
            match step {
                Ok(()) => {}
                Err(Stop::Kill) => return self.child.kill().await,
                Err(Stop::End(grace)) => return self.child.end(grace).await,
            }
        }
    }

    async fn obey(&mut self, order: io::Result<Option<Order>>) -> Result<(), Stop> {
        match order {
            // Ignore the error: a CLI that reads no input is about to end, and that is reported.
            Ok(Some(Order::Input(bytes))) => drop(self.child.send(&bytes).await),
            Ok(Some(Order::Sweep)) => {
                self.child.kill_descendants().await;
                self.pending.extend(encode(&Report::Swept));
            }
            Ok(Some(Order::End(grace))) => return Err(Stop::End(grace)),
            // The server kills the process, is gone, or sends nonsense.
            Ok(Some(Order::Kill | Order::Start(_)) | None) | Err(_) => return Err(Stop::Kill),
        }
        Ok(())
    }
}
