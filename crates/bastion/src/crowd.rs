//! The connections of one incident: a bounded number, of which those that say nothing go first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Connections that may be open at once; twice the commands that may run.
pub(crate) const CONNECTIONS: usize = 128;

/// All connections, the oldest first.
#[derive(Default)]
pub(crate) struct Crowd(Mutex<VecDeque<Member>>);

struct Member {
    work: Work,
    connection: CancellationToken,
}

/// How many commands run over one connection.
#[derive(Clone, Default)]
pub(crate) struct Work(Arc<AtomicUsize>);

/// A command that runs; over with its Drop.
pub(crate) struct Running(Work);

impl Work {
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

/// A connection's place in the crowd; given back by Drop.
pub(crate) struct Ticket {
    crowd: Arc<Crowd>,
    pub(crate) work: Work,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let own = |member: &Member| Arc::ptr_eq(&member.work.0, &self.work.0);
        self.crowd.members().retain(|member| !own(member));
    }
}

impl Crowd {
    /// Takes `connection` in. Where the crowd is full, the oldest connection over which nothing runs is
    /// cancelled; none is taken in where there is none such.
    pub(crate) fn enter(self: &Arc<Crowd>, connection: &CancellationToken) -> Option<Ticket> {
        let mut members = self.members();
        if members.len() >= CONNECTIONS {
            let idle = members.iter().position(|member| member.work.is_none())?;
            if let Some(oldest) = members.remove(idle) {
                oldest.connection.cancel();
            }
        }
        let work = Work::default();
        members.push_back(Member {
            work: work.clone(),
            connection: connection.clone(),
        });
        let crowd = Arc::clone(self);
        Some(Ticket { crowd, work })
    }

    fn members(&self) -> MutexGuard<'_, VecDeque<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(crowd: &Arc<Crowd>) -> Option<(Ticket, CancellationToken)> {
        let connection = CancellationToken::new();
        let ticket = crowd.enter(&connection)?;
        Some((ticket, connection))
    }

    #[test]
    fn the_oldest_connection_that_runs_nothing_makes_room_for_the_next() {
        let crowd = Arc::new(Crowd::default());
        let mut all: Vec<_> = (0..CONNECTIONS).map(|_| enter(&crowd).unwrap()).collect();
        let _command = all[0].0.work.begin();
        let (_newest, connection) = enter(&crowd).unwrap();
        let gone: Vec<_> = (0..CONNECTIONS)
            .filter(|at| all[*at].1.is_cancelled())
            .collect();
        assert_eq!(gone, [1]);
        assert!(!connection.is_cancelled());
        // The place of one that went by itself is free, and takes none from others.
        drop(all.remove(5));
        assert!(enter(&crowd).is_some());
        assert!(!all[2].1.is_cancelled());
    }

    #[test]
    fn connections_that_all_work_are_never_dropped() {
        let crowd = Arc::new(Crowd::default());
        let all: Vec<_> = (0..CONNECTIONS).map(|_| enter(&crowd).unwrap()).collect();
        let mut commands: Vec<_> = all.iter().map(|(ticket, _)| ticket.work.begin()).collect();
        assert!(enter(&crowd).is_none());
        assert!(all.iter().all(|(_, connection)| !connection.is_cancelled()));
        drop(commands.pop());
        assert!(enter(&crowd).is_some());
    }
}
