//! Admission: decides whether a request is run, replayed or refused. Pure: it touches no target.
//!
//! Each target can run one mutating verb, and a few read-only operations at the same time; targets are
//! independent. An idempotency key belongs to the first request that was admitted under it, for as long as
//! the key is remembered.

use std::collections::{HashMap, HashSet, VecDeque};

use breakglass_model::OperationId;
use breakglass_verbs::Verb;

use super::request::OperationRequest;
use crate::refusal::Refusal;

/// Maximum number of read-only operations on one target at a time. With one mutating verb and the
/// watchers' probes they stay below the sessions that sshd allows per connection.
const READ_ONLY_OPERATIONS_MAX: usize = 5;
/// Maximum number of idempotency keys to remember; far more than one incident uses.
const KEYS_MAX: usize = 4096;

/// The decision on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Run it, and call [`AdmissionControl::release`] when it has ended.
    Admitted,
    /// The key's request was admitted before, as this operation.
    Replayed(OperationId),
    /// Don't run it.
    Refused(Refusal),
}

/// The admitted operations, and the keys that were used.
#[derive(Debug, Default)]
pub(crate) struct AdmissionControl {
    running: HashMap<String, RunningOperations>,
    keys: HashMap<String, KeyClaim>,
    oldest_keys_first: VecDeque<String>,
}

#[derive(Debug, Default)]
struct RunningOperations {
    mutating: Option<RunningVerb>,
    read_only: HashSet<OperationId>,
}

#[derive(Debug)]
struct RunningVerb {
    operation: OperationId,
    verb: Verb,
    since: String,
}

#[derive(Debug)]
struct KeyClaim {
    operation: OperationId,
    target: String,
    what: String,
}

impl AdmissionControl {
    /// Decides on `request` at the time `now` (RFC 3339), and registers `operation` if it is admitted.
    pub(crate) fn admit(
        &mut self,
        operation: OperationId,
        request: &OperationRequest,
        now: &str,
    ) -> Admission {
        let key = request.scoped_key();
        if let Some(claim) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return claim.admission(request);
        }
        let running = self.running.entry(request.target().to_owned()).or_default();
        if let Err(refusal) = running.add(operation, request, now) {
            return Admission::Refused(refusal);
        }
        if let Some(key) = key {
            let what = request.permit.action.as_str();
            self.claim_key(key, operation, request.target(), what);
        }
        Admission::Admitted
    }

    /// Releases the place of an operation that has ended. Its key stays used.
    pub(crate) fn release(&mut self, target: &str, operation: OperationId) {
        if let Some(running) = self.running.get_mut(target) {
            running.mutating.take_if(|verb| verb.operation == operation);
            running.read_only.remove(&operation);
        }
    }

    /// The mutating verb that is running on `target`.
    pub(crate) fn mutating(&self, target: &str) -> Option<OperationId> {
        let verb = self.running.get(target)?.mutating.as_ref()?;
        Some(verb.operation)
    }

    /// Assigns `key` to `operation` from now on. An operation from before the server's restart replaces
    /// one that was admitted since.
    pub(crate) fn claim_key(
        &mut self,
        key: String,
        operation: OperationId,
        target: &str,
        what: &str,
    ) {
        let claim = KeyClaim {
            operation,
            target: target.to_owned(),
            what: what.to_owned(),
        };
        if self.keys.insert(key.clone(), claim).is_some() {
            return;
        }
        self.oldest_keys_first.push_back(key);
        if self.oldest_keys_first.len() > KEYS_MAX
            && let Some(oldest) = self.oldest_keys_first.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

impl RunningOperations {
    fn add(
        &mut self,
        operation: OperationId,
        request: &OperationRequest,
        now: &str,
    ) -> Result<(), Refusal> {
        let target = request.target().to_owned();
        let Some(verb) = request.permit.action.mutating() else {
            let running = self.read_only.len();
            if running >= READ_ONLY_OPERATIONS_MAX {
                return Err(Refusal::TooMany { target, running });
            }
            self.read_only.insert(operation);
            return Ok(());
        };
        if let Some(running) = &self.mutating {
            return Err(Refusal::Busy {
                operation: running.operation,
                verb: running.verb,
                target,
                since: running.since.clone(),
            });
        }
        self.mutating = Some(RunningVerb {
            operation,
            verb,
            since: now.to_owned(),
        });
        Ok(())
    }
}

impl KeyClaim {
    fn admission(&self, request: &OperationRequest) -> Admission {
        if self.target == request.target() && self.what == request.permit.action.as_str() {
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
    use std::sync::Arc;

    use breakglass_model::Actor;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::handle::TargetHandle;
    use crate::permit::Permit;
    use crate::power::{IdempotencyKey, OperationAction};
    use breakglass_model::Diagnosis;

    const TARGETS: [&str; 2] = ["one", "two"];
    const ACTIONS: [OperationAction; 5] = [
        OperationAction::Verb(Verb::Status),
        OperationAction::Verb(Verb::Cycle),
        OperationAction::Verb(Verb::Start),
        OperationAction::Diagnosis(Diagnosis::Disk),
        OperationAction::Diagnosis(Diagnosis::Load),
    ];
    const KEYS: [&str; 3] = ["k1", "k2", "k3"];

    #[derive(Debug, Clone)]
    enum Step {
        Submit {
            target: usize,
            action: usize,
            key: Option<usize>,
        },
        EndOneOf(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..TARGETS.len(), 0..ACTIONS.len(), proptest::option::of(0..KEYS.len()))
                .prop_map(|(target, action, key)| Step::Submit { target, action, key }),
            1 => (0..20usize).prop_map(Step::EndOneOf),
        ]
    }

    /// The same rules in the simplest form.
    #[derive(Default)]
    struct Model {
        running: Vec<(OperationId, usize, usize)>,
        keys: Vec<(usize, OperationId, usize, usize)>,
    }

    impl Model {
        fn expected(
            &mut self,
            id: OperationId,
            target: usize,
            action: usize,
            key: Option<usize>,
        ) -> &'static str {
            if let Some(entry) = self.keys.iter().find(|entry| Some(entry.0) == key) {
                let is_same = (entry.2, entry.3) == (target, action);
                return if is_same { "replayed" } else { "key reused" };
            }
            let mutates = |action: usize| ACTIONS[action].mutating().is_some();
            let of_same_kind = |entry: &&(OperationId, usize, usize)| {
                entry.1 == target && mutates(entry.2) == mutates(action)
            };
            let others = self.running.iter().filter(of_same_kind).count();
            if mutates(action) && others == 1 {
                return "busy";
            }
            if !mutates(action) && others == READ_ONLY_OPERATIONS_MAX {
                return "too many";
            }
            self.running.push((id, target, action));
            self.keys.extend(key.map(|key| (key, id, target, action)));
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
            Admission::Refused(_) => "another refusal",
        }
    }

    struct Bench {
        targets: [Arc<TargetHandle>; 2],
        admission: AdmissionControl,
    }

    impl Bench {
        fn new() -> Bench {
            Bench {
                targets: TARGETS.map(TargetHandle::unconnected),
                admission: AdmissionControl::default(),
            }
        }

        fn submit(
            &mut self,
            operation: u128,
            target: usize,
            action: OperationAction,
            key: Option<&str>,
        ) -> Admission {
            let permit = Permit {
                actor: Actor::System,
                target: Arc::clone(&self.targets[target]),
                action,
            };
            let request = OperationRequest {
                key: key.map(|key| IdempotencyKey::new(key).unwrap()),
                ..OperationRequest::new(permit)
            };
            let operation = Uuid::from_u128(operation);
            self.admission.admit(operation, &request, "now")
        }

        fn end(&mut self, target: usize, operation: u128) {
            let operation = Uuid::from_u128(operation);
            self.admission.release(TARGETS[target], operation);
        }
    }

    proptest! {
        #[test]
        fn every_decision_matches_the_model(steps in proptest::collection::vec(step(), 1..120)) {
            let mut bench = Bench::new();
            let mut model = Model::default();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Submit { target, action, key } => {
                        let id = number as u128;
                        let expected = model.expected(Uuid::from_u128(id), target, action, key);
                        let key = key.map(|key| KEYS[key]);
                        let decided = bench.submit(id, target, ACTIONS[action], key);
                        prop_assert_eq!(word(&decided), expected);
                    }
                    Step::EndOneOf(pick) if !model.running.is_empty() => {
                        let pick = pick % model.running.len();
                        let (id, target, _) = model.running.swap_remove(pick);
                        bench.admission.release(TARGETS[target], id);
                    }
                    Step::EndOneOf(_) => {}
                }
            }
        }
    }

    #[test]
    fn busy_names_the_operation_to_attach_to() {
        let mut bench = Bench::new();
        assert_eq!(bench.submit(1, 0, ACTIONS[1], None), Admission::Admitted);
        let busy = Refusal::Busy {
            operation: Uuid::from_u128(1),
            verb: Verb::Cycle,
            target: "one".into(),
            since: "now".into(),
        };
        assert_eq!(
            bench.submit(2, 0, ACTIONS[2], None),
            Admission::Refused(busy)
        );
        assert_eq!(bench.admission.mutating("one"), Some(Uuid::from_u128(1)));
        assert_eq!(bench.admission.mutating("two"), None);
    }

    #[test]
    fn refused_request_does_not_use_its_key() {
        let mut bench = Bench::new();
        bench.submit(1, 0, ACTIONS[1], None);
        assert_eq!(word(&bench.submit(2, 0, ACTIONS[2], Some("k"))), "busy");
        bench.end(0, 1);
        let admitted = bench.submit(3, 0, ACTIONS[2], Some("k"));
        assert_eq!(admitted, Admission::Admitted);
        bench.end(0, 3);
        let again = bench.submit(4, 0, ACTIONS[2], Some("k"));
        assert_eq!(again, Admission::Replayed(Uuid::from_u128(3)));
    }

    #[test]
    fn number_of_remembered_keys_is_bounded() {
        let mut bench = Bench::new();
        for number in 0..2 * KEYS_MAX as u128 {
            bench.submit(number, 0, ACTIONS[0], Some(&format!("k{number}")));
            bench.end(0, number);
        }
        assert_eq!(bench.admission.keys.len(), KEYS_MAX);
        assert_eq!(bench.admission.oldest_keys_first.len(), KEYS_MAX);
    }
}
