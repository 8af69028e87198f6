//! The steps as text, for who pastes them: nothing is connected to.

use std::net::{IpAddr, UdpSocket};

use breakglass_control::Endpoint;
use breakglass_control::ssh::known_hosts_name;

use super::error::{EnrollError, Result};
use super::keys::{self, KeyFiles};
use super::line;
use super::order::Order;
use super::plan::Change;
use super::script::{Act, Params, quoted, script};
use super::source::{Source, found, guess};
use super::{Tell, steps};
use breakglass_model::Side;

/// The line that ends a pasted script.
pub(crate) const END: &str = "END-OF-BREAKGLASS";

/// One step for a person.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Step {
    /// Where it is done: `devvm.guest`, or `here`.
    pub on: String,
    /// What it does and how it is run.
    pub about: String,
    /// What is pasted.
    pub paste: String,
}

/// All steps to enroll. The key is made if there is none, since its public half stands in them.
///
/// # Errors
/// When the key can't be made, or a part is not said.
pub fn steps(order: &Order, tell: &mut Tell<'_>) -> Result<Vec<Step>> {
    let files = KeyFiles::beside(&order.config.ssh.key_file);
    let pair = match keys::load(&files.file)? {
        Some(pair) => pair,
        None => steps::make(order, &files.file, tell)?
            .ok_or_else(|| EnrollError::Failed("no key was made".to_owned()))?,
    };
    let mut all = Vec::new();
    for target in &order.targets {
        for (side, endpoint) in [(Side::Guest, &target.guest), (Side::Host, &target.host)] {
            let on = format!("{}.{}", target.name, side.as_str());
            let sources = sources(&order.from, endpoint)?;
            let mut params = Params {
                user: endpoint.user.clone(),
                line: line::line(side, &sources, &pair.public),
                blob: pair.public.blob.clone(),
                ..Params::default()
            };
            if side == Side::Host {
                all.extend(gate(order, &on, endpoint, &mut params)?);
            }
            let about = format!(
                "As root. It lets the key in from {} alone; where that is not the address that this \
                 machine is seen under there, name it with --from.",
                sources.join(", ")
            );
            all.push(Step {
                paste: pasted(&script(side, Act::Put, &params)),
                about,
                on,
            });
            all.push(pin(order, endpoint));
        }
    }
    Ok(all)
}

/// All steps to take it back.
///
/// # Errors
/// When there is no key, by which its lines are known.
pub fn removal(order: &Order) -> Result<Vec<Step>> {
    let files = KeyFiles::beside(&order.config.ssh.key_file);
    let Some(pair) = keys::load(&files.file)? else {
        let said = format!(
            "there is no key in {}, by which its lines are known",
            files.file.display()
        );
        return Err(EnrollError::Usage(said));
    };
    let mut all = Vec::new();
    for target in &order.targets {
        for (side, endpoint) in [(Side::Guest, &target.guest), (Side::Host, &target.host)] {
            let params = Params {
                user: endpoint.user.clone(),
                blob: pair.public.blob.clone(),
                ..Params::default()
            };
            all.push(Step {
                on: format!("{}.{}", target.name, side.as_str()),
                about: "As root. What others use stays.".to_owned(),
                paste: pasted(&script(side, Act::Remove, &params)),
            });
        }
    }
    all.push(Step {
        on: "here".to_owned(),
        about: "Last, when both have told no `fact line` any more.".to_owned(),
        paste: format!("rm {}", quoted(&files.file.display().to_string())),
    });
    Ok(all)
}

/// Sends the gate, and completes the parameters of the host's step.
fn gate(order: &Order, on: &str, endpoint: &Endpoint, params: &mut Params) -> Result<Option<Step>> {
    if let Some(guest) = &order.guest {
        guest.driver().clone_into(&mut params.driver);
        params.guest = guest.in_policy();
    }
    let Some(gate) = &order.gate else {
        return match order.guest {
            Some(_) => Err(EnrollError::Usage(
                "there is no gate to install; build one (scripts/gate.sh prints its path) and say --gate FILE"
                    .to_owned(),
            )),
            None => Ok(None),
        };
    };
    params.sha256.clone_from(&gate.sha256);
    let sha256 = &gate.sha256;
    Ok(Some(Step {
        on: "here".to_owned(),
        about: format!(
            "Sends the gate to {on}, which compares its SHA-256 with {sha256} in the next step."
        ),
        paste: format!(
            "scp -P {} {} {}@{}:{}.new",
            endpoint.port,
            quoted(&gate.path.display().to_string()),
            endpoint.user,
            bracketed(&endpoint.host),
            line::GATE
        ),
    }))
}

fn pin(order: &Order, endpoint: &Endpoint) -> Step {
    let (name, file) = (known_hosts_name(endpoint), &order.config.ssh.known_hosts);
    let file = file.display().to_string();
    Step {
        on: "here".to_owned(),
        about: format!(
            "{}, by the key that the step before told as `fact hostkey`: put it in the place of KEY.",
            Change::Pin {
                name: name.clone(),
                file: file.clone()
            }
        ),
        paste: format!("echo {} 'KEY' >> {}", quoted(&name), quoted(&file)),
    }
}

/// Without a login this machine's own address on the way there is all that can be known.
fn sources(asked: &[Source], endpoint: &Endpoint) -> Result<Vec<String>> {
    if let Some(sources) = guess(asked, None) {
        return Ok(sources);
    }
    own_address(endpoint).map(|own| found(asked, None, own)).ok_or_else(|| {
        EnrollError::Usage(format!(
            "no way leads from here to {}; name the address that the key may be used from with --from",
            endpoint.host
        ))
    })
}

/// Nothing is sent: the kernel is asked which address it would send from.
fn own_address(endpoint: &Endpoint) -> Option<IpAddr> {
    let host: IpAddr = endpoint.host.parse().ok()?;
    let any: IpAddr = match host {
        IpAddr::V4(_) => [0, 0, 0, 0].into(),
        IpAddr::V6(_) => [0_u16; 8].into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((host, endpoint.port)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn pasted(script: &str) -> String {
    format!("sh -s <<'{END}'\n{script}{END}")
}

fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}
