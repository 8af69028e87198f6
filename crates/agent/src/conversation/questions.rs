//! The CLI's questions of one turn while they are being decided.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use breakglass_model::gateway::{ConversationHandle, ToolQuestion, ToolRuling};

/// How long withdrawn questions may take to be recorded as void.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Questions {
    deciding: JoinSet<(String, ToolRuling)>,
    withdrawn: HashMap<String, CancellationToken>,
}

impl Questions {
    pub(super) fn ask(
        &mut self,
        post: &dyn ConversationHandle,
        request: String,
        question: ToolQuestion,
    ) {
        let withdrawn = CancellationToken::new();
        let decided = post.judge(question, withdrawn.clone());
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

    /// The next question that is decided; waits for ever if none is open. Cancel-safe.
    pub(super) async fn next(&mut self) -> (String, ToolRuling) {
        loop {
            match self.deciding.join_next().await {
                Some(Ok((request, ruling))) => {
                    self.withdrawn.remove(&request);
                    return (request, ruling);
                }
                // It broke off; its question is open until the turn ends.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until all that were withdrawn are settled.
    pub(super) async fn settled(&mut self) {
        let all = async { while self.deciding.join_next().await.is_some() {} };
        if timeout(SETTLE_LIMIT, all).await.is_err() {
            tracing::warn!("questions of an ended turn were not settled in time");
        }
    }
}
