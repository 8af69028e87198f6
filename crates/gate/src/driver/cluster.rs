//! Proxmox's cluster file system (pmxcfs, mounted at `/etc/pve`): on which node the guest is, whether
//! high availability decides about it, and whether it could be started again.
//!
//! `qm start` needs a quorum, a configuration on this node, and everything that it names; `qm stop`
//! needs none of them. So the gate checks them before it ends a guest. Formats: pmxcfs of
//! pve-cluster 9 (`.members`, `.vmlist`), and PVE's section files (`storage.cfg`,
//! `ha/resources.cfg`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Evidence;
use super::drives::{check_storage, drives, effective, missing_file};
use super::sections::{is_section_file, section};
use super::way_back::{HighAvailability, Location, WayBack};
use crate::{file, text};

/// The text of a file; none if it does not exist.
type Text = Result<Option<String>, String>;

/// The files of the cluster file system that concern the guest. By default none exists.
#[derive(Debug)]
pub(super) struct ClusterFiles {
    dir: PathBuf,
    members: Text,
    vmlist: Text,
    config: Text,
    storage: Text,
    resources: Text,
    /// A file of the guest's drives that certainly does not exist.
    missing_drive: Option<PathBuf>,
}

impl Default for ClusterFiles {
    fn default() -> ClusterFiles {
        let none = || Ok(None);
        ClusterFiles {
            dir: PathBuf::new(),
            members: none(),
            vmlist: none(),
            config: none(),
            storage: none(),
            resources: none(),
            missing_drive: None,
        }
    }
}

impl ClusterFiles {
    /// Reads all files at the same time, within `timeout`: a cluster file system may hang.
    pub(super) fn read(dir: &Path, guest: &str, timeout: Duration) -> ClusterFiles {
        let config = format!("qemu-server/{guest}.conf");
        let names = [
            ".members",
            ".vmlist",
            &config,
            "storage.cfg",
            "ha/resources.cfg",
        ];
        let [members, vmlist, config, storage, resources] = thread::scope(|scope| {
            let readers =
                names.map(|name| scope.spawn(move || file::text(&dir.join(name), timeout)));
            let failed = |_| Err("its reader failed".to_owned());
            readers.map(|reader| reader.join().unwrap_or_else(failed))
        });
        let missing_drive = match (&config, &storage) {
            (Ok(Some(config)), Ok(Some(storage))) => {
                missing_file(&drives(&effective(config)), storage, timeout)
            }
            _ => None,
        };
        ClusterFiles {
            missing_drive,
            dir: dir.to_owned(),
            members,
            vmlist,
            config,
            storage,
            resources,
        }
    }

    /// Adds the evidence in these files and in the output of `qm pending`.
    pub(super) fn add_evidence(
        &self,
        guest: &str,
        pending: &Result<String, String>,
        evidence: &mut Evidence,
    ) {
        evidence.location = self.location(guest);
        evidence.ha = self.high_availability(guest);
        let proof = self.way_back(guest, pending);
        evidence.way_back = proof.map_or_else(WayBack::Missing, WayBack::Proven);
    }

    /// Whether the guest could be started again on this node: what proves it, or why not.
    fn way_back(&self, guest: &str, pending: &Result<String, String>) -> Result<String, String> {
        let node = self.node()?;
        self.check_quorum()?;
        if let HighAvailability::Unknown(why) = self.high_availability(guest) {
            return Err(format!(
                "it is unknown whether high availability manages it ({why}), and then a stop may be a \
                 request that is carried out after the start; run `ha-manager config` on the host to see \
                 why"
            ));
        }
        self.check_node(&node, guest)?;
        let config = self.config(guest)?;
        let storages = self.storages(config, &node)?;
        check_qm(guest, pending)?;
        let mut proof = "quorum, configuration and qm are in order".to_owned();
        if !storages.is_empty() {
            let storages = storages.join(", ");
            proof +=
                &format!("; whether its storage ({storages}) is online shows only at the start");
        }
        Ok(proof)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// This node's name.
    fn node(&self) -> Result<String, String> {
        let members = self.json(".members", &self.members)?;
        word(&members, "nodename")
            .ok_or_else(|| self.malformed(".members", "does not name this node"))
    }

    fn check_quorum(&self) -> Result<(), String> {
        let members = self.json(".members", &self.members)?;
        let quorate = members.get("cluster").map(|cluster| cluster.get("quorate"));
        match quorate.map(|quorate| quorate.map(Value::to_string)) {
            // A single node needs no quorum.
            None => Ok(()),
            Some(Some(quorate)) if matches!(quorate.as_str(), "1" | "true") => Ok(()),
            Some(Some(quorate)) if matches!(quorate.as_str(), "0" | "false") => Err(
                "the cluster has no quorum, and qm starts nothing without one; bring its other nodes \
                 back, or, if they are certainly off, run `pvecm expected 1` on the host"
                    .to_owned(),
            ),
            Some(_) => Err(self.malformed(".members", "does not say whether there is a quorum")),
        }
    }

    /// The guest's node and type; none if no node has it.
    fn entry(&self, guest: &str) -> Result<Option<(String, String)>, String> {
        let list = self.json(".vmlist", &self.vmlist)?;
        let ids = list.get("ids").and_then(Value::as_object);
        let ids = ids.ok_or_else(|| self.malformed(".vmlist", "lists no guests"))?;
        let Some(entry) = ids.get(guest) else {
            return Ok(None);
        };
        match (word(entry, "node"), word(entry, "type")) {
            (Some(node), Some(kind)) => Ok(Some((node, kind))),
            _ => Err(self.malformed(".vmlist", &format!("does not say where guest {guest} is"))),
        }
    }

    fn check_node(&self, node: &str, guest: &str) -> Result<(), String> {
        match self.entry(guest)? {
            None => Err(format!(
                "no node of the cluster has a guest {guest}: if its process still runs, nothing else is \
                 left; restore {} from a backup, or correct `guest` in the gate's policy",
                self.path(&format!("qemu-server/{guest}.conf"))
            )),
            Some((other, _)) if other != node => Err(format!(
                "guest {guest} is on node {other}, and this is {node}, which can't start it; send the \
                 verb to {other}, or migrate the guest back"
            )),
            Some((_, kind)) if kind != "qemu" => Err(format!(
                "guest {guest} is of type {kind}, and qm starts only virtual machines (qemu); \
                 correct `guest` in the gate's policy"
            )),
            Some(_) => Ok(()),
        }
    }

    /// The configuration, if a guest can be started with it.
    fn config(&self, guest: &str) -> Result<&str, String> {
        let name = format!("qemu-server/{guest}.conf");
        let path = self.path(&name);
        let text = match &self.config {
            Ok(Some(text)) => text,
            Ok(None) => {
                return Err(format!(
                    "its configuration is missing ({path}); restore that file from a backup first"
                ));
            }
            Err(why) => {
                return Err(format!(
                    "its configuration can't be read ({why}); run `qm config {guest}` on the host to \
                     see why"
                ));
            }
        };
        let settings = effective(text);
        if settings.is_empty() {
            return Err(format!(
                "its configuration ({path}) is empty; restore that file from a backup first"
            ));
        }
        let is_template = |(key, value): &(&str, &str)| {
            *key == "template" && !matches!(*value, "0" | "no" | "off" | "false")
        };
        if settings.iter().any(is_template) {
            return Err(format!(
                "it is a template, which Proxmox does not start; remove `template` from {path}"
            ));
        }
        Ok(text)
    }

    /// The storages of the guest's drives, if all of them are defined for this node. A missing or
    /// unreadable `storage.cfg` shows only at a start.
    fn storages(&self, config: &str, node: &str) -> Result<Vec<String>, String> {
        let settings = effective(config);
        let drives = drives(&settings);
        if let Ok(Some(definitions)) = &self.storage {
            for (storage, _) in &drives {
                check_storage(definitions, &self.path("storage.cfg"), storage, node)?;
            }
        }
        if let Some(missing) = &self.missing_drive {
            return Err(format!(
                "its configuration names {}, which does not exist; restore it, or remove that drive \
                 from the configuration",
                missing.display()
            ));
        }
        let names = drives.iter().map(|(storage, _)| (*storage).to_owned());
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Where the guest is; on this host if unknown.
    fn location(&self, guest: &str) -> Location {
        match (self.node(), self.entry(guest)) {
            (Ok(node), Ok(Some((other, _)))) if other != node => Location::OtherNode(other),
            (Ok(_), Ok(None)) if self.config == Ok(None) => Location::Gone,
            _ => Location::ThisHost,
        }
    }

    fn high_availability(&self, guest: &str) -> HighAvailability {
        let text = match (&self.resources, &self.members) {
            (Ok(Some(text)), _) => text,
            // High availability was never configured, provided that the cluster file system exists.
            (Ok(None), Ok(Some(_))) => return HighAvailability::NotManaged,
            (Ok(None), _) => {
                let dir = self.dir.display();
                return HighAvailability::Unknown(format!(
                    "{dir} is not Proxmox's cluster file system"
                ));
            }
            (Err(why), _) => return HighAvailability::Unknown(why.clone()),
        };
        if !is_section_file(text) {
            return HighAvailability::Unknown(
                self.malformed("ha/resources.cfg", "is not a valid list of resources"),
            );
        }
        let Some(settings) = section(text, |kind, id| kind == "vm" && id == guest) else {
            return HighAvailability::NotManaged;
        };
        let state = settings.iter().find(|(key, _)| *key == "state");
        match state.map_or("started", |(_, state)| *state) {
            "ignored" => HighAvailability::NotManaged,
            "enabled" => HighAvailability::Managed("started".to_owned()),
            state => HighAvailability::Managed(state.to_owned()),
        }
    }

    fn json(&self, name: &str, text: &Text) -> Result<Value, String> {
        let why = match text {
            Ok(Some(text)) => match serde_json::from_str::<Value>(text) {
                Ok(value) if value.is_object() => return Ok(value),
                Ok(_) => format!("{}: not an object", self.path(name)),
                Err(error) => format!("{}: {error}", self.path(name)),
            },
            Ok(None) => format!("{} does not exist", self.path(name)),
            Err(why) => why.clone(),
        };
        Err(format!(
            "Proxmox's cluster file system does not answer ({why}), and qm can do nothing without \
             it; run `systemctl restart pve-cluster` on the host, which does not affect running guests"
        ))
    }

    fn malformed(&self, name: &str, what: &str) -> String {
        let path = self.path(name);
        format!("{path} {what}; run `pvecm status` and `qm list` on the host to see why")
    }
}

/// Checks that `qm` works: if it can't show the configuration, it can't start the guest.
fn check_qm(guest: &str, pending: &Result<String, String>) -> Result<(), String> {
    let why = match pending {
        Ok(text) if text.lines().any(|line| line.starts_with("cur ")) => return Ok(()),
        Ok(_) => "it printed no setting",
        Err(why) => &text::visible(why, 200),
    };
    Err(format!(
        "qm does not work: it did not answer `qm pending {guest}` ({why}); run that on the host to \
         see why"
    ))
}

fn word(object: &Value, key: &str) -> Option<String> {
    let word = object.get(key)?.as_str()?;
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
