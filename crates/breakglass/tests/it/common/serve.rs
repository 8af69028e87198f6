//! `breakglass serve` with a configuration file, against a real sshd with the real gate.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use breakglass_rig::claude::claude;
use breakglass_rig::gate::GateHost;
use breakglass_rig::sshd::Sshd;
use tempfile::TempDir;

use super::{Client, breakglass, wait_until};

pub const TOKEN: &str = "a-token-of-the-tests-0123456789-0123456789-abcdef";

/// The server and the host behind it; both end by Drop.
pub struct Served {
    child: Child,
    pub base: String,
    host: GateHost,
    _guest: Option<Sshd>,
    prelude: String,
    dir: TempDir,
}

impl Served {
    /// A running guest, on a host that answers only through the gate.
    pub fn with_gate() -> Served {
        Served::start(None, "", "")
    }

    /// The same with additional configuration, started by a shell after `prelude`.
    pub fn with_gate_and(more: &str, prelude: &str) -> Served {
        Served::start(None, more, prelude)
    }

    /// The same with the real claude CLI, whose model is at `url`, and a guest behind a real sshd. The
    /// model is asked by the agent alone.
    pub fn with_agent(url: &str) -> Served {
        Served::start(Some((url, 0)), "", "")
    }

    /// The same, like [`Served::with_gate_and`].
    pub fn with_agent_and(url: &str, more: &str, prelude: &str) -> Served {
        Served::start(Some((url, 0)), more, prelude)
    }

    /// The same, with a test of the model every so many hours.
    pub fn with_model_check(url: &str, hours: u32) -> Served {
        Served::start(Some((url, hours)), "", "")
    }

    fn start(model: Option<(&str, u32)>, more: &str, prelude: &str) -> Served {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("key"));
        let public = std::fs::read_to_string(dir.path().join("key.pub")).unwrap();
        let host = GateHost::running(public.trim());
        let guest = model.map(|_| Sshd::open(public.trim()));
        let known = |sshd: &Sshd| sshd.known_hosts();
        let pins = known(&host.sshd) + &guest.as_ref().map(known).unwrap_or_default();
        let address = breakglass_rig::port::own_address();
        let agent = agent(dir.path(), model);
        let guest_or_host = guest.as_ref().unwrap_or(&host.sshd);
        let machines = [endpoint(guest_or_host), endpoint(&host.sshd)];
        for (name, text) in [
            ("token", TOKEN.to_owned()),
            ("api_key", "sk-of-the-tests".to_owned()),
            ("known_hosts", pins),
            (
                "config.toml",
                config(dir.path(), &address, &agent, &machines) + more,
            ),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let child = spawn(dir.path(), prelude);
        let served = Served {
            child,
            base: format!("http://{address}"),
            host,
            _guest: guest,
            prelude: prelude.to_owned(),
            dir,
        };
        served.wait_until_it_answers();
        served
    }

    /// `kill -9`, and another server on the same data.
    pub fn restart(&mut self) {
        self.restart_after(|_| {});
    }

    /// The same, after `change` was done to the directory with configuration and data.
    pub fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        change(self.dir.path());
        self.child = spawn(self.dir.path(), &self.prelude);
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

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn host(&self) -> &GateHost {
        &self.host
    }

    pub fn host_mut(&mut self) -> &mut GateHost {
        &mut self.host
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn token_file(&self) -> String {
        self.dir.path().join("token").display().to_string()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
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

/// Starts a server by the `config.toml` in `dir`, in a shell that `prelude` sets limits in.
pub fn spawn(dir: &Path, prelude: &str) -> Child {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("{prelude} exec \"$0\" serve --config \"$1\""),
        ])
        .arg(breakglass().get_program())
        .arg(dir.join("config.toml"))
        .env_remove("BREAKGLASS_SERVER");
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

fn endpoint(sshd: &Sshd) -> String {
    format!(
        "{{ host = \"127.0.0.1\", port = {}, user = \"{}\" }}",
        sshd.port,
        sshd.user()
    )
}

fn agent(dir: &Path, model: Option<(&str, u32)>) -> String {
    match model {
        None => "enabled = false\n".to_owned(),
        Some((url, hours)) => format!(
            "autonomy = \"autonomous\"\ncommand = \"{}\"\nbase_url = \"{url}\"\napi_key_file = \"{}/api_key\"\n\
             model_check_hours = {hours}\n",
            claude().display(),
            dir.display()
        ),
    }
}

fn config(dir: &Path, listen: &str, agent: &str, [guest, host]: &[String; 2]) -> String {
    let dir = dir.display();
    format!(
        "listen = \"{listen}\"\ndata_dir = \"{dir}/data\"\n\
         [auth]\ntoken_file = \"{dir}/token\"\n\
         [ssh]\nkey_file = \"{dir}/key\"\nhost_keys = \"pin\"\nknown_hosts = \"{dir}/known_hosts\"\n\
         [agent]\n{agent}\
         [[targets]]\nname = \"devvm\"\nguest = {guest}\nhost = {host}\n"
    )
}
