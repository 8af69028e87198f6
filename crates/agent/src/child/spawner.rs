//! Two permanent threads: one takes the jobs one by one and sweeps, the other starts all children.
//!
//! The parent-death signal follows the **thread** that forked, not its process: a child that was spawned from a
//! pool thread dies when the pool retires that thread. These threads live as long as a [`Spawner`] exists, and
//! every child holds one. The thread that starts children may be confined, and its children inherit that;
//! processes that an earlier server left in another confinement are only visible from the other thread. A job
//! begins after the sweeps before it, so the sweep at the start never kills a new child.

use std::io;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::pre_exec::{self, SandboxSetup};
use super::sweep::sweep;
use crate::account::{Account, act_as};
use crate::confinement::{Confinement, confine_thread, isolation_rules};

/// Maximum number of waiting jobs.
const JOB_QUEUE: usize = 64;
/// Maximum duration of a job, including its time in the queue.
const JOB_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A handle to the threads, which end with the last clone. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
    account: Option<Account>,
}

impl Spawner {
    /// Starts the threads; children run as `account` and in `confinement`. If a thread can't be started, every
    /// [`Spawner::spawn`] fails.
    pub(crate) fn start(account: Option<Account>, confinement: Option<Confinement>) -> Spawner {
        let (jobs, queue) = mpsc::channel(JOB_QUEUE);
        let (spawns, commands) = std::sync::mpsc::sync_channel(JOB_QUEUE);
        start_thread("agent-spawner", move || {
            if let Some(confinement) = confinement {
                confine(&confinement);
            }
            spawn_all(&commands);
        });
        start_thread("agent-jobs", move || run_jobs(queue, &spawns, account));
        Spawner { jobs, account }
    }

    /// Starts `command` in its own process group, with all standard streams piped.
    pub(super) async fn spawn(
        &self,
        mut command: Command,
        setup: SandboxSetup,
    ) -> io::Result<Child> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        // A sandbox has namespaces instead, which can't be made within Landlock rules.
        let isolation = match setup.inherited {
            Some(_) => None,
            None => isolation_rules(),
        };
        pre_exec::prepare(&mut command, self.account, isolation, setup)?;
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

    /// Kills every process whose environment has an entry that begins with `mark`, except `keep`.
    pub(crate) async fn sweep(&self, mark: String, keep: Option<i32>) {
        let (reply, receiver) = oneshot::channel();
        let done = Some(reply);
        self.run(Job::Sweep { mark, keep, done }, receiver).await;
    }

    /// As [`Spawner::sweep`], for callers that can't wait.
    pub(crate) fn sweep_later(&self, mark: String) {
        let (keep, done) = (None, None);
        // If the queue is full, the sweep at the next start does it.
        let _ = self.jobs.try_send(Job::Sweep { mark, keep, done });
    }

    async fn run<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Option<T> {
        let work = async {
            self.jobs.send(job).await.ok()?;
            answer.await.ok()
        };
        timeout(JOB_TIMEOUT, work).await.ok().flatten()
    }
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned());
    if let Err(error) = thread.spawn(work) {
        tracing::error!(%error, name, "a thread could not be started");
    }
}

/// Without Landlock the agent still works: its account protects the server's files.
fn confine(confinement: &Confinement) {
    match confine_thread(confinement) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(
                "this kernel has no Landlock: the agent is confined by its account only"
            );
        }
        Err(error) => tracing::error!(%error, "the agent could not be confined by Landlock"),
    }
}

fn spawn_all(queue: &Receiver<Spawn>) {
    while let Ok(mut spawn) = queue.recv() {
        let _runtime = spawn.runtime.enter();
        // If the caller no longer waits, the child is dropped, which kills it.
        let _ = spawn.reply.send(spawn.command.spawn());
    }
}

fn run_jobs(mut queue: mpsc::Receiver<Job>, spawns: &SyncSender<Spawn>, account: Option<Account>) {
    while let Some(job) = queue.blocking_recv() {
        match job {
            // If the queue is full, the caller sees that the reply is dropped.
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

/// The environment of another account's process is readable to that account, and to root only if the container
/// left it the capability for that.
fn sweep_as(account: Option<Account>, mark: &str, keep: Option<i32>) {
    let swept = act_as(account, || {
        sweep(mark, keep);
        Ok(())
    });
    if let Err(error) = swept {
        tracing::error!(%error, "leftover processes of the agent could not be searched");
    }
}
