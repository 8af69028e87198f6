use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use breakglass_config::check_identity;
use breakglass_model::Actor;

use crate::http::Problem;

/// An operator who proved who they are. Only this module's parent makes one, after checking a
/// request, so a handler that takes an `Identity` can't be reached without the check: where the
/// guard did not run, extraction fails with 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    via: Via,
}

/// How an identity was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A trusted proxy named it.
    Proxy,
    /// The bearer token.
    Token,
    /// The session cookie.
    Session,
}

impl Via {
    /// Whether a browser sends this proof by itself, also on behalf of another site.
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

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it was proved.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// Who the log says it was.
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
