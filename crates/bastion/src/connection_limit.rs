//! Limits the number of connections of one incident; idle ones are dropped first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// Maximum number of open connections: twice the number of commands that may run.
pub(crate) const CONNECTIONS_MAX: usize = 128;

/// The open connections, the oldest first.
#[derive(Default)]
pub(crate) struct ConnectionLimit(Mutex<VecDeque<Connection>>);

struct Connection {
    commands: CommandCount,
    cancel: CancellationToken,
}

/// The number of commands that run over one connection.
#[derive(Clone, Default)]
pub(crate) struct CommandCount(Arc<AtomicUsize>);

/// A running command; it ends when this is dropped.
pub(crate) struct Running(CommandCount);

impl CommandCount {
    pub(crate) fn begin(&self) -> Running {
        self.0.fetch_add(1, Ordering::AcqRel);
        Running(self.clone())
    }

    fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection's slot; released when it is dropped.
pub(crate) struct ConnectionSlot {
    limit: Arc<ConnectionLimit>,
    pub(crate) commands: CommandCount,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let own = |other: &Connection| Arc::ptr_eq(&other.commands.0, &self.commands.0);
        self.limit.connections().retain(|other| !own(other));
    }
}

impl ConnectionLimit {
    /// Assigns a slot to `connection`. If all are used, the oldest idle connection is cancelled; `None` if
    /// commands run over all of them.
    pub(crate) fn enter(
        self: &Arc<ConnectionLimit>,
        connection: &CancellationToken,
    ) -> Option<ConnectionSlot> {
        let mut connections = self.connections();
        if connections.len() >= CONNECTIONS_MAX {
            let idle = connections
                .iter()
                .position(|other| other.commands.is_none())?;
            if let Some(oldest) = connections.remove(idle) {
                oldest.cancel.cancel();
            }
        }
        let commands = CommandCount::default();
        connections.push_back(Connection {
            commands: commands.clone(),
            cancel: connection.clone(),
        });
        let limit = Arc::clone(self);
        Some(ConnectionSlot { limit, commands })
    }

    fn connections(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(limit: &Arc<ConnectionLimit>) -> Option<(ConnectionSlot, CancellationToken)> {
        let connection = CancellationToken::new();
        let slot = limit.enter(&connection)?;
        Some((slot, connection))
    }

    #[test]
    fn oldest_idle_connection_is_dropped_for_a_new_one() {
        let limit = Arc::new(ConnectionLimit::default());
        let mut all: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|_| enter(&limit).unwrap())
            .collect();
        let _command = all[0].0.commands.begin();
        let (_newest, connection) = enter(&limit).unwrap();
        let gone: Vec<_> = (0..CONNECTIONS_MAX)
            .filter(|at| all[*at].1.is_cancelled())
            .collect();
        assert_eq!(gone, [1]);
        assert!(!connection.is_cancelled());
        // The slot of a connection that has ended is free, so none is dropped.
        drop(all.remove(5));
        assert!(enter(&limit).is_some());
        assert!(!all[2].1.is_cancelled());
    }

    #[test]
    fn busy_connections_are_never_dropped() {
        let limit = Arc::new(ConnectionLimit::default());
        let all: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|_| enter(&limit).unwrap())
            .collect();
        let mut running: Vec<_> = all.iter().map(|(slot, _)| slot.commands.begin()).collect();
        assert!(enter(&limit).is_none());
        assert!(all.iter().all(|(_, connection)| !connection.is_cancelled()));
        drop(running.pop());
        assert!(enter(&limit).is_some());
    }
}
