//! The contents of a sandbox as arguments of `bwrap`. They contain no secret.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::handover::HandoverSockets;
use super::options::{CELL, Contents, HOME, LIBRARY, PROGRAM, SOCKETS, Sandbox, WORK};
use crate::Account;

/// Directories of programs and libraries besides `/usr`; usually links into it.
const SYSTEM_DIRS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// The visible part of `/etc`: certificates, library paths, alternatives and the time zone; nothing that
/// administrators put secrets into.
const ETC_FILES: [&str; 8] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/pki",
    "/etc/ssl",
];
/// Accounts, host names and how to look them up: the cell's files instead of the machine's.
const OWN_ETC_FILES: [&str; 4] = ["group", "hosts", "nsswitch.conf", "passwd"];

/// Entries of `/proc` about the machine instead of processes; they are hidden.
const HIDDEN_PROC_ENTRIES: [&str; 26] = [
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

/// Maximum size of `/tmp`.
const TMP_MAX_BYTES: u64 = 512 << 20;
/// Maximum size of all shared memory.
const SHARED_MEMORY_MAX_BYTES: u64 = 64 << 20;
/// Maximum size of the directory of the sockets of guest and host.
const SOCKETS_DIR_MAX_BYTES: u64 = 1 << 20;

impl Sandbox {
    /// The command that runs `contents.command` in a sandbox, once; it inherits the inner socket.
    ///
    /// # Errors
    /// The operating system's error.
    pub(crate) fn wrap(&self, contents: &Contents<'_>) -> io::Result<(Command, HandoverSockets)> {
        let sockets = HandoverSockets::pair()?;
        let mut command = Command::new(&self.bwrap);
        command.args(arguments(self, contents, sockets.inside.as_raw_fd())?);
        command.env_clear();
        let variables = contents.command.as_std().get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        Ok((command, sockets))
    }
}

/// All arguments of `bwrap`, which inherits the socket to the server under the number `handover`.
///
/// # Errors
/// If the CLI does not exist.
fn arguments(
    sandbox: &Sandbox,
    contents: &Contents<'_>,
    handover: RawFd,
) -> io::Result<Vec<OsString>> {
    let program = Path::new(contents.command.as_std().get_program()).canonicalize()?;
    let mut arguments = Arguments::default();
    arguments.namespaces(sandbox);
    arguments.system(sandbox);
    arguments.read_only(&package_of(&program), None);
    if let Some(program) = &contents.bridged_program {
        arguments.read_only(&package_of(program), None);
    }
    for path in &sandbox.readable {
        arguments.read_only(path, None);
    }
    arguments.conversation(sandbox, contents);
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

/// The part of the file system that the CLI needs: the directory of the `npm` packages around it, or the one
/// file.
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
    /// Directories that exist inside.
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
            // The first process needs them to become that account, in its own user namespace.
            self.flag("--cap-add", ["CAP_SETUID"]);
            self.flag("--cap-add", ["CAP_SETGID"]);
        } else {
            self.push("--unshare-user");
        }
        self.flag("--hostname", ["cell"]);
    }

    fn system(&mut self, sandbox: &Sandbox) {
        self.read_only(Path::new("/usr"), None);
        for path in SYSTEM_DIRS {
            match fs::read_link(path) {
                Ok(target) => self.flag("--symlink", [target.as_os_str(), OsStr::new(path)]),
                Err(_) => self.read_only(Path::new(path), None),
            }
        }
        for path in ETC_FILES {
            self.read_only(Path::new(path), None);
        }
        for name in OWN_ETC_FILES {
            let path = PathBuf::from("/etc").join(name);
            self.read_only(&sandbox.cell.join(name), Some(&path));
        }
        self.flag("--proc", ["/proc"]);
        self.hide_machine();
        self.flag("--dev", ["/dev"]);
        self.in_memory("/dev/shm", "1777", SHARED_MEMORY_MAX_BYTES);
        self.in_memory("/tmp", "1777", TMP_MAX_BYTES);
    }

    fn hide_machine(&mut self) {
        for name in HIDDEN_PROC_ENTRIES {
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

    /// The conversation's own directories.
    fn conversation(&mut self, sandbox: &Sandbox, contents: &Contents<'_>) {
        for (path, inside) in [(contents.home, HOME), (contents.work, WORK)] {
            self.make_parents(Path::new(inside));
            self.flag("--bind", [path.as_os_str(), OsStr::new(inside)]);
        }
        self.read_only(&sandbox.cell, Some(Path::new(CELL)));
        self.read_only(&sandbox.program, Some(Path::new(PROGRAM)));
        if let Some(library) = contents.library {
            self.read_only(library, Some(Path::new(LIBRARY)));
        }
        self.in_memory(SOCKETS, "0755", SOCKETS_DIR_MAX_BYTES);
    }

    /// Makes the parent directories accessible to every account inside: `bwrap` itself may make them private.
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

    /// Does nothing if the path does not exist.
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
