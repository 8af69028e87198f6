//! What all operations and watchers of one server share.

use std::sync::Arc;

use breakglass_log::Log;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handle::TargetHandle;
use crate::pictures::Pictures;
use crate::power::admission::AdmissionControl;
use crate::power::table::OperationTable;
use crate::ssh::DialMetrics;

pub(crate) struct Shared {
    pub(crate) targets: Vec<Arc<TargetHandle>>,
    pub(crate) log: Log,
    pub(crate) pictures: Pictures,
    pub(crate) operations: OperationTable,
    pub(crate) admission: Mutex<AdmissionControl>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the server shuts down.
    pub(crate) shutdown: CancellationToken,
    pub(crate) dial_metrics: DialMetrics,
}
