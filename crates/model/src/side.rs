/// One of a target's two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The machine that incidents are about.
    Guest,
    /// The hypervisor that the guest runs on.
    Host,
}

impl Side {
    /// `guest` or `host`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Guest => "guest",
            Side::Host => "host",
        }
    }
}
