//! Turns the results of probes into vital signs for the page, and into signs for the rules.

use std::time::Duration;

use breakglass_model::{Time, VerbOutcome, Vital, VitalState, Vitals};
use breakglass_verbs::Verdict;

use crate::findings::GuestSign;
use crate::invoke::VerbResult;
use crate::ssh::SshError;

/// Time within which the guest is expected to answer; after it the missing answer is reported, and the wait
/// continues.
pub(crate) const GUEST_ANSWER_EXPECTED: Duration = Duration::from_secs(2);
/// An answer that takes longer is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// The vital signs with their times, as part of a sentence.
pub(super) fn summary(vitals: &Vitals) -> String {
    let part = |name: &str, vital: &Vital| {
        format!("{name} {} (at {})", vital.text, vital.seen.time_of_day())
    };
    let ssh = part("SSH", &vitals.ssh);
    let vm = part("machine", &vitals.vm);
    let finding = match &vitals.finding {
        Some(finding) => format!("; {}", finding.summary),
        None => String::new(),
    };
    let text = format!("{ssh}; {vm}{finding}");
    text.trim_end_matches('.').to_owned()
}

pub(super) fn guest_vital(
    last: &Vital,
    answer: &Result<Option<u32>, SshError>,
    took: Duration,
    now: Time,
) -> Vital {
    let ms = took.as_millis();
    let (state, text) = match answer {
        Ok(Some(0)) if took < SLOW_AFTER => (VitalState::Good, format!("answers in {ms} ms")),
        Ok(Some(0)) => (VitalState::Slow, format!("slow: answers in {ms} ms")),
        Ok(_) => (VitalState::Slow, "answers, but runs no command".to_owned()),
        Err(error) => unanswered(last, error, now),
    };
    vital(last, state, text, now)
}

/// A guest that has not answered yet, but still may.
pub(super) fn guest_wait(last: &Vital, now: Time) -> Vital {
    if last.state == VitalState::Dead {
        return last.clone();
    }
    let text = format!("no answer for {} s yet", GUEST_ANSWER_EXPECTED.as_secs());
    vital(last, VitalState::Slow, text, now)
}

/// A host that has not answered for `waited`, but still may.
pub(super) fn host_wait(last: &Vital, waited: Duration, is_unknown: bool, now: Time) -> Vital {
    let text = format!("no answer from the host for {} s yet", waited.as_secs());
    match last.state {
        _ if is_unknown => vital(last, VitalState::Unknown, text, now),
        VitalState::Good | VitalState::Slow => vital(last, VitalState::Slow, text, now),
        // Waiting makes a dead or unknown host no better.
        VitalState::Dead | VitalState::Unknown => last.clone(),
    }
}

pub(super) const fn guest_sign(answer: &Result<Option<u32>, SshError>) -> GuestSign {
    match answer {
        Ok(Some(0)) => GuestSign::Answers,
        Ok(_)
        | Err(
            SshError::KeyRefused { .. }
            | SshError::HostKeyChanged { .. }
            | SshError::HostKeyUnknown { .. }
            | SshError::ShutOut { .. }
            | SshError::Crowded { .. }
            | SshError::NoSession { .. }
            | SshError::Protocol { .. },
        ) => GuestSign::AnswersOddly,
        Err(SshError::HostKeyFile { .. } | SshError::HeldBack { .. }) => GuestSign::Unknown,
        Err(SshError::Unreachable { refused: true, .. }) => GuestSign::Refuses,
        Err(SshError::Unreachable { .. } | SshError::TimedOut { .. } | SshError::Lost { .. }) => {
            GuestSign::Silent
        }
    }
}

fn unanswered(last: &Vital, error: &SshError, now: Time) -> (VitalState, String) {
    let unknown = |text: &str| (VitalState::Unknown, text.to_owned());
    let cause = match error {
        SshError::KeyRefused { .. } => return unknown("refuses the key"),
        SshError::HostKeyChanged { .. } => {
            return unknown("shows another host key than the pinned one");
        }
        SshError::HostKeyUnknown { .. } => return unknown("shows a host key that is not pinned"),
        SshError::HostKeyFile { .. } => return unknown(&error.to_string()),
        SshError::ShutOut { .. } => {
            return unknown(
                "answers, but its sshd refuses this machine for now (PerSourcePenalties, MaxStartups)",
            );
        }
        SshError::HeldBack { .. } => return unknown("not probed: recent logins there failed"),
        SshError::Crowded { .. } | SshError::NoSession { .. } => {
            return unknown("answers, but its sshd allows no session now (MaxSessions)");
        }
        SshError::Protocol { cause, .. } => {
            let text = format!("answers, but not like an SSH server: {cause}");
            return (VitalState::Slow, text);
        }
        SshError::Unreachable { cause, .. } => format!(" ({cause})"),
        SshError::TimedOut { .. } | SshError::Lost { .. } => String::new(),
    };
    let text = if last.state == VitalState::Dead {
        let seconds = now.seconds_since(last.since);
        format!("no answer for {seconds} s{cause}")
    } else {
        format!("no answer{cause}")
    };
    (VitalState::Dead, text)
}

pub(super) fn host_vital(last: &Vital, result: &VerbResult, now: Time) -> Vital {
    let (state, text) = match (&result.verdict, result.outcome) {
        (Some(verdict), _) => (state_of(verdict), verdict.to_string()),
        (None, VerbOutcome::Unreachable) => (VitalState::Unknown, result.message.clone()),
        (None, _) => {
            let text = format!("the gate reports nothing: {}", result.message);
            (VitalState::Unknown, text)
        }
    };
    vital(last, state, text, now)
}

const fn state_of(verdict: &Verdict) -> VitalState {
    match verdict {
        Verdict::Running => VitalState::Good,
        Verdict::Stopped | Verdict::Unkillable => VitalState::Dead,
        Verdict::MonitorDead | Verdict::Locked(_) | Verdict::HaManaged => VitalState::Slow,
        Verdict::Unknown(_) => VitalState::Unknown,
    }
}

fn vital(last: &Vital, state: VitalState, text: String, now: Time) -> Vital {
    let since = if last.state == state { last.since } else { now };
    Vital {
        state,
        text,
        since,
        seen: now,
    }
}

#[cfg(test)]
mod tests {
    use breakglass_model::SignsFinding;

    use super::*;

    #[test]
    fn summary_is_a_sentence_with_the_time_of_each_sign() {
        let vital = |text: &str, seen: &str| Vital {
            state: VitalState::Dead,
            text: text.to_owned(),
            since: seen.parse().unwrap(),
            seen: seen.parse().unwrap(),
        };
        let mut vitals = Vitals {
            target: "devvm".to_owned(),
            ssh: vital("no answer for 40 s", "2026-11-30T03:12:05.123Z"),
            vm: vital("running", "2026-11-30T03:12:01.000Z"),
            machine: None,
            finding: None,
        };
        let expected = "SSH no answer for 40 s (at 03:12:05); machine running (at 03:12:01)";
        assert_eq!(summary(&vitals), expected);
        vitals.finding = Some(SignsFinding {
            signature: "io-stall".to_owned(),
            summary: "No disk completes a write.".to_owned(),
            evidence: Vec::new(),
            recommend: None,
        });
        let expected = format!("{expected}; No disk completes a write");
        assert_eq!(summary(&vitals), expected);
    }
}
