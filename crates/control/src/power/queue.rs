//! Admission: decides, and touches nothing.
//!
//! Per target there is room for one mutating verb and a few read-only operations beside it;
//! targets don't know of each other. An idempotency key stands for the first request that was
//! admitted under it, for as long as it is remembered.

use std::collections::{HashMap, HashSet, VecDeque};

use breakglass_model::OperationId;
use breakglass_verbs::Verb;

use crate::checks::Check;
use crate::permit::Refusal;

/// Read-only operations that may run on one target at a time. With one mutating verb and the
/// watchers' own samples they stay below the sessions that sshd grants per connection.
pub(crate) const READ_ONLY_ROOM: usize = 5;
/// Keys that are remembered; far more than are pressed in an incident.
const KEYS: usize = 4096;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Verb(Verb),
    Check(Check),
}

impl What {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            What::Verb(verb) => verb.as_str(),
            What::Check(check) => check.as_str(),
        }
    }

    const fn mutating(self) -> Option<Verb> {
        match self {
            What::Verb(verb) if verb.is_mutating() => Some(verb),
            _ => None,
        }
    }
}

/// Someone's wish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) operation: OperationId,
    pub(crate) target: &'a str,
    pub(crate) what: What,
    pub(crate) key: Option<&'a str>,
    /// RFC 3339.
    pub(crate) now: &'a str,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Run it, and call [`Queue::finish`] when it has ended.
    Admitted,
    /// The key's request was admitted before, as this operation.
    Replayed(OperationId),
    /// Don't.
    Refused(Refusal),
}

/// Who is admitted now.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: HashMap<String, Lane>,
    claims: HashMap<String, Claim>,
    oldest_first: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Lane {
    mutating: Option<Ticket>,
    reading: HashSet<OperationId>,
}

#[derive(Debug)]
struct Ticket {
    operation: OperationId,
    verb: Verb,
    since: String,
}

#[derive(Debug)]
struct Claim {
    operation: OperationId,
    target: String,
    what: String,
}

impl Queue {
    /// Decides on `request`, and books what it admits.
    pub(crate) fn admit(&mut self, request: &Request<'_>) -> Admission {
        if let Some(claim) = request.key.and_then(|key| self.claims.get(key)) {
            return claim.answer(request);
        }
        let lane = self.lanes.entry(request.target.to_owned()).or_default();
        if let Err(refusal) = lane.enter(request) {
            return Admission::Refused(refusal);
        }
        if let Some(key) = request.key {
            self.claim(
                key,
                request.operation,
                request.target,
                request.what.as_str(),
            );
        }
        Admission::Admitted
    }

    /// Gives back the room of an operation that has ended. Its key stays taken.
    pub(crate) fn finish(&mut self, target: &str, operation: OperationId) {
        if let Some(lane) = self.lanes.get_mut(target) {
            lane.mutating
                .take_if(|ticket| ticket.operation == operation);
            lane.reading.remove(&operation);
        }
    }

    /// The mutating verb that runs on `target`.
    pub(crate) fn mutating(&self, target: &str) -> Option<OperationId> {
        self.lanes
            .get(target)?
            .mutating
            .as_ref()
            .map(|ticket| ticket.operation)
    }

    /// Lets `key` stand for `operation` from now on: what was admitted in an earlier life of
    /// the server counts for more than what was admitted since.
    pub(crate) fn claim(&mut self, key: &str, operation: OperationId, target: &str, what: &str) {
        let claim = Claim {
            operation,
            target: target.to_owned(),
            what: what.to_owned(),
        };
        if self.claims.insert(key.to_owned(), claim).is_some() {
            return;
        }
        self.oldest_first.push_back(key.to_owned());
        if self.oldest_first.len() > KEYS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.claims.remove(&oldest);
        }
    }
}

impl Lane {
    fn enter(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let target = || request.target.to_owned();
        let Some(verb) = request.what.mutating() else {
            if self.reading.len() >= READ_ONLY_ROOM {
                return Err(Refusal::TooMany {
                    target: target(),
                    running: self.reading.len(),
                });
            }
            self.reading.insert(request.operation);
            return Ok(());
        };
        if let Some(ticket) = &self.mutating {
            return Err(Refusal::Busy {
                operation: ticket.operation,
                verb: ticket.verb,
                target: target(),
                since: ticket.since.clone(),
            });
        }
        let since = request.now.to_owned();
        self.mutating = Some(Ticket {
            operation: request.operation,
            verb,
            since,
        });
        Ok(())
    }
}

impl Claim {
    fn answer(&self, request: &Request<'_>) -> Admission {
        if self.target == request.target && self.what == request.what.as_str() {
            return Admission::Replayed(self.operation);
        }
        Admission::Refused(Refusal::KeyReused {
            operation: self.operation,
            what: self.what.clone(),
            target: self.target.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const TARGETS: [&str; 2] = ["one", "two"];
    const WHATS: [What; 5] = [
        What::Verb(Verb::Status),
        What::Verb(Verb::Cycle),
        What::Verb(Verb::Start),
        What::Check(Check::Disk),
        What::Check(Check::Load),
    ];
    const KEYS_USED: [&str; 3] = ["k1", "k2", "k3"];

    #[derive(Debug, Clone)]
    enum Step {
        Ask {
            target: usize,
            what: usize,
            key: Option<usize>,
        },
        EndOneOf(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..TARGETS.len(), 0..WHATS.len(), proptest::option::of(0..KEYS_USED.len()))
                .prop_map(|(target, what, key)| Step::Ask { target, what, key }),
            1 => (0..20usize).prop_map(Step::EndOneOf),
        ]
    }

    /// The same rules, as slow and plain as they can be told.
    #[derive(Default)]
    struct Shadow {
        running: Vec<(OperationId, usize, usize)>,
        keys: Vec<(usize, OperationId, usize, usize)>,
    }

    impl Shadow {
        fn expect(
            &mut self,
            id: OperationId,
            target: usize,
            what: usize,
            key: Option<usize>,
        ) -> &'static str {
            if let Some(entry) = self.keys.iter().find(|entry| Some(entry.0) == key) {
                return if (entry.2, entry.3) == (target, what) {
                    "replayed"
                } else {
                    "key reused"
                };
            }
            let mutates =
                |what: usize| matches!(WHATS[what], What::Verb(verb) if verb.is_mutating());
            let like_it = |entry: &&(OperationId, usize, usize)| {
                entry.1 == target && mutates(entry.2) == mutates(what)
            };
            let others = self.running.iter().filter(like_it).count();
            if mutates(what) && others == 1 {
                return "busy";
            }
            if !mutates(what) && others == READ_ONLY_ROOM {
                return "too many";
            }
            self.running.push((id, target, what));
            self.keys.extend(key.map(|key| (key, id, target, what)));
            "admitted"
        }
    }

    fn word(admission: &Admission) -> &'static str {
        match admission {
            Admission::Admitted => "admitted",
            Admission::Replayed(_) => "replayed",
            Admission::Refused(Refusal::Busy { .. }) => "busy",
            Admission::Refused(Refusal::KeyReused { .. }) => "key reused",
            Admission::Refused(Refusal::TooMany { .. }) => "too many",
            Admission::Refused(_) => "something else",
        }
    }

    fn ask(
        queue: &mut Queue,
        operation: u128,
        target: &str,
        what: What,
        key: Option<&str>,
    ) -> Admission {
        let operation = Uuid::from_u128(operation);
        queue.admit(&Request {
            operation,
            target,
            what,
            key,
            now: "now",
        })
    }

    proptest! {
        #[test]
        fn every_decision_is_the_shadow_models(steps in proptest::collection::vec(step(), 1..120)) {
            let (mut queue, mut shadow) = (Queue::default(), Shadow::default());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Ask { target, what, key } => {
                        let id = number as u128;
                        let expected = shadow.expect(Uuid::from_u128(id), target, what, key);
                        let key = key.map(|key| KEYS_USED[key]);
                        let decided = ask(&mut queue, id, TARGETS[target], WHATS[what], key);
                        prop_assert_eq!(word(&decided), expected);
                    }
                    Step::EndOneOf(pick) if !shadow.running.is_empty() => {
                        let pick = pick % shadow.running.len();
                        let (id, target, _) = shadow.running.swap_remove(pick);
                        queue.finish(TARGETS[target], id);
                    }
                    Step::EndOneOf(_) => {}
                }
            }
        }
    }

    #[test]
    fn busy_names_the_operation_to_attach_to() {
        let mut queue = Queue::default();
        assert_eq!(
            ask(&mut queue, 1, "one", WHATS[1], None),
            Admission::Admitted
        );
        let busy = Refusal::Busy {
            operation: Uuid::from_u128(1),
            verb: Verb::Cycle,
            target: "one".into(),
            since: "now".into(),
        };
        assert_eq!(
            ask(&mut queue, 2, "one", WHATS[2], None),
            Admission::Refused(busy)
        );
        assert_eq!(queue.mutating("one"), Some(Uuid::from_u128(1)));
        assert_eq!(queue.mutating("two"), None);
    }

    #[test]
    fn a_refused_request_does_not_take_its_key() {
        let mut queue = Queue::default();
        ask(&mut queue, 1, "one", WHATS[1], None);
        assert_eq!(
            word(&ask(&mut queue, 2, "one", WHATS[2], Some("k"))),
            "busy"
        );
        queue.finish("one", Uuid::from_u128(1));
        assert_eq!(
            ask(&mut queue, 3, "one", WHATS[2], Some("k")),
            Admission::Admitted
        );
        queue.finish("one", Uuid::from_u128(3));
        let again = ask(&mut queue, 4, "one", WHATS[2], Some("k"));
        assert_eq!(again, Admission::Replayed(Uuid::from_u128(3)));
    }

    #[test]
    fn keys_are_remembered_within_bounds() {
        let mut queue = Queue::default();
        for number in 0..2 * KEYS as u128 {
            ask(
                &mut queue,
                number,
                "one",
                WHATS[0],
                Some(&format!("k{number}")),
            );
            queue.finish("one", Uuid::from_u128(number));
        }
        assert_eq!(queue.claims.len(), KEYS);
        assert_eq!(queue.oldest_first.len(), KEYS);
    }
}
