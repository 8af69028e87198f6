//! The steps of enrolment and removal as text for an operator to paste. Makes no connection.

use std::net::{IpAddr, UdpSocket};

use breakglass_control::Endpoint;
use breakglass_control::ssh::known_hosts_name;

use super::error::{EnrollError, Result};
use super::key_line;
use super::keys::{self, KeyFiles};
use super::plan::Change;
use super::request::{EnrollRequest, bracketed};
use super::script::{Action, Params, quoted, script};
use super::source::{Source, known_sources, with_address};
use super::{OnProgress, steps};
use breakglass_model::Side;

/// The line that ends a pasted here-document.
pub(crate) const END: &str = "END-OF-BREAKGLASS";

/// One step for the operator.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Step {
    /// The machine: `devvm.guest`, or `here`.
    pub on: String,
    /// What it does and how to run it.
    pub about: String,
    /// The text to paste.
    pub paste: String,
}

/// All steps of enrolment. Creates the key if there is none, because the steps contain its public half.
///
/// # Errors
/// If the key cannot be created, or a parameter is missing.
pub fn manual_steps(
    request: &EnrollRequest,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<Step>> {
    let files = KeyFiles::of(&request.config.ssh.key_file);
    let pair = match keys::load(&files.file)? {
        Some(pair) => pair,
        None => steps::create_key(request, &files.file, on_progress)?
            .ok_or_else(|| EnrollError::Failed("no key was created".to_owned()))?,
    };
    let mut all = Vec::new();
    for target in &request.targets {
        for (side, endpoint) in [(Side::Guest, &target.guest), (Side::Host, &target.host)] {
            let on = format!("{}.{}", target.name, side.as_str());
            let sources = sources(&request.from, endpoint)?;
            let mut params = Params {
                user: endpoint.user.clone(),
                line: key_line::line(side, &sources, &pair.public),
                blob: pair.public.blob.clone(),
                ..Params::default()
            };
            if side == Side::Host {
                all.extend(gate(request, &on, endpoint, &mut params)?);
            }
            let about = format!(
                "As root. The key is accepted only from {}; if the machine sees this one under another address, \
                 name that with --from.",
                sources.join(", ")
            );
            all.push(Step {
                paste: pasted(&script(side, Action::Apply, &params)),
                about,
                on,
            });
            all.push(pin(request, endpoint));
        }
    }
    Ok(all)
}

/// All steps of the removal.
///
/// # Errors
/// If there is no key to identify its lines by.
pub fn manual_removal(request: &EnrollRequest) -> Result<Vec<Step>> {
    let files = KeyFiles::of(&request.config.ssh.key_file);
    let Some(pair) = keys::load(&files.file)? else {
        let message = format!(
            "there is no key in {}, so its lines cannot be identified",
            files.file.display()
        );
        return Err(EnrollError::Usage(message));
    };
    let mut all = Vec::new();
    for target in &request.targets {
        for (side, endpoint) in [(Side::Guest, &target.guest), (Side::Host, &target.host)] {
            let params = Params {
                user: endpoint.user.clone(),
                blob: pair.public.blob.clone(),
                ..Params::default()
            };
            all.push(Step {
                on: format!("{}.{}", target.name, side.as_str()),
                about: "As root. What other keys use is kept.".to_owned(),
                paste: pasted(&script(side, Action::Remove, &params)),
            });
        }
    }
    all.push(Step {
        on: "here".to_owned(),
        about: "Last, when neither machine prints a `fact line` any more.".to_owned(),
        paste: format!("rm {}", quoted(&files.file.display().to_string())),
    });
    Ok(all)
}

/// The step that sends the gate; completes the parameters of the host's script.
fn gate(
    request: &EnrollRequest,
    on: &str,
    endpoint: &Endpoint,
    params: &mut Params,
) -> Result<Option<Step>> {
    if let Some(guest) = &request.guest {
        guest.driver().clone_into(&mut params.driver);
        params.guest = guest.in_policy();
    }
    let Some(gate) = &request.gate else {
        return match request.guest {
            Some(_) => Err(EnrollError::Usage(
                "there is no gate to install; build one (scripts/gate.sh prints its path) and pass --gate FILE"
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
            "Sends the gate to {on}. The next step there compares its SHA-256 with {sha256}."
        ),
        paste: format!(
            "scp -P {} {} {}@{}:{}.new",
            endpoint.port,
            quoted(&gate.path.display().to_string()),
            endpoint.user,
            bracketed(&endpoint.host),
            key_line::GATE_PATH
        ),
    }))
}

fn pin(request: &EnrollRequest, endpoint: &Endpoint) -> Step {
    let name = known_hosts_name(endpoint);
    let file = request.config.ssh.known_hosts.display().to_string();
    Step {
        on: "here".to_owned(),
        about: format!(
            "{}; replace KEY by the key that the previous step printed as `fact hostkey`.",
            Change::Pin {
                name: name.clone(),
                file: file.clone()
            }
        ),
        paste: format!("echo {} 'KEY' >> {}", quoted(&name), quoted(&file)),
    }
}

/// Without a login, only this machine's own address on the route to the endpoint is known.
fn sources(asked: &[Source], endpoint: &Endpoint) -> Result<Vec<String>> {
    if let Some(sources) = known_sources(asked, None) {
        return Ok(sources);
    }
    own_address(endpoint)
        .map(|own| with_address(asked, None, own))
        .ok_or_else(|| {
            EnrollError::Usage(format!(
                "there is no route from here to {}; name the address of this machine with --from",
                endpoint.host
            ))
        })
}

/// The address from which the kernel would send to the endpoint. Nothing is sent.
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
