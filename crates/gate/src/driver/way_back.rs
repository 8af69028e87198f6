//! What has to be known of a guest before it is ended: where it lives, who decides about it, and
//! whether it could be started again.

/// Whether the guest could be started again, had it been ended. Nothing but [`WayBack::Seen`] lets
/// the gate end a guest that it means to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WayBack {
    /// The driver was not asked, or has no answer.
    #[default]
    NotAsked,
    /// It could; holds what was seen, and what shows only at the start.
    Seen(String),
    /// It could not, or nothing proves that it could; holds why, with the remedy.
    Missing(String),
}

impl WayBack {
    /// Shuts a way back that was seen, where something else that it needs is not there.
    pub(crate) fn needs(&mut self, other: Result<(), String>) {
        if let (WayBack::Seen(_), Err(why)) = (&*self, other) {
            *self = WayBack::Missing(why);
        }
    }

    /// What proves the way back.
    ///
    /// # Errors
    /// A sentence: why nothing does, and what to do.
    pub fn proven(&self) -> Result<&str, String> {
        match self {
            WayBack::Seen(what) => Ok(what),
            WayBack::Missing(why) => Err(why.clone()),
            WayBack::NotAsked => Err("nothing was seen that tells whether it could be".to_owned()),
        }
    }
}

/// Where the guest's configuration is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Home {
    /// On this host, as far as can be told.
    #[default]
    Here,
    /// On another host of the cluster, by its name.
    On(String),
    /// On no host of the cluster.
    Nowhere,
}

/// Whether high availability decides when the guest runs. Then a start or a stop is only a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ha {
    /// It does not.
    #[default]
    No,
    /// It does; holds the state that is requested there: `started`, `stopped`, `disabled`.
    Managed(String),
    /// It can't be told; holds why.
    Unknown(String),
}

impl Ha {
    /// Whether a start or a stop is known to be a mere request.
    #[must_use]
    pub fn decides(&self) -> bool {
        matches!(self, Ha::Managed(_))
    }

    /// Whether the guest is requested to be off.
    #[must_use]
    pub fn wants_it_off(&self) -> bool {
        matches!(self, Ha::Managed(state) if state != "started")
    }

    /// For programs; none where it is not known.
    pub(crate) fn is_managed(&self) -> Option<bool> {
        match self {
            Ha::No => Some(false),
            Ha::Managed(_) => Some(true),
            Ha::Unknown(_) => None,
        }
    }
}
