//! Starts control: builds its shared state, its watchers, and the bastion's port.

use std::sync::Arc;

use breakglass_log::Log;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent_port::AgentPort;
use crate::control::Control;
use crate::handle::TargetHandle;
use crate::pictures::Pictures;
use crate::power::admission::AdmissionControl;
use crate::power::table::OperationTable;
use crate::shared::Shared;
use crate::ssh::SshOptions;
use crate::target::Target;
use crate::watcher;

impl Control {
    /// Starts the watchers of `targets` on `tasks`; they end with `shutdown`. Operations run there too, and
    /// continue: see [`Control::drain`]. `pictures` keeps the screen as it was before each verb. Must be
    /// called inside a tokio runtime.
    #[must_use]
    pub fn new(
        targets: Vec<Target>,
        ssh: SshOptions,
        log: Log,
        pictures: Pictures,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> (Control, AgentPort) {
        let host_keys = ssh.host_keys();
        let dial_metrics = ssh.metrics.clone();
        let ssh = Arc::new(ssh);
        let handle = |target| Arc::new(TargetHandle::new(target, &ssh, &host_keys));
        let shared = Arc::new(Shared {
            targets: targets.into_iter().map(handle).collect(),
            log,
            pictures,
            operations: OperationTable::default(),
            admission: Mutex::new(AdmissionControl::default()),
            tasks,
            shutdown,
            dial_metrics,
        });
        for target in &shared.targets {
            watcher::spawn(&shared, target);
        }
        let control = Control { shared };
        let port = AgentPort::new(control.clone());
        (control, port)
    }
}
