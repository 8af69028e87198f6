//! The part of Proxmox's cluster file system that the gate and the stand-in for `qm` read.

use std::fs;
use std::path::Path;

/// The content of `.members` on one node of a cluster of three.
#[must_use]
pub fn members(quorate: bool) -> String {
    let quorate = u8::from(quorate);
    format!(
        "{{\n\"nodename\": \"pve\",\n\"version\": 4,\n\"cluster\": {{ \"name\": \"lab\", \"version\": 3, \
         \"nodes\": 3, \"quorate\": {quorate} }},\n\"nodelist\": {{\n  \"pve\": {{ \"id\": 1, \
         \"online\": 1, \"ip\": \"192.0.2.1\"}},\n  \"pve2\": {{ \"id\": 2, \"online\": 1, \"ip\": \
         \"192.0.2.2\"}}\n  }}\n}}\n"
    )
}

/// The content of `.vmlist` in a cluster whose guest 102 is on `node`, as a `kind`.
#[must_use]
pub fn vmlist(node: &str, kind: &str) -> String {
    format!(
        "{{\n\"version\": 7,\n\"ids\": {{\n\"101\": {{ \"node\": \"pve2\", \"type\": \"lxc\", \
         \"version\": 3 }},\n\"102\": {{ \"node\": \"{node}\", \"type\": \"{kind}\", \"version\": 6 \
         }}}}\n\n}}\n"
    )
}

/// Writes the files of a healthy node to `dir`: a quorum, and guest 102 with a configuration.
///
/// # Panics
/// When it can't be written.
pub fn healthy(dir: &Path) {
    fs::create_dir_all(dir.join("qemu-server")).unwrap();
    fs::create_dir_all(dir.join("ha")).unwrap();
    fs::write(dir.join(".members"), members(true)).unwrap();
    fs::write(dir.join(".vmlist"), vmlist("pve", "qemu")).unwrap();
    fs::write(
        dir.join("qemu-server/102.conf"),
        "name: web01\nmemory: 192\n",
    )
    .unwrap();
}

/// Puts guest 102 under high availability, with `state` requested.
///
/// # Panics
/// When it can't be written.
pub fn manage(dir: &Path, state: &str) {
    let resources = format!("ct: 101\n\tstate started\n\nvm: 102\n\tgroup all\n\tstate {state}\n");
    fs::write(dir.join("ha/resources.cfg"), resources).unwrap();
}
