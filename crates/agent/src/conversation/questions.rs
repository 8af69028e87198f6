//! The tool uses of one turn that wait for a decision.

use std::collections::HashMap;
use std::time::Duration;

use breakglass_model::gateway::{ConversationHandle, ToolQuestion, ToolRuling};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Maximum time to record withdrawn questions as void.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Questions {
    deciding: JoinSet<(String, ToolRuling)>,
    withdrawn: HashMap<String, CancellationToken>,
}

impl Questions {
    pub(super) fn ask(
        &mut self,
        access: &dyn ConversationHandle,
        request: String,
        question: ToolQuestion,
    ) {
        let withdrawn = CancellationToken::new();
        let decided = access.judge(question, withdrawn.clone());
        self.withdrawn.insert(request.clone(), withdrawn);
        self.deciding.spawn(async move { (request, decided.await) });
    }

    pub(super) fn withdraw(&mut self, request: &str) {
        if let Some(withdrawn) = self.withdrawn.remove(request) {
            withdrawn.cancel();
        }
    }

    pub(super) fn withdraw_all(&mut self) {
        for withdrawn in self.withdrawn.values() {
            withdrawn.cancel();
        }
    }

    /// The next decision; waits for ever if no question is open. Cancel-safe.
    pub(super) async fn next(&mut self) -> (String, ToolRuling) {
        loop {
            match self.deciding.join_next().await {
                Some(Ok((request, ruling))) => {
                    self.withdrawn.remove(&request);
                    return (request, ruling);
                }
                // The task failed; its question stays open until the turn ends.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until all questions are settled, after they were withdrawn.
    pub(super) async fn settled(&mut self) {
        let all = async { while self.deciding.join_next().await.is_some() {} };
        if timeout(SETTLE_TIMEOUT, all).await.is_err() {
            tracing::warn!("questions of a turn that has ended were not settled in time");
        }
    }
}
