//! The source addresses from which the key is accepted: requested, existing, or revealed by a login.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// One `--from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The address under which the target's machine sees this one.
    Here,
    /// An address or a network.
    Net(IpNet),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        if text == "here" {
            return Ok(Source::Here);
        }
        let net = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match net {
            Ok(net) if net.prefix_len() == 0 => {
                Err("this would allow every address; name addresses or networks".to_owned())
            }
            Ok(net) => Ok(Source::Net(net.trunc())),
            Err(_) => Err("write an address, a network as in 10.0.0.0/24, or here".to_owned()),
        }
    }
}

/// The network in the syntax of sshd: a single address has no prefix length.
fn written(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

fn nets(requested: &[Source]) -> impl Iterator<Item = String> {
    requested.iter().filter_map(|source| match source {
        Source::Net(net) => Some(written(net)),
        Source::Here => None,
    })
}

/// Whether this machine must be among the sources.
pub(crate) fn includes_here(requested: &[Source]) -> bool {
    requested.is_empty() || requested.contains(&Source::Here)
}

/// The sources that are known without a login: those of the existing line, or the requested ones. `None` if this
/// machine's address must be found first.
pub(crate) fn known_sources(
    requested: &[Source],
    existing: Option<&[String]>,
) -> Option<Vec<String>> {
    let existing = existing.filter(|sources| !sources.is_empty());
    if requested.is_empty() {
        return existing.map(<[String]>::to_vec);
    }
    let named: Vec<_> = nets(requested).collect();
    if !includes_here(requested) {
        return Some(named);
    }
    // One address more than requested: the one that an earlier run found.
    let existing = existing?;
    let mut more = existing.iter().filter(|source| !named.contains(source));
    let found = more.next().filter(|one| one.parse::<IpAddr>().is_ok())?;
    if more.next().is_some() {
        return None;
    }
    if named.iter().all(|source| existing.contains(source)) {
        Some(existing.to_vec())
    } else {
        Some([named.as_slice(), std::slice::from_ref(found)].concat())
    }
}

/// The allowed source addresses, once a login has revealed our own address (`seen`).
pub(crate) fn with_address(
    requested: &[Source],
    existing: Option<&[String]>,
    seen: IpAddr,
) -> Vec<String> {
    let mut sources: Vec<String> = match requested {
        [] => existing.unwrap_or_default().to_vec(),
        requested => nets(requested).collect(),
    };
    let seen = seen.to_string();
    if !sources.contains(&seen) {
        sources.push(seen);
    }
    sources
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requested(list: &[&str]) -> Vec<Source> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn existing_sources_are_kept_unless_others_are_requested() {
        let existing = strings(&["10.0.0.7", "192.0.2.0/24"]);
        assert_eq!(known_sources(&[], Some(&existing)), Some(existing.clone()));
        assert_eq!(
            known_sources(&requested(&["192.0.2.9"]), Some(&existing)),
            Some(strings(&["192.0.2.9"]))
        );
        let found = strings(&["10.0.0.7"]);
        assert_eq!(
            known_sources(&requested(&["here", "192.0.2.9"]), Some(&found)),
            Some(strings(&["192.0.2.9", "10.0.0.7"]))
        );
        assert_eq!(
            known_sources(&requested(&["here", "192.0.2.0/24"]), Some(&existing)),
            Some(existing)
        );
    }

    #[test]
    fn without_an_address_in_the_line_it_must_be_found() {
        assert_eq!(known_sources(&[], None), None);
        assert_eq!(known_sources(&[], Some(&[])), None);
        assert_eq!(
            known_sources(&requested(&["here"]), Some(&strings(&["10.0.0.0/8"]))),
            None
        );
    }

    #[test]
    fn everyone_and_names_are_refused() {
        for text in [
            "0.0.0.0/0",
            "::/0",
            "example.org",
            "*",
            "",
            "10.0.0.1\",x=\"",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
        assert_eq!(requested(&["10.1.2.3/24"]), requested(&["10.1.2.0/24"]));
    }

    proptest! {
        #[test]
        fn next_run_keeps_the_address_that_was_found(seen: IpAddr, other: std::net::Ipv4Addr, here: bool) {
            prop_assume!(seen != IpAddr::from(other));
            let requested = if here {
                vec![Source::Here, Source::Net(IpAddr::from(other).into())]
            } else {
                Vec::new()
            };
            let sources = with_address(&requested, None, seen);
            prop_assert!(sources.contains(&seen.to_string()));
            prop_assert_eq!(known_sources(&requested, Some(&sources)), Some(sources));
        }
    }
}
