//! What Proxmox's cluster file system (pmxcfs, mounted at `/etc/pve`) says of the guest: where it
//! lives, whether high availability decides about it, and whether it could be started again.
//!
//! `qm start` needs a quorum, a configuration on this node and all that it names; `qm stop` needs
//! none of them. So a guest is ended only after they were seen. Formats: pmxcfs of pve-cluster 9
//! (`.members`, `.vmlist`), and PVE's section files (`storage.cfg`, `ha/resources.cfg`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Evidence;
use super::drives::{drives, effective, lost, offers};
use super::sections::{is_list, section};
use super::way_back::{Ha, Home, WayBack};
use crate::{file, text};

/// The text of a file; none where there is no such file.
type Text = Result<Option<String>, String>;

/// The files of one look; each was given the same time. By default none was found.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    members: Text,
    vmlist: Text,
    config: Text,
    storage: Text,
    resources: Text,
    /// A file of the guest's drives that is certain not to be there.
    lost: Option<PathBuf>,
}

impl Default for Files {
    fn default() -> Files {
        let none = || Ok(None);
        Files {
            dir: PathBuf::new(),
            members: none(),
            vmlist: none(),
            config: none(),
            storage: none(),
            resources: none(),
            lost: None,
        }
    }
}

impl Files {
    /// Reads them all at once, within `limit`: a cluster file system may hang.
    pub(crate) fn read(dir: &Path, guest: &str, limit: Duration) -> Files {
        let config = format!("qemu-server/{guest}.conf");
        let names = [
            ".members",
            ".vmlist",
            &config,
            "storage.cfg",
            "ha/resources.cfg",
        ];
        let [members, vmlist, config, storage, resources] = thread::scope(|scope| {
            let readers = names.map(|name| scope.spawn(move || file::text(&dir.join(name), limit)));
            let broken = |_| Err("its reader failed".to_owned());
            readers.map(|reader| reader.join().unwrap_or_else(broken))
        });
        let lost = match (&config, &storage) {
            (Ok(Some(config)), Ok(Some(storage))) => {
                lost(&drives(&effective(config)), storage, limit)
            }
            _ => None,
        };
        Files {
            lost,
            dir: dir.to_owned(),
            members,
            vmlist,
            config,
            storage,
            resources,
        }
    }

    /// Adds to what was `seen` all that these files say, and what `qm` answered (`pending`).
    pub(crate) fn tell(&self, guest: &str, pending: &Result<String, String>, seen: &mut Evidence) {
        seen.home = self.home(guest);
        seen.ha = self.ha(guest);
        let proof = self.way_back(guest, pending);
        seen.way_back = proof.map_or_else(WayBack::Missing, WayBack::Seen);
    }

    /// Whether the guest could be started again on this node: what proves it, or why not.
    fn way_back(&self, guest: &str, pending: &Result<String, String>) -> Result<String, String> {
        let node = self.node()?;
        self.has_quorum()?;
        if let Ha::Unknown(why) = self.ha(guest) {
            return Err(format!(
                "it can't be told whether high availability manages it ({why}), and a stop may be a \
                 request that outlives the start; run `ha-manager config` on the host to see why"
            ));
        }
        self.lives_on(&node, guest)?;
        let config = self.settings(guest)?;
        let storages = self.storages(config, &node)?;
        answers(guest, pending)?;
        let proof = "quorum, configuration and qm are in order";
        Ok(match storages.is_empty() {
            true => proof.to_owned(),
            false => format!(
                "{proof}; whether its storage ({}) is online shows only at the start",
                storages.join(", ")
            ),
        })
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// This node's name.
    fn node(&self) -> Result<String, String> {
        let members = self.json(".members", &self.members)?;
        word(&members, "nodename").ok_or_else(|| self.odd(".members", "does not name this node"))
    }

    fn has_quorum(&self) -> Result<(), String> {
        let members = self.json(".members", &self.members)?;
        let said = members.get("cluster").map(|cluster| cluster.get("quorate"));
        match said.map(|quorate| quorate.map(Value::to_string)) {
            // A node of its own is its own quorum.
            None => Ok(()),
            Some(Some(quorate)) if matches!(quorate.as_str(), "1" | "true") => Ok(()),
            Some(Some(quorate)) if matches!(quorate.as_str(), "0" | "false") => Err(
                "the cluster has no quorum, and qm starts nothing without one; bring its other nodes \
                 back, or, if they are off for certain, run `pvecm expected 1` on the host"
                    .to_owned(),
            ),
            Some(_) => Err(self.odd(".members", "does not say whether there is a quorum")),
        }
    }

    /// The node that the guest lives on, and of what type it is; none where no node has it.
    fn place(&self, guest: &str) -> Result<Option<(String, String)>, String> {
        let list = self.json(".vmlist", &self.vmlist)?;
        let ids = list.get("ids").and_then(Value::as_object);
        let ids = ids.ok_or_else(|| self.odd(".vmlist", "lists no guests"))?;
        let Some(entry) = ids.get(guest) else {
            return Ok(None);
        };
        match (word(entry, "node"), word(entry, "type")) {
            (Some(node), Some(kind)) => Ok(Some((node, kind))),
            _ => Err(self.odd(".vmlist", &format!("does not say where guest {guest} is"))),
        }
    }

    fn lives_on(&self, node: &str, guest: &str) -> Result<(), String> {
        match self.place(guest)? {
            None => Err(format!(
                "no node of the cluster has a guest {guest}: a process that still runs is all that is \
                 left of it; restore {} from a backup, or correct `guest` in the gate's policy",
                self.path(&format!("qemu-server/{guest}.conf"))
            )),
            Some((home, _)) if home != node => Err(format!(
                "guest {guest} lives on node {home}, and this is {node}, which can't start it; send \
                 the verb to {home}, or migrate the guest back"
            )),
            Some((_, kind)) if kind != "qemu" => Err(format!(
                "guest {guest} is of type {kind}, and qm starts virtual machines (qemu) alone; \
                 correct `guest` in the gate's policy"
            )),
            Some(_) => Ok(()),
        }
    }

    /// The configuration, where it can be started.
    fn settings(&self, guest: &str) -> Result<&str, String> {
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
        match settings.iter().any(is_template) {
            true => Err(format!(
                "it is a template, which Proxmox does not start; remove `template` from {path}"
            )),
            false => Ok(text),
        }
    }

    /// The storages of the guest's drives, where this node has them all, as far as their definitions
    /// tell. Without such a file there is the one storage `local`; one that can't be read shows at the
    /// start.
    fn storages(&self, config: &str, node: &str) -> Result<Vec<String>, String> {
        let settings = effective(config);
        let drives = drives(&settings);
        if let Ok(Some(definitions)) = &self.storage {
            for (storage, _) in &drives {
                offers(definitions, &self.path("storage.cfg"), storage, node)?;
            }
        }
        if let Some(lost) = &self.lost {
            return Err(format!(
                "its configuration names {}, which is not there; put it back, or take that drive out \
                 of the configuration",
                lost.display()
            ));
        }
        let names = drives.iter().map(|(storage, _)| (*storage).to_owned());
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Where the guest lives; here where it can't be told.
    fn home(&self, guest: &str) -> Home {
        match (self.node(), self.place(guest)) {
            (Ok(node), Ok(Some((home, _)))) if home != node => Home::On(home),
            (Ok(_), Ok(None)) if self.config == Ok(None) => Home::Nowhere,
            _ => Home::Here,
        }
    }

    fn ha(&self, guest: &str) -> Ha {
        let text = match (&self.resources, &self.members) {
            (Ok(Some(text)), _) => text,
            // High availability was never set up, if the cluster file system is there at all.
            (Ok(None), Ok(Some(_))) => return Ha::No,
            (Ok(None), _) => {
                let dir = self.dir.display();
                return Ha::Unknown(format!("{dir} is not Proxmox's cluster file system"));
            }
            (Err(why), _) => return Ha::Unknown(why.clone()),
        };
        if !is_list(text) {
            return Ha::Unknown(self.odd("ha/resources.cfg", "is not a list of resources"));
        }
        let Some(settings) = section(text, |kind, id| kind == "vm" && id == guest) else {
            return Ha::No;
        };
        let state = settings.iter().find(|(key, _)| *key == "state");
        match state.map_or("started", |(_, state)| *state) {
            "ignored" => Ha::No,
            "enabled" => Ha::Managed("started".to_owned()),
            state => Ha::Managed(state.to_owned()),
        }
    }

    fn json(&self, name: &str, text: &Text) -> Result<Value, String> {
        let why = match text {
            Ok(Some(text)) => match serde_json::from_str::<Value>(text) {
                Ok(value) if value.is_object() => return Ok(value),
                Ok(_) => format!("{}: not an object", self.path(name)),
                Err(error) => format!("{}: {error}", self.path(name)),
            },
            Ok(None) => format!("{} is not there", self.path(name)),
            Err(why) => why.clone(),
        };
        Err(format!(
            "Proxmox's cluster file system does not answer ({why}), and qm can do nothing without \
             it; run `systemctl restart pve-cluster` on the host, which guests survive"
        ))
    }

    fn odd(&self, name: &str, what: &str) -> String {
        let path = self.path(name);
        format!("{path} {what}; run `pvecm status` and `qm list` on the host to see why")
    }
}

/// Whether `qm` works: one that can't show a configuration can't start it.
fn answers(guest: &str, pending: &Result<String, String>) -> Result<(), String> {
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
#[path = "pve_tests.rs"]
mod tests;
