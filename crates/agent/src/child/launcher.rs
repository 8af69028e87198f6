//! One permanent thread that starts all children and sweeps up after them.
//!
//! The parent-death signal follows the **thread** that forked, not its process: a child that was
//! spawned from a pool thread dies when the pool retires that thread. This thread lives as long
//! as anybody holds a [`Launcher`], and every child holds one.

use std::io;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::confine::confine;
use super::sweep::sweep;
use crate::account::{Account, act_as};

/// Jobs that may wait at once.
const QUEUE: usize = 64;
/// How long a job may take, queue included.
const JOB_LIMIT: Duration = Duration::from_secs(10);

enum Job {
    Spawn(Box<Command>, Handle, oneshot::Sender<io::Result<Child>>),
    Sweep {
        mark: String,
        keep: Option<i32>,
        done: Option<oneshot::Sender<()>>,
    },
}

/// Reaches the launcher thread. Cheap to clone; the thread ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    jobs: mpsc::Sender<Job>,
    account: Option<Account>,
}

impl Launcher {
    /// Starts the thread, whose children run as `account`. If that fails, every
    /// [`Launcher::spawn`] does.
    pub(crate) fn start(account: Option<Account>) -> Launcher {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("agent-launcher".to_owned());
        if let Err(error) = thread.spawn(move || work(queue, account)) {
            tracing::error!(%error, "the launcher thread could not be started");
        }
        Launcher { jobs, account }
    }

    /// Starts `command` in a process group of its own, all standard streams piped.
    pub(super) async fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        confine(&mut command, self.account);
        let (reply, child) = oneshot::channel();
        let job = Job::Spawn(Box::new(command), Handle::current(), reply);
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

fn work(mut queue: mpsc::Receiver<Job>, account: Option<Account>) {
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Spawn(mut command, runtime, reply) => {
                let _runtime = runtime.enter();
                // Nobody waits any more: the child is dropped, and dies by that.
                let _ = reply.send(command.spawn());
            }
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
