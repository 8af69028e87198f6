//! `[[targets]]`: the machines to be saved.

use std::collections::HashSet;
use std::net::IpAddr;

use breakglass_control::{Endpoint, Target};

use super::{host_name, plain_name};
use crate::reader::SectionReader;

/// Reads all targets. Returns `None` if one of them has an error.
pub(super) fn targets(root: &mut SectionReader<'_>) -> Option<Vec<Target>> {
    let errors_before = root.problems().errors.len();
    let has_targets = root.has("targets");
    let mut taken = Taken::default();
    let targets = root.sections("targets", |section| target(section, &mut taken));
    if targets.is_empty() && root.problems().errors.len() == errors_before {
        let problem = if has_targets {
            "is empty"
        } else {
            "is missing"
        };
        root.error(
            "targets",
            problem,
            "describe one machine in a [[targets]] section",
        );
    }
    targets.into_iter().collect()
}

/// Names and hosts of the targets that were read before.
#[derive(Default)]
struct Taken {
    /// Names of guests and hosts, by which the agent reaches them.
    names: HashSet<String>,
    /// Hosts: the server has one key, which opens one gate per host, and a gate controls one guest.
    hosts: HashSet<Endpoint>,
}

fn target(section: &mut SectionReader<'_>, taken: &mut Taken) -> Option<Target> {
    if !section.has("name") {
        section.error("name", "is missing", "name the target, as in \"devvm\"");
    }
    let name = section.parsed(
        "name",
        "use a–z, 0–9 and -, and each name once",
        |text| {
            let name = plain_name(text)?;
            if taken.names.insert(name.clone()) {
                Ok(name)
            } else {
                Err(format!("{text:?} is used twice"))
            }
        },
    );
    let guest = endpoint(section, "guest");
    let host = endpoint(section, "host");
    let host_name = section.parsed("host_name", "use a–z, 0–9 and -", plain_name);
    let mut target = Target::new(name?, guest?, host?);
    if let Some(host_name) = host_name {
        target.host_name = host_name;
    }
    if !taken.names.insert(target.host_name.clone()) {
        let problem = format!(
            "{:?} is already the name of another machine",
            target.host_name
        );
        let remedy = "give each host its own name, so that every verb reaches the right machine";
        section.error("host_name", problem, remedy);
    }
    if !taken.hosts.insert(target.host.clone()) {
        let problem =
            "is also the host of another target, and one key reaches only one guest there";
        let remedy = "run a second server, with its own key, for the second guest";
        section.error("host", problem, remedy);
    }
    Some(target)
}

fn endpoint(section: &mut SectionReader<'_>, key: &'static str) -> Option<Endpoint> {
    if !section.has(key) {
        let remedy = "write it as { host = \"ADDRESS\", user = \"NAME\" }";
        section.error(key, "is missing", remedy);
        return None;
    }
    section.section(key, |section| {
        for key in ["host", "user"] {
            if !section.has(key) {
                section.error(
                    key,
                    "is missing",
                    "write the address and the user of the machine",
                );
            }
        }
        let host = section.parsed("host", "write an address", |text| {
            match text.parse::<IpAddr>() {
                Ok(address) => Ok(address.to_string()),
                Err(_) => host_name(text),
            }
        });
        let is_name = |host: &String| host.parse::<IpAddr>().is_err();
        if host.as_ref().is_some_and(is_name) {
            let problem = "is a name, and name resolution often fails in an incident";
            section.warn("host", problem, "write the address instead");
        }
        let port = u16::try_from(section.integer("port", 22, 1..=65_535)).unwrap_or(22);
        let user = section.parsed("user", "write a login name", |text| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let valid = text.len() <= 64 && !text.starts_with('-') && text.bytes().all(fits);
            if !valid {
                return Err(format!("{text:?} is not a login name"));
            }
            Ok(text.to_owned())
        });
        Some(Endpoint {
            host: host?,
            port,
            user: user?,
        })
    })
}
