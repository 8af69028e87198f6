//! What every long-running command shares: runtime, log output, and the end by signal.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Exit, Failure};

/// Runs `future` to its end on a runtime of two workers, enough for one operator and a crowd of
/// readers, and small in memory.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map(|runtime| runtime.block_on(future))
        .map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("no runtime could be started: {error}"),
            )
        })
}

/// Makes this process undumpable, before it reads any secret: another process of the same account,
/// such as the agent's CLI, can then neither trace it nor read its memory, its environment or what
/// its descriptors lead to, and no crash writes them to a file.
///
/// What is below `/proc/self` belongs to root from then on; a process still sees its own. A child
/// is dumpable again once it has executed a program, which the sweep for the agent's leftovers
/// needs: it reads their environment.
pub(crate) fn seal_memory() -> Result<(), Failure> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| setrlimit(Resource::Core, no_core))
        .map_err(|error| Failure::new(Exit::Failed, format!("memory can't be sealed: {error}")))
}

/// Logs to standard error as JSON, one event a line, a panic too; `BREAKGLASS_LOG` overrides `default`, for
/// all or by module: `info,breakglass_control=debug`.
pub(crate) fn init_tracing(default: LevelFilter) {
    let asked = std::env::var("BREAKGLASS_LOG").ok();
    let filter = asked
        .and_then(|text| text.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(default));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr);
    // Only fails where a subscriber stands already, and then that one is meant.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(%backtrace, "{panic}");
    }));
}

/// SIGINT and SIGTERM, caught from [`Interrupt::caught`] on: one that comes before anybody waits is
/// not lost, and does not end the process over what it has yet to put away.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Catches them; for the first line of a command that runs until it is told to end. Needs the
    /// runtime.
    pub(crate) fn caught() -> Result<Interrupt, Failure> {
        let failed = |error| {
            let message = format!("the signals to end by can't be caught: {error}");
            Failure::new(Exit::Failed, message)
        };
        Ok(Interrupt {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Resolves at the first of them.
    pub(crate) async fn received(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
