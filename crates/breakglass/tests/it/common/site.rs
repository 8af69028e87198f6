//! A deployment to enrol: a guest and a host in roots of their own, each behind a router that
//! changes the address it sees, and the operator's ssh, which can be made to fail.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use breakglass_rig::gate::gate_binary;
use breakglass_rig::machine::Machine;
use breakglass_rig::nat::Nat;
use tempfile::TempDir;

use super::breakglass;
use super::serve::keygen;

/// This machine's address as the guest sees it.
const TO_GUEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// This machine's address as the host sees it.
const TO_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// As `openssl rand -hex 32` makes one.
const TOKEN: &str = "3f9c1b7e5a2d8046e1c4b9f0726ad35881f6ce04b7d92a3e5c60f18b4d27a9e3";
pub const GUEST_KEYS: &str = "/home/breakglass/.ssh/authorized_keys";
pub const HOST_KEYS: &str = "/root/.ssh/authorized_keys";

/// The operator's ssh, which can fail at its n-th call: before it, with half of what it sends, after it
/// (and enroll is killed with it), or in the middle of the script.
const SSH: &str = r#"#!/bin/sh
n=$(($(cat DIR/calls 2>/dev/null || echo 0) + 1))
echo $n >DIR/calls
case $(cat DIR/fault 2>/dev/null) in
  "before $n") exit 255 ;;
  "half $n") head -c 3000 | /usr/bin/ssh "$@" >/dev/null; exit 255 ;;
  "after $n") /usr/bin/ssh "$@" >/dev/null; kill -9 $PPID; exit 255 ;;
  "middle $n") sed 's/^  authorize$/  kill -9 $$/' | /usr/bin/ssh "$@" ;;
  *) exec /usr/bin/ssh "$@" ;;
esac
"#;
/// A guest, a host, and the place where breakglass runs.
pub struct Site {
    dir: TempDir,
    pub guest: Machine,
    pub host: Machine,
    pub to_guest: Nat,
    pub to_host: Nat,
}

/// The output of enroll.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
}

impl Site {
    pub fn new() -> Site {
        Site::with_guest_user("breakglass")
    }

    pub fn with_guest_user(user: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("operator"));
        let operator = fs::read_to_string(dir.path().join("operator.pub")).unwrap();
        // Lines of other people.
        let lines = format!(
            "# who may come in\n\n{operator}from=\"192.0.2.1\",command=\"echo \\\"hi\\\"\"\tssh-ed25519 \
             AAAAC3NzaC1lZDI1NTE5AAAAIJCYsKyY8pOUOUNi+ge5ckeyQgOuTQ4N3oQMap9+UXZ1 ä breakglass\n"
        );
        let (guest, host) = (Machine::start(&operator), Machine::hypervisor(&lines));
        let site = Site {
            to_guest: Nat::new(guest.port, TO_GUEST),
            to_host: Nat::new(host.port, TO_HOST),
            dir,
            guest,
            host,
        };
        site.lay_out(user);
        site
    }

    fn lay_out(&self, user: &str) {
        let dir = self.dir.path().display().to_string();
        fs::create_dir(self.path("bin")).unwrap();
        self.write("bin/ssh", &SSH.replace("DIR", &dir), 0o755);
        let known =
            self.guest.known_hosts(self.guest.port) + &self.host.known_hosts(self.host.port);
        self.write("operator_known_hosts", &known, 0o600);
        let (guest, host) = (self.guest.port, self.host.port);
        self.write(
            "ssh_config",
            &format!(
                "Host guest\n  Port {guest}\nHost host\n  Port {host}\nHost *\n  HostName 127.0.0.1\n  \
                 User root\n  IdentityFile {dir}/operator\n  IdentitiesOnly yes\n  \
                 UserKnownHostsFile {dir}/operator_known_hosts\n  StrictHostKeyChecking yes\n"
            ),
            0o600,
        );
        self.write("token", TOKEN, 0o600);
        self.write("api_key", "sk-of-the-tests", 0o600);
        self.write("claude", "#!/bin/sh\necho '2.1.0 (Claude Code)'\n", 0o755);
        let (guest, host) = (self.to_guest.port, self.to_host.port);
        self.write(
            "config.toml",
            &format!(
                "listen = \"127.0.0.1:8080\"\ndata_dir = \"{dir}/data\"\n\
                 [auth]\ntoken_file = \"{dir}/token\"\n\
                 [ssh]\nkey_file = \"{dir}/keys/key\"\nhost_keys = \"pin\"\nknown_hosts = \"{dir}/pins\"\n\
                 [agent]\ncommand = \"{dir}/claude\"\napi_key_file = \"{dir}/api_key\"\n\
                 [[targets]]\nname = \"devvm\"\n\
                 guest = {{ host = \"127.0.0.1\", port = {guest}, user = \"{user}\" }}\n\
                 host = {{ host = \"127.0.0.1\", port = {host}, user = \"root\" }}\n"
            ),
            0o644,
        );
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Enrols with the usual arguments and `args`.
    pub fn enroll(&self, args: &[&str]) -> Said {
        let _ = fs::remove_file(self.path("calls"));
        let path = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        // The test's own arguments replace the usual ones.
        let usual = ["--guest-login", "guest"];
        let logins = usual.iter().filter(|_| !args.contains(&usual[0]));
        let output = breakglass()
            .env("PATH", path)
            .arg("enroll")
            .args(logins)
            .args(["--host-login", "host", "--config"])
            .arg(self.path("config.toml"))
            .arg("--ssh-config")
            .arg(self.path("ssh_config"))
            .args(args)
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            text: String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        }
    }

    /// Enrolls for the first time: with a gate and a guest's number.
    pub fn first(&self, args: &[&str]) -> Said {
        let gate = gate_binary();
        let parts = ["--guest-id", "102", "--gate", gate.to_str().unwrap()];
        self.enroll(&[&parts, args].concat())
    }

    pub fn enrolled() -> Site {
        let site = Site::new();
        site.first(&["--run"]).is_done();
        site
    }

    pub fn calls(&self) -> usize {
        fs::read_to_string(self.path("calls"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// Makes the operator's ssh fail in this way from now on; "" stops the failures.
    pub fn fault(&self, fault: &str) {
        fs::write(self.path("fault"), fault).unwrap();
    }

    /// The public half of a key, without its comment.
    pub fn public(&self, name: &str) -> String {
        let output = Command::new("ssh-keygen")
            .arg("-y")
            .arg("-f")
            .arg(self.path(name))
            .output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.split(' ')
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
            .trim()
            .to_owned()
    }

    /// Logs in with OpenSSH and our key. Returns its exit code.
    pub fn login(&self, key: &Path, port: u16, user: &str, command: &str) -> Option<i32> {
        let mut ssh = Command::new("/usr/bin/ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ]);
        ssh.args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        ssh.arg("-i").arg(key).args(["-p", &port.to_string()]);
        ssh.arg(format!("{user}@127.0.0.1")).arg(command);
        ssh.output().unwrap().status.code()
    }

    /// Whether the key in the file opens guest and gate, as the server uses it.
    pub fn works(&self, key: &Path) -> [bool; 2] {
        let guest = self.login(key, self.to_guest.port, "breakglass", "sudo -n true");
        let host = self.login(key, self.to_host.port, "root", "status");
        [guest == Some(0), host == Some(0)]
    }

    /// The changes of both machines and of the files here.
    pub fn state(&self) -> [String; 3] {
        let mut here = Vec::new();
        for name in ["keys/key", "keys/key.new", "keys/key.old.pub", "pins"] {
            if let Ok(meta) = fs::metadata(self.path(name)) {
                here.push(format!(
                    "{name} {} {:o} {}",
                    meta.ino(),
                    meta.mode(),
                    meta.mtime_nsec()
                ));
            }
        }
        [self.guest.changes(), self.host.changes(), here.join("\n")]
    }
}

impl Said {
    #[track_caller]
    pub fn is_done(&self) {
        assert_eq!(self.code, Some(0), "{}", self.text);
    }

    #[track_caller]
    pub fn ends(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no {word:?} in {}", self.text);
        }
    }
}
