//! `breakglass serve` with a configuration file, against a real sshd with the real gate.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use breakglass_rig::gate::GateHost;
use tempfile::TempDir;

use super::{Client, breakglass, wait_until};

pub const TOKEN: &str = "a-token-of-the-tests-0123456789-0123456789-abcdef";

/// The server and the host behind it; both end by Drop.
pub struct Served {
    child: Child,
    pub base: String,
    host: GateHost,
    dir: TempDir,
}

impl Served {
    /// A guest that runs, on a host that only the gate answers for.
    pub fn with_gate() -> Served {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("key"));
        let public = std::fs::read_to_string(dir.path().join("key.pub")).unwrap();
        let host = GateHost::running(public.trim());
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        std::fs::write(dir.path().join("known_hosts"), host.sshd.known_hosts()).unwrap();
        let address = super::free_address();
        std::fs::write(
            dir.path().join("config.toml"),
            config(dir.path(), &address, &host),
        )
        .unwrap();
        let child = start(dir.path());
        let served = Served {
            child,
            base: format!("http://{address}"),
            host,
            dir,
        };
        served.wait_until_it_answers();
        served
    }

    /// `kill -9`, and another server on the same data.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = start(self.dir.path());
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        wait_until("the server answers", || self.client().try_get("/health"));
    }

    pub fn client(&self) -> Client {
        let mut client = Client::anonymous(&self.base);
        client.bearer = Some(TOKEN.to_owned());
        client
    }

    pub fn host(&self) -> &GateHost {
        &self.host
    }

    pub fn host_mut(&mut self) -> &mut GateHost {
        &mut self.host
    }

    pub fn token_file(&self) -> String {
        self.dir.path().join("token").display().to_string()
    }

    pub fn config_file(&self) -> String {
        self.dir.path().join("config.toml").display().to_string()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(dir: &Path) -> Child {
    let mut command = breakglass();
    command
        .args(["serve", "--config"])
        .arg(dir.join("config.toml"));
    command.stdout(Stdio::null()).spawn().unwrap()
}

pub fn keygen(path: &Path) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(
        status
            .expect("ssh-keygen: apt-get install openssh-client")
            .success()
    );
}

fn config(dir: &Path, listen: &str, host: &GateHost) -> String {
    let dir = dir.display();
    let endpoint = format!(
        "{{ host = \"127.0.0.1\", port = {}, user = \"{}\" }}",
        host.sshd.port,
        host.sshd.user()
    );
    format!(
        "listen = \"{listen}\"\ndata_dir = \"{dir}/data\"\n\
         [auth]\ntoken_file = \"{dir}/token\"\n\
         [ssh]\nkey_file = \"{dir}/key\"\nhost_keys = \"pin\"\nknown_hosts = \"{dir}/known_hosts\"\n\
         [agent]\nenabled = false\n\
         [[targets]]\nname = \"devvm\"\nguest = {endpoint}\nhost = {endpoint}\n"
    )
}
