//! A gateway that decides by the words of a command.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use breakglass_model::gateway::{
    AgentGateway, ConversationHandle, Destination, PeerCheck, RunnerCredential, ToolQuestion,
    ToolRuling,
};
use breakglass_model::{IncidentId, TurnNumber};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// Why a command with the word `forbidden` is denied.
pub(crate) const FORBIDDEN: &str = "Denied by ana: not on a Monday.";

/// Decides by the words of a command, and stores every question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judge(pub(crate) Arc<Mutex<Vec<String>>>);

impl AgentGateway for Judge {
    fn open<'a>(
        &'a self,
        _: IncidentId,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn ConversationHandle>, String>> {
        let judge = self.clone();
        Box::pin(async { Ok(Box::new(judge) as Box<dyn ConversationHandle>) })
    }
}

impl ConversationHandle for Judge {
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn admit(&self, _: PeerCheck) {}

    fn runner_credential(&self) -> Option<RunnerCredential> {
        None
    }

    fn connected(&self, _: Destination, _: OwnedFd) {}

    fn turn_began(&self, _: TurnNumber) {}

    fn tools_run(&self, _: &[&str]) {}

    fn judge(
        &self,
        question: ToolQuestion,
        withdrawn: CancellationToken,
    ) -> BoxFuture<'static, ToolRuling> {
        let command = question.command;
        self.0.lock().unwrap().push(command.clone());
        Box::pin(async move {
            if command.contains("undecided") {
                withdrawn.cancelled().await;
            }
            let permission = if command.contains("forbidden") {
                Err(FORBIDDEN.to_owned())
            } else {
                Ok(())
            };
            ToolRuling {
                permission,
                delivered: None,
            }
        })
    }

    fn turn_is_ending(&self) {}

    fn turn_ended(&self, _: bool) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
