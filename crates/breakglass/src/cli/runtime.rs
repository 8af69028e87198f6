//! Shared by long-running commands: the async runtime, tracing, protected memory, and signals.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Exit, Failure};

/// Runs `future` to completion on a runtime with two worker threads: enough for an operator and many
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
                format!("the async runtime could not be started: {error}"),
            )
        })
}

/// Makes this process undumpable; to be called before it reads a secret. Other processes of the same
/// account, such as the agent's CLI, can then neither trace it nor read its memory, environment or
/// file descriptors, and a crash writes no core dump.
///
/// From then on `/proc/self` belongs to root, but the process can still read its own. A child becomes
/// dumpable again when it executes a program. The sweep for the agent's leftover processes depends on
/// that, because it reads their environment.
pub(crate) fn seal_memory() -> Result<(), Failure> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| setrlimit(Resource::Core, no_core))
        .map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("the memory can't be protected: {error}"),
            )
        })
}

/// Logs to standard error as JSON lines, including panics. `BREAKGLASS_LOG` overrides `default`, for all
/// or by module: `info,breakglass_control=debug`.
pub(crate) fn init_tracing(default: LevelFilter) {
    let setting = std::env::var("BREAKGLASS_LOG").ok();
    let filter = setting
        .and_then(|text| text.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(default));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr);
    // Fails only if a subscriber is already set; keep that one.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(%backtrace, "{panic}");
    }));
}

/// Handlers of SIGINT and SIGTERM. A signal that arrives before [`Interrupt::received`] is awaited is
/// not lost and does not kill the process before it has cleaned up.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Installs the handlers. Call this first in a command that runs until a signal. Needs the runtime.
    pub(crate) fn install() -> Result<Interrupt, Failure> {
        let failed = |error| {
            let message = format!("the signal handlers can't be installed: {error}");
            Failure::new(Exit::Failed, message)
        };
        Ok(Interrupt {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Resolves at the first signal.
    pub(crate) async fn received(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
