use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use breakglass_config::check_identity;
use breakglass_model::Actor;

use crate::problem::Problem;

/// A proven identity of an operator. Only the `auth` module can create one, after it has checked a
/// request. A handler that takes an `Identity` therefore can't run without the check: without the
/// guard, extraction fails with 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    via: Via,
}

/// How an identity was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A header of a trusted proxy.
    Proxy,
    /// The bearer token.
    Token,
    /// The session cookie.
    Session,
}

impl Via {
    /// Whether a browser adds this proof by itself, even to requests of another site's page.
    #[must_use]
    pub const fn is_ambient(self) -> bool {
        matches!(self, Via::Proxy | Via::Session)
    }
}

impl Identity {
    pub(super) fn new(name: &str, via: Via) -> Result<Identity, &'static str> {
        check_identity(name)?;
        Ok(Identity {
            name: name.to_owned(),
            via,
        })
    }

    /// The name of the identity.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it was proved.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// The actor of this operator's events in the log.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Operator(self.name.clone())
    }
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Identity, Problem> {
        parts
            .extensions
            .get::<Identity>()
            .cloned()
            .ok_or_else(Problem::unauthorized)
    }
}
