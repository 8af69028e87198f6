//! One machine from what it is to what it should be: look, plan, put, and look again.
//!
//! ```text
//! look ─ sources known? ─ yes ─ put the line ─ let in? ─ yes ─ done
//!              │ no                               │ no
//!              └──── put a line that only asks ───┘
//!                       └─ log in: the address seen ─ put the line ─ let in? ─ done, or why not
//! ```
//! Each step can be the last: the next run looks anew and goes on.

use std::path::Path;

use breakglass_control::ssh::known_hosts_name;
use breakglass_control::{Endpoint, Target};

use super::error::{EnrollError, Result};
use super::facts::{Facts, Sudoers};
use super::keys::Pair;
use super::line::{self, Public};
use super::operator::{AS_ROOT, Login, RECEIVE};
use super::order::Order;
use super::plan::{Change, Want, left, object, plan, removal};
use super::script::{Act, Params, script};
use super::trial::Trial;
use super::{Tell, Told, pins, source};
use breakglass_model::Side;

/// In a dry run, in the place of an address that only a login shows.
const NOT_YET: &str = "(the address that this machine is seen under)";

/// The keys of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// The one to be let in; none in a dry run before there is one.
    pub pair: Option<&'a Pair>,
    /// The ones before it.
    pub old: &'a [Public],
    /// Whether the lines of those have to go.
    pub drop: bool,
}

/// One machine of a target.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    order: &'a Order,
    side: Side,
    endpoint: &'a Endpoint,
    /// `devvm.guest`.
    pub name: String,
    destination: String,
}

impl<'a> Machine<'a> {
    /// Guest and host of the target.
    pub(crate) fn both(order: &'a Order, target: &'a Target) -> [Machine<'a>; 2] {
        [Side::Guest, Side::Host].map(|side| Machine {
            order,
            side,
            endpoint: match side {
                Side::Guest => &target.guest,
                Side::Host => &target.host,
            },
            name: format!("{}.{}", target.name, side.as_str()),
            destination: order.login(target, side),
        })
    }

    /// Makes it as it should be, or in a dry run tells what would be changed.
    pub(crate) async fn settle(&self, keys: Keys<'_>, tell: &mut Tell<'_>) -> Result<()> {
        let facts = self.look(keys).await?;
        object(&self.name, &facts, &self.want("", keys, &facts))?;
        self.pin(&facts, tell)?;
        if self.side == Side::Guest && facts.sudoers == Sudoers::Other {
            let said = "/etc/sudoers.d/breakglass is not as enroll writes it, and stays";
            tell(Told::note(&self.name, said));
        }
        let standing = self.standing(&facts);
        let guessed = source::guess(&self.order.from, standing.as_deref());
        let Some(pair) = keys.pair else {
            let unknown = || vec![NOT_YET.to_owned()];
            let text = line::line(self.side, &guessed.unwrap_or_else(unknown), &no_key());
            return self.tell_plan(&facts, &text, keys, tell);
        };
        if self.order.dry {
            return self.rehearse(&facts, guessed, pair, keys, tell).await;
        }
        let facts = match guessed {
            None => facts,
            Some(sources) => {
                let text = self.text(&facts, &sources, pair);
                let facts = self.put(facts, &text, keys, tell).await?;
                let here = source::wants_here(&self.order.from);
                if !here || self.trial(pair, &facts).enters().await? {
                    return Ok(());
                }
                facts
            }
        };
        self.find(facts, standing.as_deref(), pair, keys, tell)
            .await
    }

    /// Removes what the keys opened, and says what is left.
    pub(crate) async fn clear(&self, keys: Keys<'_>, tell: &mut Tell<'_>) -> Result<()> {
        let facts = self.look(keys).await?;
        let changes = removal(self.side, &facts);
        let after = match changes.is_empty() || self.order.dry {
            true => facts,
            false => self.run(Act::Remove, &self.params(keys)).await?,
        };
        for change in changes {
            tell(self.told(change));
        }
        if !self.order.dry {
            if let Some(still) = removal(self.side, &after).first() {
                return Err(self.not_done(still));
            }
            for note in left(self.side, &self.endpoint.user, &after) {
                tell(Told::note(&self.name, note));
            }
        }
        Ok(())
    }

    async fn look(&self, keys: Keys<'_>) -> Result<Facts> {
        self.run(Act::Look, &self.params(keys)).await
    }

    async fn run(&self, act: Act, params: &Params) -> Result<Facts> {
        let text = script(self.side, act, params);
        let said = self.login().run(AS_ROOT, text.as_bytes()).await?;
        Facts::parse(&self.name, &said)
    }

    fn login(&self) -> Login<'_> {
        Login {
            machine: &self.name,
            destination: &self.destination,
            option: match self.side {
                Side::Guest => "--guest-login",
                Side::Host => "--host-login",
            },
            ssh_config: self.order.ssh_config.as_deref(),
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

    /// What is wanted, given what is there: a gate beside this program only fills a gap.
    fn want<'w>(&'w self, line: &'w str, keys: Keys<'_>, facts: &Facts) -> Want<'w> {
        let gate = self.order.gate.as_ref();
        Want {
            side: self.side,
            user: &self.endpoint.user,
            line,
            drop: keys.drop,
            gate: gate.filter(|gate| gate.replaces || facts.gate.is_none()),
            guest: self.order.guest.as_ref(),
        }
    }

    /// Changes what the plan says, and looks whether it is so.
    async fn put(
        &self,
        facts: Facts,
        text: &str,
        keys: Keys<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<Facts> {
        let want = self.want(text, keys, &facts);
        let changes = plan(&facts, &want);
        if changes.is_empty() {
            return Ok(facts);
        }
        let mut params = Params {
            line: text.to_owned(),
            ..self.params(keys)
        };
        self.send(&want, &facts, &mut params).await?;
        let after = self.run(Act::Put, &params).await?;
        if let Some(still) = plan(&after, &want).first() {
            return Err(self.not_done(still));
        }
        for change in changes {
            tell(self.told(change));
        }
        Ok(after)
    }

    /// Sends the gate where it is another one, and completes the parameters of the host's step.
    async fn send(&self, want: &Want<'_>, facts: &Facts, params: &mut Params) -> Result<()> {
        if self.side == Side::Guest {
            return Ok(());
        }
        if let Some(guest) = want.guest {
            guest.driver().clone_into(&mut params.driver);
            params.guest = guest.in_policy();
        }
        if let Some(gate) = want.gate {
            params.sha256.clone_from(&gate.sha256);
            if facts.gate.as_ref() != Some(&gate.sha256) {
                self.login().run(RECEIVE, &gate.bytes).await?;
            }
        }
        Ok(())
    }

    /// Finds the address that this place is seen under, and puts the line with it.
    async fn find(
        &self,
        facts: Facts,
        standing: Option<&[String]>,
        pair: &Pair,
        keys: Keys<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let mut params = Params {
            probe: line::probing(&pair.public),
            ..self.params(Keys {
                drop: false,
                ..keys
            })
        };
        self.send(&self.want("", keys, &facts), &facts, &mut params)
            .await?;
        let asked = self.run(Act::Put, &params).await?;
        let seen = self.trial(pair, &asked).seen().await?;
        let sources = source::found(&self.order.from, standing, seen);
        let text = line::line(self.side, &sources, &pair.public);
        let put = Params {
            line: text.clone(),
            probe: String::new(),
            drop: self.params(keys).drop,
            ..params
        };
        let after = self.run(Act::Put, &put).await?;
        let want = self.want(&text, keys, &facts);
        if let Some(still) = plan(&after, &want).first() {
            return Err(self.not_done(still));
        }
        for change in plan(&facts, &want) {
            tell(self.told(change));
        }
        match self.trial(pair, &after).enters().await? {
            true => Ok(()),
            false => Err(EnrollError::Failed(format!(
                "{} saw this machine as {seen} and refuses it all the same; its address may change \
                 from login to login: name the network with --from",
                self.name
            ))),
        }
    }

    async fn rehearse(
        &self,
        facts: &Facts,
        guessed: Option<Vec<String>>,
        pair: &Pair,
        keys: Keys<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let standing = !facts.lines.is_empty() && source::wants_here(&self.order.from);
        let kept = match guessed {
            Some(sources) if !standing || self.trial(pair, facts).enters().await? => Some(sources),
            _ => None,
        };
        let text = match kept {
            Some(sources) => self.text(facts, &sources, pair),
            None => line::line(self.side, &[NOT_YET.to_owned()], &pair.public),
        };
        self.tell_plan(facts, &text, keys, tell)
    }

    fn tell_plan(
        &self,
        facts: &Facts,
        text: &str,
        keys: Keys<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        for change in plan(facts, &self.want(text, keys, facts)) {
            tell(self.told(change));
        }
        Ok(())
    }

    /// The sources of the key's line, or of the old key's.
    fn standing(&self, facts: &Facts) -> Option<Vec<String>> {
        let mut lines = facts.lines.iter().chain(&facts.old);
        lines.find_map(|text| line::read(self.side, text).sources)
    }

    /// The line for the sources; one by hand that says the same stays.
    fn text(&self, facts: &Facts, sources: &[String], pair: &Pair) -> String {
        if let [one] = facts.lines.as_slice() {
            let said = line::read(self.side, one);
            if said.right && said.sources.as_deref() == Some(sources) {
                return one.clone();
            }
        }
        line::line(self.side, sources, &pair.public)
    }

    fn trial<'t>(&'t self, key: &'t Pair, facts: &'t Facts) -> Trial<'t> {
        Trial {
            machine: &self.name,
            endpoint: self.endpoint,
            key,
            host_keys: &facts.host_keys,
        }
    }

    /// Pins what the machine holds; the operator's ssh vouches for the way that it came.
    fn pin(&self, facts: &Facts, tell: &mut Tell<'_>) -> Result<()> {
        let keys = pins::usable(&facts.host_keys);
        if keys.is_empty() {
            return Err(EnrollError::Failed(format!(
                "{} has no Ed25519 or ECDSA key in /etc/ssh/ssh_host_*_key.pub; make one there with \
                 `ssh-keygen -A`, then enroll again",
                self.name
            )));
        }
        let path: &Path = &self.order.config.ssh.known_hosts;
        let (name, text) = (known_hosts_name(self.endpoint), pins::read(path)?);
        let pinned = pins::pinned(&text, &name, &keys);
        if pinned == text {
            return Ok(());
        }
        if !self.order.dry {
            pins::replace(path, &pinned)?;
        }
        let file = path.display().to_string();
        tell(self.told(Change::Pin { name, file }));
        Ok(())
    }

    fn told(&self, change: Change) -> Told {
        Told::change(&self.name, change)
    }

    fn not_done(&self, still: &Change) -> EnrollError {
        EnrollError::Failed(format!(
            "{}: it was told to, and did not: {still}; somebody else may change it at the same time, so \
             enroll again",
            self.name
        ))
    }
}

/// Before there is a key.
fn no_key() -> Public {
    Public {
        kind: "ssh-ed25519".to_owned(),
        blob: "(the new key)".to_owned(),
    }
}
