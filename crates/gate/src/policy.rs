//! The policy file: what the operator, not the client, decides. Flat lines of `key = value`, a
//! small strict part of TOML.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::limits::Limits;

/// Where the policy is looked for, unless the authorized_keys line says `--policy FILE`.
pub(crate) const DEFAULT_PATH: &str = "/etc/breakglass/gate.toml";
/// A policy is a dozen lines; more is not one.
const LARGEST: u64 = 64 * 1024;

/// Which guest, by which driver, and where the gate keeps what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The only guest, by the hypervisor's id.
    pub guest: String,
    /// The hypervisor's tool, an absolute path.
    pub qm: PathBuf,
    /// Where the hypervisor keeps `ID.pid` and the monitor's socket `ID.qmp`.
    pub run_dir: PathBuf,
    /// The control group that holds one `ID.scope` for each guest.
    pub cgroup_dir: PathBuf,
    /// The file that lists what high availability manages.
    pub ha_resources: PathBuf,
    /// Where forensics are kept.
    pub forensics_dir: PathBuf,
    /// Where decisions are written down.
    pub journal_file: PathBuf,
    /// The socket of the host's syslog.
    pub syslog: PathBuf,
    /// Held by the one mutating verb that runs.
    pub lock_file: PathBuf,
    /// Every wait ends at one of these.
    pub limits: Limits,
}

/// Everything that is wrong with a policy file, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(pub Vec<String>);

impl Policy {
    /// Reads the policy from `path`, which nobody but its owner may be able to write: root, or the
    /// user that the gate runs as.
    ///
    /// # Errors
    /// Everything that is wrong, each sentence with the file, the line and a remedy.
    pub fn load(path: &Path) -> Result<Policy, PolicyError> {
        let name = path.display().to_string();
        read(path)
            .map_err(|why| PolicyError(vec![why]))
            .and_then(|text| Policy::parse(&text, &name))
    }

    /// The policy that `text` says; `name` is the file's, for the errors.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn parse(text: &str, name: &str) -> Result<Policy, PolicyError> {
        let mut draft = Draft::default();
        let mut errors = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if let Err(why) = draft.take(line) {
                errors.push(format!("{name}, line {}: {why}", index + 1));
            }
        }
        for (key, remedy) in [("driver", "\"qm\""), ("guest", "102")] {
            if !draft.seen.iter().any(|seen| seen == key) {
                errors.push(format!(
                    "{name}: `{key}` is missing; add a line `{key} = {remedy}`"
                ));
            }
        }
        if errors.is_empty() {
            Ok(draft.policy)
        } else {
            Err(PolicyError(errors))
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let remedy = "install it as in docs/gate.md";
    let mut file = File::open(path).map_err(|e| format!("{name} can't be read: {e}; {remedy}"))?;
    let meta = file
        .metadata()
        .map_err(|e| format!("{name} can't be examined: {e}; {remedy}"))?;
    let own = rustix::process::geteuid().as_raw();
    if !meta.is_file() || meta.len() > LARGEST {
        return Err(format!(
            "{name} is not a file of at most {LARGEST} bytes; {remedy}"
        ));
    }
    if meta.uid() != 0 && meta.uid() != own {
        return Err(format!(
            "{name} belongs to uid {}; run `chown root {name}`",
            meta.uid()
        ));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!(
            "{name} can be written by others; run `chmod go-w {name}`"
        ));
    }
    let mut text = String::new();
    let read = file.by_ref().take(LARGEST).read_to_string(&mut text);
    read.map(|_| text)
        .map_err(|e| format!("{name} is not readable text: {e}; {remedy}"))
}

struct Draft {
    policy: Policy,
    seen: Vec<String>,
}

impl Default for Draft {
    fn default() -> Draft {
        let policy = Policy {
            guest: String::new(),
            qm: "/usr/sbin/qm".into(),
            run_dir: "/var/run/qemu-server".into(),
            cgroup_dir: "/sys/fs/cgroup/qemu.slice".into(),
            ha_resources: "/etc/pve/ha/resources.cfg".into(),
            forensics_dir: "/var/lib/breakglass/forensics".into(),
            journal_file: "/var/log/breakglass-gate.log".into(),
            syslog: "/dev/log".into(),
            lock_file: "/run/breakglass-gate.lock".into(),
            limits: Limits::default(),
        };
        Draft {
            policy,
            seen: Vec::new(),
        }
    }
}

impl Draft {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (key, value) = line
            .split_once('=')
            .ok_or("not `key = value`; write one, or begin the line with `#`")?;
        let key = key.trim();
        if self.seen.iter().any(|seen| seen == key) {
            return Err(format!("`{key}` was given before; keep one of the two"));
        }
        let value = Value::parse(value.trim()).map_err(|why| format!("`{key}`: {why}"))?;
        self.set(key, &value)
            .map_err(|why| format!("`{key}`: {why}"))?;
        self.seen.push(key.to_owned());
        Ok(())
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let policy = &mut self.policy;
        let limits = &mut policy.limits;
        match key {
            "driver" => return value.driver(),
            "guest" => policy.guest = value.guest()?,
            "qm" => policy.qm = value.path()?,
            "run_dir" => policy.run_dir = value.path()?,
            "cgroup_dir" => policy.cgroup_dir = value.path()?,
            "ha_resources" => policy.ha_resources = value.path()?,
            "forensics_dir" => policy.forensics_dir = value.path()?,
            "journal_file" => policy.journal_file = value.path()?,
            "syslog" => policy.syslog = value.path()?,
            "lock_file" => policy.lock_file = value.path()?,
            "ask_seconds" => limits.ask = value.seconds(1)?,
            "stop_seconds" => limits.stop = value.seconds(1)?,
            "start_seconds" => limits.start = value.seconds(1)?,
            "settle_seconds" => limits.settle = value.seconds(1)?,
            "sample_gap_seconds" => limits.sample_gap = value.seconds(0)?,
            "keep_bundles" => {
                let count = value.number(1, 10_000)?;
                limits.keep_bundles = usize::try_from(count).map_err(|error| error.to_string())?;
            }
            _ => return Err("no such key; docs/gate.md lists them".to_owned()),
        }
        Ok(())
    }
}

enum Value {
    Text(String),
    Number(u64),
}

impl Value {
    /// A string in double quotes without escapes, or digits; a comment may follow.
    fn parse(text: &str) -> Result<Value, String> {
        let (value, rest) = match text.strip_prefix('"') {
            Some(inner) => {
                let (value, rest) = inner
                    .split_once('"')
                    .ok_or("the closing quote is missing")?;
                if value.contains(|c: char| c == '\\' || c.is_control()) {
                    return Err("no backslash and no control character, please".to_owned());
                }
                (Value::Text(value.to_owned()), rest)
            }
            None => {
                let end = text
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(text.len());
                let (digits, rest) = text.split_at_checked(end).unwrap_or((text, ""));
                let number = digits.parse();
                (
                    Value::Number(number.map_err(|_| "write a \"string\" or a number")?),
                    rest,
                )
            }
        };
        match rest.trim() {
            rest if rest.is_empty() || rest.starts_with('#') => Ok(value),
            rest => Err(format!(
                "remove `{}` after the value",
                crate::text::ascii(rest, 40)
            )),
        }
    }

    fn driver(&self) -> Result<(), String> {
        match self {
            Value::Text(name) if name == "qm" => Ok(()),
            _ => Err("the only driver is \"qm\"".to_owned()),
        }
    }

    /// Proxmox counts guests from 100; a leading zero or a sign would make two names of one.
    fn guest(&self) -> Result<String, String> {
        self.number(100, 999_999_999).map(|id| id.to_string())
    }

    fn path(&self) -> Result<PathBuf, String> {
        match self {
            Value::Text(path) if path.starts_with('/') => Ok(path.into()),
            _ => Err("write an absolute path in quotes".to_owned()),
        }
    }

    fn seconds(&self, least: u64) -> Result<Duration, String> {
        self.number(least, 3_600).map(Duration::from_secs)
    }

    fn number(&self, least: u64, most: u64) -> Result<u64, String> {
        match self {
            Value::Number(number) if (least..=most).contains(number) => Ok(*number),
            _ => Err(format!("write a number from {least} to {most}")),
        }
    }
}
