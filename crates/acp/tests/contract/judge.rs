//! A warden that judges by the words of a command.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use breakglass_agent::sandbox::Way;
use breakglass_agent::{Family, Pass, Post, Ruling, Task, ToolQuestion, Warden};
use breakglass_model::{IncidentId, TurnNumber};
use tokio_util::sync::CancellationToken;

/// Why a command that holds the word `forbidden` is not let run.
pub(crate) const FORBIDDEN: &str = "Denied by ana: not on a Monday.";

/// Judges by the words of a command and keeps every question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judge(pub(crate) Arc<Mutex<Vec<String>>>);

impl Warden for Judge {
    fn open<'a>(
        &'a self,
        _: IncidentId,
        _: &'a str,
        _: &'a str,
    ) -> Task<'a, Result<Box<dyn Post>, String>> {
        let post = self.clone();
        Box::pin(async { Ok(Box::new(post) as Box<dyn Post>) })
    }
}

impl Post for Judge {
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn open_to(&self, _: Family) {}

    fn pass(&self) -> Option<Pass> {
        None
    }

    fn connected(&self, _: Way, _: OwnedFd) {}

    fn turn_began(&self, _: TurnNumber) {}

    fn tools_run(&self, _: &[&str]) {}

    fn judge(&self, question: ToolQuestion, withdrawn: CancellationToken) -> Task<'static, Ruling> {
        let command = question.command;
        self.0.lock().unwrap().push(command.clone());
        Box::pin(async move {
            if command.contains("undecided") {
                withdrawn.cancelled().await;
            }
            let leave = match command.contains("forbidden") {
                true => Err(FORBIDDEN.to_owned()),
                false => Ok(()),
            };
            Ruling { leave, taken: None }
        })
    }

    fn turn_is_ending(&self) {}

    fn turn_ended(&self, _: bool) -> Task<'_, ()> {
        Box::pin(async {})
    }
}
