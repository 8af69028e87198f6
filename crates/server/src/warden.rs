//! Brings the agent, which knows of no bastion, and the bastion, which knows of no agent, together.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use breakglass_agent::sandbox::{WAYS, Way};
use breakglass_agent::{Family, Pass, Post, Ruling, Task, ToolQuestion, Warden};
use breakglass_control::bastion::{self, Bastion};
use breakglass_model::{IncidentId, TurnNumber};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cell::SOCKETS;
use crate::egress::Egress;
use crate::ways::Ways;

/// The bastion as the agent's warden, and what leads out of a sandbox.
pub(crate) struct BastionWarden {
    pub(crate) bastion: Bastion,
    pub(crate) ways: Ways,
}

/// One conversation's post at the bastion.
struct BastionPost {
    post: Arc<bastion::Post>,
    egress: Egress,
    ways: Ways,
    /// The agent asked for its model.
    asked: Notify,
}

impl fmt::Debug for BastionPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BastionPost")
            .field(&self.post.sockets())
            .finish()
    }
}

impl Warden for BastionWarden {
    fn open<'a>(
        &'a self,
        incident: IncidentId,
        target: &'a str,
        agent: &'a str,
    ) -> Task<'a, Result<Box<dyn Post>, String>> {
        Box::pin(async move {
            let opened = self.bastion.open(incident, target).await;
            let post = opened.map_err(|error| {
                format!("The agent's way to its machines could not be opened: {error}. Power and checks work without it.")
            })?;
            let post = BastionPost {
                post: Arc::new(post),
                egress: self.ways.egress(incident, agent),
                ways: self.ways.clone(),
                asked: Notify::new(),
            };
            Ok(Box::new(post) as Box<dyn Post>)
        })
    }
}

impl Post for BastionPost {
    fn environment(&self) -> Vec<(String, String)> {
        let sockets = self.post.sockets().map(|path| path.display().to_string());
        vec![(
            SOCKETS.to_owned(),
            sockets.unwrap_or_else(|| WAYS.to_owned()),
        )]
    }

    fn open_to(&self, family: Family) {
        self.post.open_to(Box::new(move |peer| {
            family.admits(peer).map_err(|stranger| stranger.to_string())
        }));
    }

    fn pass(&self) -> Option<Pass> {
        let (variable, secret) = (SOCKETS.to_owned(), self.post.pass().to_owned());
        Some(Pass { variable, secret })
    }

    fn connected(&self, way: Way, stream: OwnedFd) {
        if way == Way::Model {
            self.asked.notify_one();
        }
        self.ways.take(way, stream, &self.post, &self.egress);
    }

    fn without_model(&self) -> Task<'_, ()> {
        Box::pin(async {
            loop {
                self.asked.notified().await;
                if self.post.until_cut_off().is_cancelled() {
                    return;
                }
            }
        })
    }

    fn turn_began(&self, turn: TurnNumber) {
        self.post.turn_began(turn);
    }

    fn tools_run(&self, calls: &[&str]) {
        self.post.tools_run(calls);
    }

    fn judge(&self, question: ToolQuestion, withdrawn: CancellationToken) -> Task<'static, Ruling> {
        let post = Arc::clone(&self.post);
        let ToolQuestion { tool_call, command } = question;
        let question = bastion::ToolQuestion { tool_call, command };
        Box::pin(async move {
            let bastion::ToolRuling { leave, taken } = post.judge(question, withdrawn).await;
            Ruling { leave, taken }
        })
    }

    fn turn_is_ending(&self) {
        self.post.turn_is_ending();
    }

    fn turn_ended(&self, cut: bool) -> Task<'_, ()> {
        Box::pin(self.post.turn_ended(cut))
    }
}
