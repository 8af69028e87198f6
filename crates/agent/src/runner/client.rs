//! The server's end of the connection: a child that runs behind a runner.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame::{CHUNK_MAX_BYTES, Frames, Order, Report, StartOrder, VERSION, encode};
use crate::RunnerAccess;
use crate::child::Exit;
use crate::plan::Plan;
use crate::wire::{Lines, RawLine};

/// Maximum time for a runner to start a process.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum time to queue an order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time for a runner to kill, reap and sweep.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum size of unread output; the rest waits in the runner.
const OUTPUT_BUFFER_BYTES: usize = 256 * 1024;
/// Maximum number of waiting orders.
const ORDER_QUEUE: usize = 4;

/// A child of a runner. Dropping it closes the connection, which makes the runner kill it.
#[derive(Debug)]
pub(crate) struct RemoteChild {
    orders: mpsc::Sender<Bytes>,
    lines: Lines<DuplexStream>,
    /// Number of sweeps that the runner has reported.
    sweeps: watch::Receiver<u64>,
    reader: JoinSet<Exit>,
    _writer: JoinSet<()>,
}

impl RemoteChild {
    /// Starts the CLI according to `plan`. Without a plan, runs it only to print its version. The flag is true if
    /// it has a login of the model's API.
    ///
    /// # Errors
    /// A sentence: why it could not be started, and what to do.
    pub(crate) async fn start(
        access: &RunnerAccess,
        plan: Option<&Plan>,
        instructions: String,
        max_api_retries: u32,
    ) -> Result<(RemoteChild, bool), String> {
        let order = StartOrder {
            version: VERSION,
            plan: plan.cloned(),
            instructions,
            ssh_config: access.ssh_config.clone(),
            known_hosts: access.known_hosts.clone(),
            max_api_retries,
        };
        let order = Order::Start(Box::new(order));
        let answer = timeout(START_TIMEOUT, connect(access, &order)).await;
        match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok((Some(Report::Started(has_login)), frames, output)) => {
                Ok((RemoteChild::follow(frames, output), has_login))
            }
            Ok((Some(Report::Refused(reason)), ..)) => Err(reason),
            Ok(_) => Err(unreachable(access, "it closed the connection")),
            Err(error) => Err(unreachable(access, &error.to_string())),
        }
    }

    fn follow(frames: Frames<OwnedReadHalf>, output: OwnedWriteHalf) -> RemoteChild {
        let (lines, unread) = tokio::io::duplex(OUTPUT_BUFFER_BYTES);
        let (swept, sweeps) = watch::channel(0);
        let (orders, queue) = mpsc::channel(ORDER_QUEUE);
        let (mut reader, mut writer) = (JoinSet::new(), JoinSet::new());
        reader.spawn(read(frames, unread, swept));
        writer.spawn(write(queue, output));
        RemoteChild {
            orders,
            lines: Lines::new(lines),
            sweeps,
            reader,
            _writer: writer,
        }
    }

    /// The next line of standard output; none at its end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        self.lines.next().await
    }

    /// Queues `bytes` for standard input. If the CLI does not read them, it is found silent or dead.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(CHUNK_MAX_BYTES) {
            self.order(&Order::Input(Bytes::copy_from_slice(chunk)))
                .await?;
        }
        Ok(())
    }

    /// As [`LocalChild::end`](crate::child::LocalChild::end).
    pub(crate) async fn end(self, grace: Duration) -> Exit {
        self.finish(Order::End(grace), KILL_TIMEOUT + 2 * grace)
            .await
    }

    /// As [`LocalChild::kill`](crate::child::LocalChild::kill).
    pub(crate) async fn kill(self) -> Exit {
        self.finish(Order::Kill, KILL_TIMEOUT).await
    }

    /// Kills every running process that the child started, but not the child.
    pub(crate) async fn kill_descendants(&self) {
        let mut sweeps = self.sweeps.clone();
        let before = *sweeps.borrow_and_update();
        if self.order(&Order::Sweep).await.is_ok() {
            // If the runner does not answer, the next wait finds it gone or silent.
            let _ = timeout(KILL_TIMEOUT, sweeps.wait_for(|count| *count > before)).await;
        }
    }

    async fn order(&self, order: &Order) -> io::Result<()> {
        let frame = encode(order)?;
        match timeout(ORDER_TIMEOUT, self.orders.send(frame)).await {
            Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn finish(mut self, order: Order, limit: Duration) -> Exit {
        // Fails if the runner is gone, which the reader notices too.
        let _ = self.order(&order).await;
        // Unread output must not delay the end.
        drop(self.lines);
        let ended = timeout(limit, self.reader.join_next()).await;
        match ended {
            Ok(Some(Ok(exit))) => exit,
            _ => unknown_exit("the agent's runner did not report the exit status"),
        }
    }
}

/// Connects and sends `order`. Returns the answer and both halves of the connection.
async fn connect(
    access: &RunnerAccess,
    order: &Order,
) -> io::Result<(Option<Report>, Frames<OwnedReadHalf>, OwnedWriteHalf)> {
    let stream = UnixStream::connect(&access.socket).await?;
    let (input, mut output) = stream.into_split();
    output.write_all(&encode(order)?).await?;
    let mut frames = Frames::new(input);
    let report = frames.next().await?;
    Ok((report, frames, output))
}

fn unreachable(access: &RunnerAccess, reason: &str) -> String {
    let socket = access.socket.display();
    format!(
        "The agent's runner does not answer at {socket}: {reason}. Start `breakglass runner --listen \
         {socket}` in its container, or correct agent.runner. Power and checks work without it."
    )
}

fn unknown_exit(reason: &str) -> Exit {
    Exit {
        status: None,
        last_words: String::new(),
        unknown_because: Some(reason.to_owned()),
    }
}

/// Reads the runner's frames until it reports how the process ended, or is gone.
async fn read(
    mut frames: Frames<OwnedReadHalf>,
    unread: DuplexStream,
    swept: watch::Sender<u64>,
) -> Exit {
    // None once the output has ended or its reader is gone.
    let mut unread = Some(unread);
    loop {
        match frames.next().await {
            Ok(Some(Report::Output(bytes))) => {
                if let Some(pipe) = &mut unread
                    && pipe.write_all(&bytes).await.is_err()
                {
                    unread = None;
                }
            }
            Ok(Some(Report::Eof)) => unread = None,
            Ok(Some(Report::Swept)) => swept.send_modify(|count| *count += 1),
            Ok(Some(Report::Ended(exit))) => return exit,
            Ok(Some(Report::Started(_) | Report::Refused(_)) | None) => {
                return unknown_exit("the agent's runner is gone");
            }
            Err(error) => return unknown_exit(&format!("the agent's runner is gone: {error}")),
        }
    }
}

async fn write(mut orders: mpsc::Receiver<Bytes>, mut output: OwnedWriteHalf) {
    while let Some(frame) = orders.recv().await {
        if output.write_all(&frame).await.is_err() {
            break;
        }
    }
}
