//! What the gate must know of a guest before it ends it: where it is, who decides about it, and
//! whether it could be started again.

/// Whether the guest could be started again after its end. The gate ends a guest that it means to
/// start only if this is [`WayBack::Proven`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WayBack {
    /// The driver was not asked, or has no answer.
    #[default]
    NotChecked,
    /// It could. Carries what was checked, and what can fail only at the start.
    Proven(String),
    /// It could not, or nothing proves that it could. Carries the reason and the remedy.
    Missing(String),
}

impl WayBack {
    /// Adds a requirement to a proven way back.
    pub(crate) fn require(&mut self, requirement: Result<(), String>) {
        if let (WayBack::Proven(_), Err(why)) = (&*self, requirement) {
            *self = WayBack::Missing(why);
        }
    }

    /// What proves the way back.
    ///
    /// # Errors
    /// Why nothing does, and the remedy.
    pub fn proof(&self) -> Result<&str, String> {
        match self {
            WayBack::Proven(what) => Ok(what),
            WayBack::Missing(why) => Err(why.clone()),
            WayBack::NotChecked => Err("the hypervisor did not report whether it could".to_owned()),
        }
    }
}

/// Where the guest's configuration is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Location {
    /// On this host, as far as is known.
    #[default]
    ThisHost,
    /// On this other node of the cluster.
    OtherNode(String),
    /// On no node of the cluster.
    Gone,
}

/// Whether high availability decides when the guest runs. If it does, start and stop are requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HighAvailability {
    /// It does not.
    #[default]
    NotManaged,
    /// It does. Carries the requested state: `started`, `stopped`, `disabled`.
    Managed(String),
    /// It can't be determined. Carries the reason.
    Unknown(String),
}

impl HighAvailability {
    /// Whether start and stop are known to be requests.
    #[must_use]
    pub fn decides(&self) -> bool {
        matches!(self, HighAvailability::Managed(_))
    }

    /// Whether the guest is requested to be off.
    #[must_use]
    pub fn wants_it_off(&self) -> bool {
        matches!(self, HighAvailability::Managed(state) if state != "started")
    }

    /// Whether the guest is managed; none if unknown.
    pub(crate) fn is_managed(&self) -> Option<bool> {
        match self {
            HighAvailability::NotManaged => Some(false),
            HighAvailability::Managed(_) => Some(true),
            HighAvailability::Unknown(_) => None,
        }
    }
}
