//! What is inside a sandbox, as arguments of `bwrap`. Nothing in them is a secret.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use super::{CELL, Contents, HOME, LIBRARY, PROGRAM, Sandbox, WAYS, WORK};
use crate::Account;

/// Where programs and libraries are, besides `/usr`: links into it, or directories of their own.
const SYSTEM: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// What programs read of `/etc`: certificates, where libraries are, which program has a name, and
/// the time zone. Nothing that an administrator writes secrets into.
const SETTINGS: [&str; 8] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/pki",
    "/etc/ssl",
];
/// Accounts, host names and where to look them up: files in the cell, not the machine's.
const OWN_SETTINGS: [&str; 4] = ["group", "hosts", "nsswitch.conf", "passwd"];

/// What `/proc` tells of the machine rather than of processes: hidden.
const OF_THE_MACHINE: [&str; 26] = [
    "acpi",
    "asound",
    "bus",
    "cmdline",
    "config.gz",
    "diskstats",
    "driver",
    "fs",
    "iomem",
    "ioports",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "mdstat",
    "modules",
    "partitions",
    "sched_debug",
    "scsi",
    "timer_list",
    "vmallocinfo",
];

/// Largest sum of all files in `/tmp`, in bytes.
const TMP_MAX_BYTES: u64 = 512 << 20;
/// Largest sum of all shared memory, in bytes.
const SHARED_MEMORY_MAX_BYTES: u64 = 64 << 20;
/// Largest sum of all files beside the sockets of guest and host, in bytes.
const WAYS_MAX_BYTES: u64 = 1 << 20;

/// All arguments of `bwrap`, which inherits the inner end of the handover under the number `handover`.
///
/// # Errors
/// When the CLI is not there.
pub(super) fn arguments(
    sandbox: &Sandbox,
    contents: &Contents<'_>,
    handover: RawFd,
) -> io::Result<Vec<OsString>> {
    let program = Path::new(contents.command.as_std().get_program()).canonicalize()?;
    let mut arguments = Arguments::default();
    arguments.namespaces(sandbox);
    arguments.system(sandbox);
    arguments.read_only(&package_of(&program), None);
    if let Some(behind) = contents.behind {
        arguments.read_only(&package_of(behind), None);
    }
    for path in &sandbox.readable {
        arguments.read_only(path, None);
    }
    arguments.own(sandbox, contents);
    for path in ["/dev", "/"] {
        arguments.flag("--remount-ro", [path]);
    }
    arguments.flag("--", [PROGRAM, "cell-init", "--handover"]);
    arguments.push(handover.to_string());
    if let Some(Account { uid, gid }) = sandbox.account {
        arguments.flag("--uid", [uid.to_string()]);
        arguments.flag("--gid", [gid.to_string()]);
    }
    if let Some(names) = contents.names {
        arguments.flag("--guest", [&names.guest]);
        arguments.flag("--host", [&names.host]);
    }
    arguments.push("--");
    arguments.push(program);
    arguments
        .all
        .extend(contents.command.as_std().get_args().map(OsStr::to_owned));
    Ok(arguments.all)
}

/// What of the file system the CLI needs to run: the directory that `npm` has put its packages into, or
/// the one file.
fn package_of(program: &Path) -> PathBuf {
    let modules = program
        .ancestors()
        .filter(|path| path.file_name() == Some(OsStr::new("node_modules")))
        .last();
    modules.unwrap_or(program).to_owned()
}

#[derive(Default)]
struct Arguments {
    all: Vec<OsString>,
    /// Directories that are there.
    made: HashSet<PathBuf>,
}

impl Arguments {
    fn push(&mut self, word: impl Into<OsString>) {
        self.all.push(word.into());
    }

    fn flag<W: AsRef<OsStr>>(&mut self, flag: &str, words: impl IntoIterator<Item = W>) {
        self.push(flag);
        self.all
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
    }

    fn namespaces(&mut self, sandbox: &Sandbox) {
        for flag in [
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--die-with-parent",
            "--new-session",
            "--as-pid-1",
        ] {
            self.push(flag);
        }
        self.flag("--cap-drop", ["ALL"]);
        if sandbox.account.is_some() {
            // By which the first process becomes that account, in a user namespace of its own.
            self.flag("--cap-add", ["CAP_SETUID"]);
            self.flag("--cap-add", ["CAP_SETGID"]);
        } else {
            self.push("--unshare-user");
        }
        self.flag("--hostname", ["cell"]);
    }

    fn system(&mut self, sandbox: &Sandbox) {
        self.read_only(Path::new("/usr"), None);
        for path in SYSTEM {
            match fs::read_link(path) {
                Ok(target) => self.flag("--symlink", [target.as_os_str(), OsStr::new(path)]),
                Err(_) => self.read_only(Path::new(path), None),
            }
        }
        for path in SETTINGS {
            self.read_only(Path::new(path), None);
        }
        for name in OWN_SETTINGS {
            let path = PathBuf::from("/etc").join(name);
            self.read_only(&sandbox.cell.join(name), Some(&path));
        }
        self.flag("--proc", ["/proc"]);
        self.hide_the_machine();
        self.flag("--dev", ["/dev"]);
        self.in_memory("/dev/shm", "1777", SHARED_MEMORY_MAX_BYTES);
        self.in_memory("/tmp", "1777", TMP_MAX_BYTES);
    }

    fn hide_the_machine(&mut self) {
        for name in OF_THE_MACHINE {
            let path = Path::new("/proc").join(name);
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => {
                    self.flag("--tmpfs", [&path]);
                    self.flag("--remount-ro", [&path]);
                }
                Ok(_) => self.flag("--ro-bind", [Path::new("/dev/null"), &path]),
                Err(_) => {}
            }
        }
    }

    /// What is the conversation's own.
    fn own(&mut self, sandbox: &Sandbox, contents: &Contents<'_>) {
        for (path, inside) in [(contents.home, HOME), (contents.work, WORK)] {
            self.make_parents(Path::new(inside));
            self.flag("--bind", [path.as_os_str(), OsStr::new(inside)]);
        }
        self.read_only(&sandbox.cell, Some(Path::new(CELL)));
        self.read_only(&sandbox.program, Some(Path::new(PROGRAM)));
        if let Some(library) = contents.library {
            self.read_only(library, Some(Path::new(LIBRARY)));
        }
        self.in_memory(WAYS, "0755", WAYS_MAX_BYTES);
    }

    /// Directories above, open to every account inside: those that `bwrap` makes by itself may not be.
    fn make_parents(&mut self, path: &Path) {
        let parents: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
        for parent in parents
            .into_iter()
            .rev()
            .filter(|path| path.parent().is_some())
        {
            if self.made.insert(parent.clone()) {
                self.flag("--dir", [parent]);
            }
        }
    }

    /// What is not there stays away.
    fn read_only(&mut self, path: &Path, inside: Option<&Path>) {
        let words = [path, inside.unwrap_or(path)];
        self.make_parents(words[1]);
        self.flag("--ro-bind-try", words);
    }

    fn in_memory(&mut self, path: &str, mode: &str, size: u64) {
        self.make_parents(Path::new(path));
        self.flag("--perms", [mode]);
        self.flag("--size", [size.to_string()]);
        self.flag("--tmpfs", [path]);
    }
}
