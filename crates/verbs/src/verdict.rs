use std::fmt;

/// What the evidence says of the guest after a verb, never what an exit code said.
///
/// The wire form is the gate's last line of output, `verdict: <this>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is a QEMU process, its monitor answers, and the guest's processors run.
    Running,
    /// There is no QEMU process.
    Stopped,
    /// There is a QEMU process, and its monitor does not answer.
    MonitorDead,
    /// The QEMU process sits in uninterruptible sleep and can't be killed.
    Unkillable,
    /// A lock forbids it; holds the lock's name.
    Locked(String),
    /// High availability manages the guest: what was asked for is requested there and stays so, but is
    /// not done yet.
    HaManaged,
    /// The evidence does not decide; holds why.
    Unknown(String),
}

/// What earlier gates said for [`Verdict::HaManaged`].
const EARLIER_HA: &str = "ha-managed (will be undone)";

impl Verdict {
    /// The verdict whose wire form is exactly `text`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Verdict> {
        let with = |word: &str| {
            let inner = text
                .strip_prefix(word)?
                .strip_prefix(" (")?
                .strip_suffix(')')?;
            Some(inner.to_owned())
        };
        match text {
            "running" => Some(Verdict::Running),
            "stopped" => Some(Verdict::Stopped),
            "monitor-dead" => Some(Verdict::MonitorDead),
            "unkillable (D state)" => Some(Verdict::Unkillable),
            "ha-managed (requested; HA decides)" | EARLIER_HA => Some(Verdict::HaManaged),
            _ => with("locked")
                .map(Verdict::Locked)
                .or_else(|| with("unknown").map(Verdict::Unknown)),
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
    fn every_verdict_reads_back_from_its_own_line() {
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
    fn what_an_earlier_gate_says_of_high_availability_is_understood() {
        let earlier = "ha-managed (will be undone)";
        assert_eq!(Verdict::parse(earlier), Some(Verdict::HaManaged));
    }

    #[test]
    fn a_line_that_is_no_verdict_does_not_read_as_one() {
        for text in ["", "Running", "running ", "locked", "locked (", "unknown"] {
            assert_eq!(Verdict::parse(text), None, "{text:?}");
        }
    }
}
