//! The server's end: a child that runs behind a runner.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame::{CHUNK, Frames, Order, Report, Start, VERSION, encode};
use crate::child::{Child, Exit};
use crate::options::{AgentOptions, RunnerAccess};
use crate::start::{Plan, Started};
use crate::wire::{Lines, RawLine};

/// How long a runner may take to start a process.
const START_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take to be handed an order.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to kill, reap and sweep.
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// Output that is kept while nobody reads; more waits in the runner.
const UNREAD: usize = 256 * 1024;
/// Orders that may wait.
const QUEUE: usize = 4;

/// A child of a runner. Dropping it closes the connection, and by that the runner kills it.
#[derive(Debug)]
pub(crate) struct Remote {
    orders: mpsc::Sender<Bytes>,
    lines: Lines<DuplexStream>,
    /// How often the runner has said that it has swept.
    sweeps: watch::Receiver<u64>,
    reader: JoinSet<Exit>,
    _writer: JoinSet<()>,
}

impl Remote {
    /// Has the CLI started by `plan`; to say its version and end, where there is none.
    ///
    /// # Errors
    /// A sentence: why there is no process, and what to do.
    pub(crate) async fn start(
        access: &RunnerAccess,
        options: &AgentOptions,
        plan: Option<&Plan>,
        instructions: Option<String>,
    ) -> Result<Started, String> {
        let start = Start {
            version: VERSION,
            plan: plan.cloned(),
            instructions: instructions.unwrap_or_default(),
            ssh_config: access.ssh_config.clone(),
            known_hosts: access.known_hosts.clone(),
            max_api_retries: options.max_api_retries,
        };
        let asked = timeout(START_LIMIT, ask(access, Order::Start(Box::new(start)))).await;
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut));
        match asked.unwrap_or_else(|_| late()) {
            Ok((Some(Report::Started(signed_in)), frames, output)) => Ok(Started {
                child: Child::Remote(Remote::follow(frames, output)),
                signed_in,
            }),
            Ok((Some(Report::Refused(why)), ..)) => Err(why),
            Ok(_) => Err(unreachable(access, "it closed the connection")),
            Err(error) => Err(unreachable(access, &error.to_string())),
        }
    }

    fn follow(frames: Frames<OwnedReadHalf>, output: OwnedWriteHalf) -> Remote {
        let (lines, unread) = tokio::io::duplex(UNREAD);
        let (swept, sweeps) = watch::channel(0);
        let (orders, queue) = mpsc::channel(QUEUE);
        let (mut reader, mut writer) = (JoinSet::new(), JoinSet::new());
        reader.spawn(read(frames, unread, swept));
        writer.spawn(write(queue, output));
        Remote {
            orders,
            lines: Lines::new(lines),
            sweeps,
            reader,
            _writer: writer,
        }
    }

    /// See [`Child::next`].
    pub(crate) async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        self.lines.next().await
    }

    /// See [`Child::send`]. It is the runner's then; if the CLI does not take it, that shows as
    /// its silence or its end.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(CHUNK) {
            self.order(&Order::Input(Bytes::copy_from_slice(chunk)))
                .await?;
        }
        Ok(())
    }

    /// See [`Child::end`].
    pub(crate) async fn end(self, grace: Duration) -> Exit {
        self.finish(Order::End(grace), KILL_LIMIT + 2 * grace).await
    }

    /// See [`Child::kill`].
    pub(crate) async fn kill(self) -> Exit {
        self.finish(Order::Kill, KILL_LIMIT).await
    }

    /// See [`Child::kill_descendants`].
    pub(crate) async fn kill_descendants(&self) {
        let mut sweeps = self.sweeps.clone();
        let before = *sweeps.borrow_and_update();
        if self.order(&Order::Sweep).await.is_ok() {
            // A runner that does not answer is found gone or silent by the next wait.
            let _ = timeout(KILL_LIMIT, sweeps.wait_for(|count| *count > before)).await;
        }
    }

    async fn order(&self, order: &Order) -> io::Result<()> {
        let frame = encode(order)?;
        match timeout(WRITE_LIMIT, self.orders.send(frame)).await {
            Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn finish(mut self, order: Order, limit: Duration) -> Exit {
        // Fails where the runner is gone, which the reader has noticed too.
        let _ = self.order(&order).await;
        // What is still unread keeps the end from nobody.
        drop(self.lines);
        let ended = timeout(limit, self.reader.join_next()).await;
        match ended {
            Ok(Some(Ok(exit))) => exit,
            _ => lost("the agent's runner does not say how it ended"),
        }
    }
}

/// Connects and sends `start`; the answer, and what goes on from there.
async fn ask(
    access: &RunnerAccess,
    start: Order,
) -> io::Result<(Option<Report>, Frames<OwnedReadHalf>, OwnedWriteHalf)> {
    let stream = UnixStream::connect(&access.socket).await?;
    let (input, mut output) = stream.into_split();
    output.write_all(&encode(&start)?).await?;
    let mut frames = Frames::new(input);
    let report = frames.next().await?;
    Ok((report, frames, output))
}

fn unreachable(access: &RunnerAccess, why: &str) -> String {
    let socket = access.socket.display();
    format!(
        "The agent's runner does not answer at {socket}: {why}. Start `breakglass runner --listen \
         {socket}` in its container, or correct agent.runner. Power and checks work without it."
    )
}

fn lost(why: &str) -> Exit {
    Exit {
        status: None,
        last_words: String::new(),
        lost: Some(why.to_owned()),
    }
}

/// Takes the runner's frames apart until it says how the process ended, or is gone.
async fn read(
    mut frames: Frames<OwnedReadHalf>,
    unread: DuplexStream,
    swept: watch::Sender<u64>,
) -> Exit {
    // None once nobody reads any more, or there is nothing more to read.
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
                return lost("the agent's runner is gone");
            }
            Err(error) => return lost(&format!("the agent's runner is gone: {error}")),
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
