//! A control over real servers on loopback.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use breakglass_control::ssh::{HostKeyPolicy, PrivateKey, generate_key};
use breakglass_control::{
    Accepted, Control, Endpoint, OperationRequest, OperationView, Pictures, SshOptions, Target,
};
use breakglass_log::{Log, Options};
use breakglass_model::{Actor, Event, EventBody, IncidentId};
use breakglass_rig::gate::GateHost;
use breakglass_rig::sshd::Sshd;
use breakglass_verbs::Verb;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything here may take before the test says what it waited for.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Keys {
    pub dir: TempDir,
    pub key: Arc<PrivateKey>,
}

impl Keys {
    pub fn new() -> Keys {
        Keys {
            dir: tempfile::tempdir().unwrap(),
            key: Arc::new(generate_key().unwrap()),
        }
    }

    pub fn public(&self) -> String {
        self.key.public_key().to_openssh().unwrap()
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    /// Trusting on first sight, with waits for a machine that others use.
    pub fn options(&self) -> SshOptions {
        SshOptions {
            host_keys: HostKeyPolicy::TrustFirst,
            connect_timeout: LIMIT,
            keepalive: Duration::from_secs(10),
            ..SshOptions::new(Arc::clone(&self.key), self.known_hosts())
        }
    }
}

pub fn endpoint(sshd: &Sshd) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".into(),
        port: sshd.port,
        user: sshd.user(),
    }
}

/// A target whose guest is an open sshd and whose host is the real gate behind one.
pub struct Bench {
    pub keys: Keys,
    pub guest: Sshd,
    pub host: GateHost,
    pub log: Log,
    pub control: Control,
    pub cancel: CancellationToken,
}

impl Bench {
    pub fn running() -> Bench {
        Bench::with(GateHost::running)
    }

    pub fn with(host: impl FnOnce(&str) -> GateHost) -> Bench {
        Bench::over(host, Log::open(Options::in_memory()))
    }

    pub fn over(host: impl FnOnce(&str) -> GateHost, log: Log) -> Bench {
        let keys = Keys::new();
        let (guest, host) = (Sshd::open(&keys.public()), host(&keys.public()));
        let target = Target::new("devvm", endpoint(&guest), endpoint(&host.sshd));
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        let (control, _agent_port) = Control::new(
            vec![target],
            keys.options(),
            log.clone(),
            Pictures::under(keys.dir.path().join("pictures")),
            cancel.clone(),
            tracker,
        );
        Bench {
            keys,
            guest,
            host,
            log,
            control,
            cancel,
        }
    }

    /// The operator's request to run `verb`.
    pub fn request(&self, verb: Verb) -> OperationRequest {
        OperationRequest::new(self.control.permit(&operator(), "devvm", verb).unwrap())
    }

    /// Starts `verb`.
    pub async fn begin(&self, verb: Verb) -> Accepted {
        let submitted = self.control.submit(self.request(verb)).await;
        submitted.unwrap()
    }

    /// Runs `verb` to its end.
    pub async fn verb(&self, verb: Verb) -> OperationView {
        self.ended(self.begin(verb).await.operation).await
    }

    pub async fn ended(&self, operation: breakglass_model::OperationId) -> OperationView {
        let view = self
            .control
            .wait(operation, LIMIT)
            .await
            .expect("the operation is known");
        assert!(
            view.outcome.is_some(),
            "{operation} still runs after {LIMIT:?}: {view:?}"
        );
        view
    }

    pub async fn events(&self, incident: IncidentId) -> Vec<Event> {
        self.log.events(incident, 0, 10_000).await.unwrap()
    }

    /// Waits until an event of `incident` passes `wanted`.
    pub async fn event(&self, incident: IncidentId, wanted: impl Fn(&EventBody) -> bool) -> Event {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(event) = self
                .events(incident)
                .await
                .into_iter()
                .find(|e| wanted(&e.body))
            {
                return event;
            }
            assert!(
                Instant::now() < end,
                "the event did not come within {LIMIT:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub fn operator() -> Actor {
    Actor::Operator("ada".into())
}

/// Polls until `probe` gives something.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited {LIMIT:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
