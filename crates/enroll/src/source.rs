//! From where the key may be used: what was asked for, what stands there, what a login showed.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// One `--from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The address under which the machine sees whoever runs this.
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
                Err("everybody is no source; name addresses or networks".to_owned())
            }
            Ok(net) => Ok(Source::Net(net.trunc())),
            Err(_) => Err("write an address, a network as in 10.0.0.0/24, or here".to_owned()),
        }
    }
}

/// As sshd writes it: a lone address without its length.
fn written(net: &IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

fn nets(asked: &[Source]) -> impl Iterator<Item = String> {
    asked.iter().filter_map(|source| match source {
        Source::Net(net) => Some(written(net)),
        Source::Here => None,
    })
}

/// Whether this place has to be among the sources.
pub(crate) fn wants_here(asked: &[Source]) -> bool {
    asked.is_empty() || asked.contains(&Source::Here)
}

/// The sources that can be named before anything was tried: those of the line that stands there, or
/// those that were asked for. None where this place's own address has to be found first.
pub(crate) fn guess(asked: &[Source], standing: Option<&[String]>) -> Option<Vec<String>> {
    let standing = standing.filter(|sources| !sources.is_empty());
    if asked.is_empty() {
        return standing.map(<[String]>::to_vec);
    }
    let named: Vec<_> = nets(asked).collect();
    if !wants_here(asked) {
        return Some(named);
    }
    // One address more than is named: that was found the last time.
    let standing = standing?;
    let mut more = standing.iter().filter(|source| !named.contains(source));
    let found = more.next().filter(|one| one.parse::<IpAddr>().is_ok())?;
    if more.next().is_some() {
        return None;
    }
    match named.iter().all(|source| standing.contains(source)) {
        true => Some(standing.to_vec()),
        false => Some([named.as_slice(), std::slice::from_ref(found)].concat()),
    }
}

/// The sources once a login showed the address `seen`.
pub(crate) fn found(asked: &[Source], standing: Option<&[String]>, seen: IpAddr) -> Vec<String> {
    let mut sources: Vec<String> = match asked {
        [] => standing.unwrap_or_default().to_vec(),
        asked => nets(asked).collect(),
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

    fn asked(list: &[&str]) -> Vec<Source> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_stands_there_is_kept_unless_something_else_is_asked_for() {
        let standing = strings(&["10.0.0.7", "192.0.2.0/24"]);
        assert_eq!(guess(&[], Some(&standing)), Some(standing.clone()));
        assert_eq!(
            guess(&asked(&["192.0.2.9"]), Some(&standing)),
            Some(strings(&["192.0.2.9"]))
        );
        let found = strings(&["10.0.0.7"]);
        assert_eq!(
            guess(&asked(&["here", "192.0.2.9"]), Some(&found)),
            Some(strings(&["192.0.2.9", "10.0.0.7"]))
        );
        assert_eq!(
            guess(&asked(&["here", "192.0.2.0/24"]), Some(&standing)),
            Some(standing)
        );
    }

    #[test]
    fn without_a_line_or_with_a_wide_one_this_place_has_to_be_found() {
        assert_eq!(guess(&[], None), None);
        assert_eq!(guess(&[], Some(&[])), None);
        assert_eq!(
            guess(&asked(&["here"]), Some(&strings(&["10.0.0.0/8"]))),
            None
        );
    }

    #[test]
    fn everybody_and_names_are_no_sources() {
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
        assert_eq!(asked(&["10.1.2.3/24"]), asked(&["10.1.2.0/24"]));
    }

    proptest! {
        #[test]
        fn what_was_found_is_what_the_next_run_keeps(seen: IpAddr, other: std::net::Ipv4Addr, here: bool) {
            prop_assume!(seen != IpAddr::from(other));
            let asked = match here {
                true => vec![Source::Here, Source::Net(IpAddr::from(other).into())],
                false => Vec::new(),
            };
            let sources = found(&asked, None, seen);
            prop_assert!(sources.contains(&seen.to_string()));
            prop_assert_eq!(guess(&asked, Some(&sources)), Some(sources));
        }
    }
}
