//! The one shape of a request to a target, from the HTTP handler or the bastion to SSH.

use breakglass_model::{Diagnosis, IncidentId, OperationId};
use breakglass_verbs::Verb;

use super::operation::{OperationKind, OperationState, OperationView};
use crate::permit::Permit;

/// What an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationAction {
    /// A verb, by the host's gate.
    Verb(Verb),
    /// A read-only diagnosis of the guest.
    Diagnosis(Diagnosis),
}

impl From<Verb> for OperationAction {
    fn from(verb: Verb) -> OperationAction {
        OperationAction::Verb(verb)
    }
}

impl From<Diagnosis> for OperationAction {
    fn from(diagnosis: Diagnosis) -> OperationAction {
        OperationAction::Diagnosis(diagnosis)
    }
}

impl OperationAction {
    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OperationAction::Verb(verb) => verb.as_str(),
            OperationAction::Diagnosis(diagnosis) => diagnosis.as_str(),
        }
    }

    /// The verb, if it is a mutating one.
    pub(crate) const fn mutating(self) -> Option<Verb> {
        match self {
            OperationAction::Verb(verb) if verb.is_mutating() => Some(verb),
            _ => None,
        }
    }

    const fn kind(self) -> OperationKind {
        match self {
            OperationAction::Verb(_) => OperationKind::Verb,
            OperationAction::Diagnosis(_) => OperationKind::Check,
        }
    }
}

/// A request to run one operation.
#[derive(Debug)]
pub struct OperationRequest {
    /// Who runs what on which target.
    pub permit: Permit,
    /// The incident to record it in. If it is missing or closed, the target's open incident, or a new one.
    pub incident: Option<IncidentId>,
    /// The caller's own name for the request.
    pub key: Option<IdempotencyKey>,
}

impl OperationRequest {
    /// A request without a preferred incident or an idempotency key.
    #[must_use]
    pub const fn new(permit: Permit) -> OperationRequest {
        OperationRequest {
            permit,
            incident: None,
            key: None,
        }
    }

    pub(crate) fn target(&self) -> &str {
        &self.permit.target.config.name
    }

    /// The key, unique to its actor, so that no actor can replay another's request.
    pub(crate) fn scoped_key(&self) -> Option<String> {
        let key = self.key.as_ref()?;
        Some(format!("{} {}", self.permit.actor, key.0))
    }

    /// The operation as the interface shows it at its start.
    pub(crate) fn view(&self, operation: OperationId, now: &str) -> OperationView {
        OperationView {
            operation,
            incident: self.incident,
            target: self.target().to_owned(),
            kind: self.permit.action.kind(),
            verb: self.permit.action.as_str().to_owned(),
            actor: self.permit.actor.clone(),
            state: OperationState::Running,
            outcome: None,
            verdict: None,
            message: None,
            started_at: now.to_owned(),
            duration_ms: None,
            lines: Vec::new(),
        }
    }
}

/// A caller's own name for one request: the same key never runs twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The text is not a valid idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 128 visible ASCII characters; send a random UUID")]
pub struct KeyFormat;

impl IdempotencyKey {
    /// A key of 1 to 128 visible ASCII characters.
    ///
    /// # Errors
    /// When `text` is anything else.
    pub fn new(text: &str) -> Result<IdempotencyKey, KeyFormat> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(IdempotencyKey(text.to_owned()))
        } else {
            Err(KeyFormat)
        }
    }
}

#[cfg(test)]
mod tests {
    use breakglass_model::Actor;

    use super::*;
    use crate::handle::TargetHandle;

    #[test]
    fn same_key_of_two_operators_is_two_keys() {
        let target = TargetHandle::unconnected("devvm");
        let scoped = |name: &str, key: &str| {
            let permit = Permit {
                actor: Actor::Operator(name.to_owned()),
                target: target.clone(),
                action: Verb::Status.into(),
            };
            let request = OperationRequest {
                key: Some(IdempotencyKey::new(key).unwrap()),
                ..OperationRequest::new(permit)
            };
            request.scoped_key()
        };
        assert_eq!(scoped("ann", "1"), scoped("ann", "1"));
        assert_ne!(scoped("ann", "1"), scoped("bob", "1"));
        // A name may contain spaces, a key may not: neither can be taken for a part of the other.
        assert_ne!(scoped("ann x", "1"), scoped("ann", "x1"));
        assert!(IdempotencyKey::new("x 1").is_err());
    }
}
