use std::fmt;

/// The state of the guest after a verb, according to evidence and not to any exit code.
///
/// On the wire it is the gate's last line of output: `verdict: <this>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// QEMU's monitor answers, and the guest's processors run.
    Running,
    /// There is no QEMU process.
    Stopped,
    /// There is a QEMU process, but its monitor does not answer.
    MonitorDead,
    /// The QEMU process is in uninterruptible sleep and can't be killed.
    Unkillable,
    /// A lock forbids the verb. Carries the lock's name.
    Locked(String),
    /// High availability manages the guest: the request is registered and stays registered, but has
    /// not been carried out yet.
    HaManaged,
    /// The evidence is not conclusive. Carries the reason.
    Unknown(String),
}

/// How earlier gates wrote [`Verdict::HaManaged`].
const EARLIER_HA_MANAGED: &str = "ha-managed (will be undone)";

impl Verdict {
    /// The verdict whose wire form is exactly `text`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Verdict> {
        match text {
            "running" => Some(Verdict::Running),
            "stopped" => Some(Verdict::Stopped),
            "monitor-dead" => Some(Verdict::MonitorDead),
            "unkillable (D state)" => Some(Verdict::Unkillable),
            "ha-managed (requested; HA decides)" | EARLIER_HA_MANAGED => Some(Verdict::HaManaged),
            _ => {
                let (word, reason) = text.strip_suffix(')')?.split_once(" (")?;
                match word {
                    "locked" => Some(Verdict::Locked(reason.to_owned())),
                    "unknown" => Some(Verdict::Unknown(reason.to_owned())),
                    _ => None,
                }
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Running => f.write_str("running"),
            Verdict::Stopped => f.write_str("stopped"),
            Verdict::MonitorDead => f.write_str("monitor-dead"),
            Verdict::Unkillable => f.write_str("unkillable (D state)"),
            Verdict::Locked(by) => write!(f, "locked ({by})"),
            Verdict::HaManaged => f.write_str("ha-managed (requested; HA decides)"),
            Verdict::Unknown(why) => write!(f, "unknown ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_parses_from_its_own_line() {
        let all = [
            Verdict::Running,
            Verdict::Stopped,
            Verdict::MonitorDead,
            Verdict::Unkillable,
            Verdict::Locked("backup".into()),
            Verdict::HaManaged,
            Verdict::Unknown("the monitor said (nothing)".into()),
        ];
        for verdict in all {
            assert_eq!(Verdict::parse(&verdict.to_string()), Some(verdict));
        }
    }

    #[test]
    fn ha_verdict_of_an_earlier_gate_parses() {
        let earlier = "ha-managed (will be undone)";
        assert_eq!(Verdict::parse(earlier), Some(Verdict::HaManaged));
    }

    #[test]
    fn other_text_does_not_parse_as_a_verdict() {
        for text in ["", "Running", "running ", "locked", "locked (", "unknown"] {
            assert_eq!(Verdict::parse(text), None, "{text:?}");
        }
    }
}
