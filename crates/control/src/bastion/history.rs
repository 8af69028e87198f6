//! What an incident's log says of the agent's leave: it outlives the server.

use breakglass_journal::{Autonomy, Decision, EventBody, IncidentId, Journal, JournalError};

/// Events read at once.
const BLOCK: usize = 2_000;

/// The settings that were last made in an incident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// None: as configured.
    pub(super) autonomy: Option<Autonomy>,
    pub(super) cut_off: bool,
}

/// Reads the settings from the log.
pub(super) async fn settings(
    journal: &Journal,
    incident: IncidentId,
) -> Result<Settings, JournalError> {
    let mut settings = Settings::default();
    walk(journal, incident, |body| match body {
        EventBody::AutonomyChanged { autonomy } => settings.autonomy = Some(*autonomy),
        EventBody::CutOffChanged { cut_off } => settings.cut_off = *cut_off,
        _ => {}
    })
    .await?;
    Ok(settings)
}

/// How a question was settled, as a few words; none if the log does not know it or it is open.
pub(super) async fn decision(
    journal: &Journal,
    incident: IncidentId,
    wanted: &str,
) -> Result<Option<String>, JournalError> {
    let mut found = None;
    walk(journal, incident, |body| {
        if let EventBody::ApprovalDecided {
            approval, decision, ..
        } = body
            && approval == wanted
        {
            let how = match decision {
                Decision::Allow => "allowed",
                Decision::Deny => "denied",
                Decision::Void => "void, since its turn had ended or nobody waited for it",
            };
            found = Some(how.to_owned());
        }
    })
    .await?;
    Ok(found)
}

async fn walk(
    journal: &Journal,
    incident: IncidentId,
    mut see: impl FnMut(&EventBody),
) -> Result<(), JournalError> {
    let mut after = 0;
    loop {
        let events = journal.events(incident, after, BLOCK).await?;
        let Some(last) = events.last() else {
            return Ok(());
        };
        after = last.seq;
        events.iter().for_each(|event| see(&event.body));
    }
}
