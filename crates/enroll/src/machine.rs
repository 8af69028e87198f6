//! Brings one machine into the desired state: inspect, plan, apply, and inspect again.
//!
//! ```text
//! inspect ─ sources known? ─ yes ─ write the line ─ login works? ─ yes ─ done
//!                │ no                                 │ no
//!                └──────── write a probing line ──────┘
//!                             └─ log in: our address ─ write the line ─ login works? ─ done, or an error
//! ```
//! Enrolment can be interrupted after any step: the next run inspects again and continues.

use std::path::Path;

use breakglass_control::ssh::known_hosts_name;
use breakglass_control::{Endpoint, Target};

use super::error::{EnrollError, Result};
use super::facts::{Facts, Sudoers};
use super::key_line::{self, PublicHalf};
use super::keys::KeyPair;
use super::operator::{AS_ROOT, Login, RECEIVE};
use super::plan::{Change, DesiredState, check_preconditions, leftovers, plan, removal};
use super::request::EnrollRequest;
use super::script::{Action, Params, script};
use super::test_login::TestLogin;
use super::{OnProgress, Progress, pins, source};
use breakglass_model::Side;

/// Placeholder in a dry run for an address that only a login reveals.
const UNKNOWN_ADDRESS: &str = "(the address under which the machine sees this one)";

/// The keys of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// The key to enrol; `None` in a dry run if it does not exist yet.
    pub pair: Option<&'a KeyPair>,
    /// The previous keys.
    pub old: &'a [PublicHalf],
    /// Whether to remove the lines of the previous keys.
    pub drop: bool,
}

/// One machine of a target.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    request: &'a EnrollRequest,
    side: Side,
    endpoint: &'a Endpoint,
    /// `devvm.guest`.
    pub name: String,
    destination: String,
}

impl<'a> Machine<'a> {
    /// The guest and the host of a target.
    pub(crate) fn both(request: &'a EnrollRequest, target: &'a Target) -> [Machine<'a>; 2] {
        [Side::Guest, Side::Host].map(|side| Machine {
            request,
            side,
            endpoint: match side {
                Side::Guest => &target.guest,
                Side::Host => &target.host,
            },
            name: format!("{}.{}", target.name, side.as_str()),
            destination: request.login(target, side),
        })
    }

    /// Brings the machine into the desired state; in a dry run, only reports the changes.
    pub(crate) async fn enroll(
        &self,
        keys: Keys<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<()> {
        let facts = self.inspect(keys).await?;
        check_preconditions(&self.name, &facts, &self.desired("", keys, &facts))?;
        self.pin(&facts, on_progress)?;
        if self.side == Side::Guest && facts.sudoers == Sudoers::Other {
            let note = "/etc/sudoers.d/breakglass has another content than enrolment writes; it is not changed";
            on_progress(Progress::note(&self.name, note));
        }
        let existing = self.existing_sources(&facts);
        let known = source::known_sources(&self.request.from, existing.as_deref());
        let Some(pair) = keys.pair else {
            let unknown = || vec![UNKNOWN_ADDRESS.to_owned()];
            let text = key_line::line(
                self.side,
                &known.unwrap_or_else(unknown),
                &placeholder_key(),
            );
            return self.report_plan(&facts, &text, keys, on_progress);
        };
        if self.request.dry_run {
            return self
                .dry_run_with_key(&facts, known, pair, keys, on_progress)
                .await;
        }
        let facts = match known {
            None => facts,
            Some(sources) => {
                let text = self.desired_line(&facts, &sources, pair);
                let facts = self.apply(facts, &text, keys, on_progress).await?;
                let from_here = source::includes_here(&self.request.from);
                if !from_here || self.test_login(pair, &facts).succeeds().await? {
                    return Ok(());
                }
                facts
            }
        };
        self.find_sources(facts, existing.as_deref(), pair, keys, on_progress)
            .await
    }

    /// Removes everything that was set up for the keys, and reports what remains.
    pub(crate) async fn remove(
        &self,
        keys: Keys<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<()> {
        let facts = self.inspect(keys).await?;
        let changes = removal(self.side, &facts);
        let after = if changes.is_empty() || self.request.dry_run {
            facts
        } else {
            self.run(Action::Remove, &self.params(keys)).await?
        };
        for change in changes {
            on_progress(self.progress(change));
        }
        if !self.request.dry_run {
            if let Some(missing) = removal(self.side, &after).first() {
                return Err(self.not_done(missing));
            }
            for note in leftovers(self.side, &self.endpoint.user, &after) {
                on_progress(Progress::note(&self.name, note));
            }
        }
        Ok(())
    }

    async fn inspect(&self, keys: Keys<'_>) -> Result<Facts> {
        self.run(Action::Inspect, &self.params(keys)).await
    }

    async fn run(&self, act: Action, params: &Params) -> Result<Facts> {
        let text = script(self.side, act, params);
        let output = self.login().run(AS_ROOT, text.as_bytes()).await?;
        Facts::parse(&self.name, &output)
    }

    fn login(&self) -> Login<'_> {
        Login {
            machine: &self.name,
            destination: &self.destination,
            option: match self.side {
                Side::Guest => "--guest-login",
                Side::Host => "--host-login",
            },
            ssh_config: self.request.ssh_config.as_deref(),
        }
    }

    fn params(&self, keys: Keys<'_>) -> Params {
        let blobs: Vec<_> = keys.old.iter().map(|key| key.blob.as_str()).collect();
        let old = blobs.join(" ");
        let pair = keys.pair.map(|pair| pair.public.blob.clone());
        Params {
            user: self.endpoint.user.clone(),
            blob: pair.unwrap_or_default(),
            drop: if keys.drop {
                old.clone()
            } else {
                String::new()
            },
            old,
            ..Params::default()
        }
    }

    /// The desired state. The gate next to this program is installed only if there is none yet.
    fn desired<'w>(&'w self, line: &'w str, keys: Keys<'_>, facts: &Facts) -> DesiredState<'w> {
        let gate = self.request.gate.as_ref();
        DesiredState {
            side: self.side,
            user: &self.endpoint.user,
            line,
            drop: keys.drop,
            gate: gate.filter(|gate| gate.replaces || facts.gate.is_none()),
            guest: self.request.guest.as_ref(),
        }
    }

    /// Applies the plan, and checks the result.
    async fn apply(
        &self,
        facts: Facts,
        text: &str,
        keys: Keys<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Facts> {
        let desired = self.desired(text, keys, &facts);
        let changes = plan(&facts, &desired);
        if changes.is_empty() {
            return Ok(facts);
        }
        let mut params = Params {
            line: text.to_owned(),
            ..self.params(keys)
        };
        self.send(&desired, &facts, &mut params).await?;
        let after = self.run(Action::Apply, &params).await?;
        if let Some(missing) = plan(&after, &desired).first() {
            return Err(self.not_done(missing));
        }
        for change in changes {
            on_progress(self.progress(change));
        }
        Ok(after)
    }

    /// Sends the gate if another one is installed, and completes the parameters of the host's script.
    async fn send(
        &self,
        desired: &DesiredState<'_>,
        facts: &Facts,
        params: &mut Params,
    ) -> Result<()> {
        if self.side == Side::Guest {
            return Ok(());
        }
        if let Some(guest) = desired.guest {
            guest.driver().clone_into(&mut params.driver);
            params.guest = guest.in_policy();
        }
        if let Some(gate) = desired.gate {
            params.sha256.clone_from(&gate.sha256);
            if facts.gate.as_ref() != Some(&gate.sha256) {
                self.login().run(RECEIVE, &gate.bytes).await?;
            }
        }
        Ok(())
    }

    /// Finds the address under which the machine sees this one, and writes the line with it.
    async fn find_sources(
        &self,
        facts: Facts,
        existing: Option<&[String]>,
        pair: &KeyPair,
        keys: Keys<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<()> {
        let mut params = Params {
            probe: key_line::probing(&pair.public),
            ..self.params(Keys {
                drop: false,
                ..keys
            })
        };
        self.send(&self.desired("", keys, &facts), &facts, &mut params)
            .await?;
        let probing = self.run(Action::Apply, &params).await?;
        let seen = self.test_login(pair, &probing).seen_address().await?;
        let sources = source::with_address(&self.request.from, existing, seen);
        let text = key_line::line(self.side, &sources, &pair.public);
        let put = Params {
            line: text.clone(),
            probe: String::new(),
            drop: self.params(keys).drop,
            ..params
        };
        let after = self.run(Action::Apply, &put).await?;
        let desired = self.desired(&text, keys, &facts);
        if let Some(missing) = plan(&after, &desired).first() {
            return Err(self.not_done(missing));
        }
        for change in plan(&facts, &desired) {
            on_progress(self.progress(change));
        }
        if self.test_login(pair, &after).succeeds().await? {
            return Ok(());
        }
        Err(EnrollError::Failed(format!(
            "{} saw this machine as {seen} but refuses a login from there; the address may change \
             with every login: name the network with --from",
            self.name
        )))
    }

    async fn dry_run_with_key(
        &self,
        facts: &Facts,
        known: Option<Vec<String>>,
        pair: &KeyPair,
        keys: Keys<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<()> {
        let existing = !facts.lines.is_empty() && source::includes_here(&self.request.from);
        let kept = match known {
            Some(sources) if !existing || self.test_login(pair, facts).succeeds().await? => {
                Some(sources)
            }
            _ => None,
        };
        let text = match kept {
            Some(sources) => self.desired_line(facts, &sources, pair),
            None => key_line::line(self.side, &[UNKNOWN_ADDRESS.to_owned()], &pair.public),
        };
        self.report_plan(facts, &text, keys, on_progress)
    }

    fn report_plan(
        &self,
        facts: &Facts,
        text: &str,
        keys: Keys<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<()> {
        for change in plan(facts, &self.desired(text, keys, facts)) {
            on_progress(self.progress(change));
        }
        Ok(())
    }

    /// The sources in the line of the current key or of a previous one.
    fn existing_sources(&self, facts: &Facts) -> Option<Vec<String>> {
        let mut lines = facts.lines.iter().chain(&facts.old);
        lines.find_map(|text| key_line::read(self.side, text).sources)
    }

    /// The line for these sources. An equivalent line that was written by hand is kept.
    fn desired_line(&self, facts: &Facts, sources: &[String], pair: &KeyPair) -> String {
        if let [one] = facts.lines.as_slice() {
            let options = key_line::read(self.side, one);
            if options.as_expected && options.sources.as_deref() == Some(sources) {
                return one.clone();
            }
        }
        key_line::line(self.side, sources, &pair.public)
    }

    fn test_login<'t>(&'t self, key: &'t KeyPair, facts: &'t Facts) -> TestLogin<'t> {
        TestLogin {
            machine: &self.name,
            endpoint: self.endpoint,
            key,
            host_keys: &facts.host_keys,
        }
    }

    /// Pins the machine's host keys. They were read over the operator's ssh, which is trusted.
    fn pin(&self, facts: &Facts, on_progress: &mut OnProgress<'_>) -> Result<()> {
        let keys = pins::usable(&facts.host_keys);
        if keys.is_empty() {
            return Err(EnrollError::Failed(format!(
                "{} has no Ed25519 or ECDSA key in /etc/ssh/ssh_host_*_key.pub; create one there with \
                 `ssh-keygen -A`, then enroll again",
                self.name
            )));
        }
        let path: &Path = &self.request.config.ssh.known_hosts;
        let name = known_hosts_name(self.endpoint);
        let text = pins::read(path)?;
        let pinned = pins::pinned(&text, &name, &keys);
        if pinned == text {
            return Ok(());
        }
        if !self.request.dry_run {
            pins::replace(path, &pinned)?;
        }
        let file = path.display().to_string();
        on_progress(self.progress(Change::Pin { name, file }));
        Ok(())
    }

    fn progress(&self, change: Change) -> Progress {
        Progress::change(&self.name, change)
    }

    fn not_done(&self, missing: &Change) -> EnrollError {
        EnrollError::Failed(format!(
            "{}: this change did not take effect: {missing}; someone else may be changing the machine at the same \
             time: enroll again",
            self.name
        ))
    }
}

/// Placeholder for a key that does not exist yet.
fn placeholder_key() -> PublicHalf {
    PublicHalf {
        kind: "ssh-ed25519".to_owned(),
        blob: "(the new key)".to_owned(),
    }
}
