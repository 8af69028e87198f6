//! Two permanent threads: one takes the jobs one by one and sweeps up, the other starts all children.
//!
//! The parent-death signal follows the **thread** that forked, not its process: a child that was
//! spawned from a pool thread dies when the pool retires that thread. These live as long as
//! anybody holds a [`Launcher`], and every child holds one. What starts children may be in walls,
//! which all children inherit; what an earlier server has left in others is seen from outside alone.
//! A job begins when the sweeps before it are over, so that the one at the start kills nothing new.

use std::io;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::confine::{Passage, confine};
use super::sweep::sweep;
use super::walls;
use crate::account::{Account, act_as};
use crate::options::Walls;

/// Jobs that may wait at once.
const QUEUE: usize = 64;
/// How long a job may take, queue included.
const JOB_LIMIT: Duration = Duration::from_secs(10);

enum Job {
    Spawn(Spawn),
    Sweep {
        mark: String,
        keep: Option<i32>,
        done: Option<oneshot::Sender<()>>,
    },
}

struct Spawn {
    command: Box<Command>,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Reaches the threads. Cheap to clone; they end with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    jobs: mpsc::Sender<Job>,
    account: Option<Account>,
}

impl Launcher {
    /// Starts the threads, whose children run as `account` and in `walls`. If that fails, every
    /// [`Launcher::spawn`] does.
    pub(crate) fn start(account: Option<Account>, walls: Option<Walls>) -> Launcher {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (spawns, commands) = std::sync::mpsc::sync_channel(QUEUE);
        begin("agent-starter", move || {
            if let Some(walls) = walls {
                shut_in(&walls);
            }
            spawn_all(&commands);
        });
        begin("agent-launcher", move || work(queue, &spawns, account));
        Launcher { jobs, account }
    }

    /// Starts `command` in a process group of its own, all standard streams piped.
    pub(super) async fn spawn(&self, mut command: Command, passage: Passage) -> io::Result<Child> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        // A sandbox has namespaces instead, which can't be made within walls.
        let apart = match passage.inherited {
            Some(_) => None,
            None => walls::apart(),
        };
        confine(&mut command, self.account, apart, passage)?;
        let (reply, child) = oneshot::channel();
        let job = Job::Spawn(Spawn {
            command: Box::new(command),
            runtime: Handle::current(),
            reply,
        });
        self.run(job, child).await.unwrap_or_else(|| {
            Err(io::Error::other(
                "the thread that starts processes does not answer",
            ))
        })
    }

    /// Kills every process whose environment has an entry that begins with `mark`, but not `keep`.
    pub(crate) async fn sweep(&self, mark: String, keep: Option<i32>) {
        let (reply, done) = oneshot::channel();
        self.run(
            Job::Sweep {
                mark,
                keep,
                done: Some(reply),
            },
            done,
        )
        .await;
    }

    /// As [`Launcher::sweep`], from where nothing can wait.
    pub(crate) fn sweep_later(&self, mark: String) {
        // A full queue leaves it to the sweep at the next start.
        let _ = self.jobs.try_send(Job::Sweep {
            mark,
            keep: None,
            done: None,
        });
    }

    async fn run<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Option<T> {
        let work = async {
            self.jobs.send(job).await.ok()?;
            answer.await.ok()
        };
        timeout(JOB_LIMIT, work).await.ok().flatten()
    }
}

fn begin(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned());
    if let Err(error) = thread.spawn(work) {
        tracing::error!(%error, name, "a thread could not be started");
    }
}

/// Walls that can't be had are no reason for no agent: each of the others stands without them.
fn shut_in(walls: &Walls) {
    match walls::shut_in(walls) {
        Ok(true) => {}
        Ok(false) => tracing::warn!("this kernel has no Landlock: the agent has fewer walls"),
        Err(error) => tracing::error!(%error, "the agent could not be shut in by Landlock"),
    }
}

fn spawn_all(queue: &Receiver<Spawn>) {
    while let Ok(mut spawn) = queue.recv() {
        let _runtime = spawn.runtime.enter();
        // Nobody waits any more: the child is dropped, and dies by that.
        let _ = spawn.reply.send(spawn.command.spawn());
    }
}

fn work(mut queue: mpsc::Receiver<Job>, spawns: &SyncSender<Spawn>, account: Option<Account>) {
    while let Some(job) = queue.blocking_recv() {
        match job {
            // A full queue refuses it, which its dropped reply says.
            Job::Spawn(spawn) => drop(spawns.try_send(spawn)),
            Job::Sweep { mark, keep, done } => {
                sweep_as(account, &mark, keep);
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
        }
    }
}

/// Another account's processes show their environment to itself, and to root only where a container
/// has left it the capability for that.
fn sweep_as(account: Option<Account>, mark: &str, keep: Option<i32>) {
    let swept = act_as(account, || {
        sweep(mark, keep);
        Ok(())
    });
    if let Err(error) = swept {
        tracing::error!(%error, "what the agent has left can't be looked for");
    }
}
