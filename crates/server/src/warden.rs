//! Brings the agent, which knows of no bastion, and the bastion, which knows of no agent, together.

use std::fmt;
use std::sync::Arc;

use breakglass_agent::{Family, Pass, Post, Ruling, Task, ToolQuestion, Warden};
use breakglass_control::bastion::{self, Bastion};
use breakglass_journal::{IncidentId, TurnNumber};
use tokio_util::sync::CancellationToken;

use crate::cell::SOCKETS;

/// The bastion as the agent's warden.
pub(crate) struct BastionWarden(pub(crate) Bastion);

/// One conversation's post at the bastion.
struct BastionPost(Arc<bastion::Post>);

impl fmt::Debug for BastionPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BastionPost")
            .field(&self.0.sockets())
            .finish()
    }
}

impl Warden for BastionWarden {
    fn open<'a>(
        &'a self,
        incident: IncidentId,
        target: &'a str,
    ) -> Task<'a, Result<Box<dyn Post>, String>> {
        Box::pin(async move {
            let opened = self.0.open(incident, target).await;
            let post = opened.map_err(|error| {
                format!("The agent's way to its machines could not be opened: {error}. Power and checks work without it.")
            })?;
            Ok(Box::new(BastionPost(Arc::new(post))) as Box<dyn Post>)
        })
    }
}

impl Post for BastionPost {
    fn environment(&self) -> Vec<(String, String)> {
        let sockets = self.0.sockets().display().to_string();
        vec![(SOCKETS.to_owned(), sockets)]
    }

    fn open_to(&self, family: Family) {
        self.0.open_to(Box::new(move |peer| {
            family.admits(peer).map_err(|stranger| stranger.to_string())
        }));
    }

    fn pass(&self) -> Option<Pass> {
        let (variable, secret) = (SOCKETS.to_owned(), self.0.pass().to_owned());
        Some(Pass { variable, secret })
    }

    fn turn_began(&self, turn: TurnNumber) {
        self.0.turn_began(turn);
    }

    fn tools_run(&self, calls: &[&str]) {
        self.0.tools_run(calls);
    }

    fn judge(&self, question: ToolQuestion, withdrawn: CancellationToken) -> Task<'static, Ruling> {
        let post = Arc::clone(&self.0);
        let ToolQuestion { tool_call, command } = question;
        let question = bastion::ToolQuestion { tool_call, command };
        Box::pin(async move {
            let bastion::ToolRuling { leave, taken } = post.judge(question, withdrawn).await;
            Ruling { leave, taken }
        })
    }

    fn turn_is_ending(&self) {
        self.0.turn_is_ending();
    }

    fn turn_ended(&self, cut: bool) -> Task<'_, ()> {
        Box::pin(self.0.turn_ended(cut))
    }
}
