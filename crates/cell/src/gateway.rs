//! Joins what one conversation can reach: the bastion (guest and host) and the egress proxy (the model).
//!
//! It implements the port that the agent's crate calls; bastion and proxy know nothing of each other.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use breakglass_agent::sandbox::SOCKETS as SANDBOX_SOCKETS;
use breakglass_bastion::{Bastion, BastionConversation};
use breakglass_model::gateway::{
    AgentGateway, ConversationHandle, Destination, PeerCheck, RunnerCredential, ToolQuestion,
    ToolRuling,
};
use breakglass_model::{IncidentId, TurnNumber};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::egress::Egress;
use crate::outbound::Outbound;
use crate::ssh::SOCKETS;

/// Opens conversations at the bastion, each with an egress proxy of its own.
pub(crate) struct Gateway {
    pub bastion: Bastion,
    pub outbound: Outbound,
}

/// One conversation's access.
struct Conversation {
    bastion: Arc<BastionConversation>,
    egress: Egress,
    outbound: Outbound,
    /// Notified whenever the agent connects to its model.
    model_requested: Notify,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conversation")
            .field(&self.bastion.sockets())
            .finish()
    }
}

impl AgentGateway for Gateway {
    fn open<'a>(
        &'a self,
        incident: IncidentId,
        target: &'a str,
        agent: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn ConversationHandle>, String>> {
        Box::pin(async move {
            let opened = self.bastion.open(incident, target).await;
            let bastion = opened.map_err(|error| {
                format!(
                    "The agent could not be connected to its machines: {error}. Power and checks work without it."
                )
            })?;
            let conversation = Conversation {
                bastion: Arc::new(bastion),
                egress: self.outbound.egress(incident, agent),
                outbound: self.outbound.clone(),
                model_requested: Notify::new(),
            };
            Ok(Box::new(conversation) as Box<dyn ConversationHandle>)
        })
    }
}

impl ConversationHandle for Conversation {
    fn environment(&self) -> Vec<(String, String)> {
        let sockets = self
            .bastion
            .sockets()
            .map(|path| path.display().to_string());
        vec![(
            SOCKETS.to_owned(),
            sockets.unwrap_or_else(|| SANDBOX_SOCKETS.to_owned()),
        )]
    }

    fn admit(&self, check: PeerCheck) {
        self.bastion.admit(check);
    }

    fn runner_credential(&self) -> Option<RunnerCredential> {
        Some(RunnerCredential {
            variable: SOCKETS.to_owned(),
            secret: self.bastion.runner_secret().to_owned(),
        })
    }

    fn connected(&self, destination: Destination, stream: OwnedFd) {
        if destination == Destination::Model {
            self.model_requested.notify_one();
        }
        self.outbound
            .connect(destination, stream, &self.bastion, &self.egress);
    }

    fn cut_off_from_model(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                self.model_requested.notified().await;
                if self.bastion.until_cut_off().is_cancelled() {
                    return;
                }
            }
        })
    }

    fn turn_began(&self, turn: TurnNumber) {
        self.bastion.turn_began(turn);
    }

    fn tools_run(&self, calls: &[&str]) {
        self.bastion.tools_run(calls);
    }

    fn judge(
        &self,
        question: ToolQuestion,
        withdrawn: CancellationToken,
    ) -> BoxFuture<'static, ToolRuling> {
        let bastion = Arc::clone(&self.bastion);
        Box::pin(async move { bastion.judge(question, withdrawn).await })
    }

    fn turn_is_ending(&self) {
        self.bastion.turn_is_ending();
    }

    fn turn_ended(&self, cut: bool) -> BoxFuture<'_, ()> {
        Box::pin(self.bastion.turn_ended(cut))
    }
}
