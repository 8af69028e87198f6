//! Kernel, initrd and disk of a guest: built once by `tests/lab/build-guest.sh`, cached in `target/lab`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of `tests/lab` that make the guest: a change of one builds a new guest.
const SOURCES: [&str; 4] = [
    "build-guest.sh",
    "guest-init",
    "guest-heartbeat",
    "guest-login-shell",
];

/// The kernel's command line: both consoles, and no delays that a test does not need.
pub(super) const CMDLINE: &str = "console=tty0 console=ttyS0 panic=0 quiet loglevel=4 \
    random.trust_cpu=on mitigations=off cryptomgr.notests tsc=reliable no_timer_check \
    rcupdate.rcu_expedited=1";

/// The built guest.
#[derive(Debug, Clone)]
pub struct Images {
    /// The directory with `vmlinuz`, `initrd.img`, `disk.img`, `key` and `key.pub`.
    pub dir: PathBuf,
}

impl Images {
    /// One of the files, by name.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The public key that opens the guest, one line.
    ///
    /// # Panics
    /// When it can't be read.
    #[must_use]
    pub fn public_key(&self) -> String {
        let key = fs::read_to_string(self.file("key.pub")).unwrap();
        key.trim().to_owned()
    }
}

/// The guest of this version of the scripts, built if it does not exist. Processes wait for each
/// other, so only one builds.
///
/// # Panics
/// When it can't be built; the message contains the script's output.
#[must_use]
pub fn images() -> Images {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().unwrap();
    let scripts = scripts();
    let mut hasher = DefaultHasher::new();
    for name in SOURCES {
        fs::read(scripts.join(name)).unwrap().hash(&mut hasher);
    }
    let kept = root.join("target/lab");
    fs::create_dir_all(&kept).unwrap();
    let lock = File::create(kept.join("lock")).unwrap();
    lock.lock().unwrap();
    let dir = kept.join(format!("guest-{:016x}", hasher.finish()));
    if !dir.exists() {
        build(&scripts, &dir);
    }
    Images { dir }
}

fn build(scripts: &Path, dir: &Path) {
    let output = Command::new(scripts.join("build-guest.sh"))
        .arg(dir)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the guest can't be built: {words}; scripts/lab-packages.sh installs what it needs"
    );
}

/// The directory of the lab's scripts.
pub(super) fn scripts() -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab");
    scripts.canonicalize().unwrap()
}
