use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

mod receivers;

const REFERENCE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/config.toml"
));
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A directory with every secret that the reference file names.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Secrets {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("breakglass")).unwrap();
        fs::create_dir_all(dir.path().join("claude")).unwrap();
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
        let files = [
            ("api_token", TOKEN),
            ("breakglass/private_key", key),
            ("anthropic_api_key", "sk-1"),
        ];
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Secrets(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Loads `source`, in which `/secrets` stands for this directory.
    fn load(&self, source: &str, env: &[(&str, &str)]) -> Loaded {
        let source = source.replace("/secrets", &self.path().display().to_string());
        let file = self.path().join("breakglass.toml");
        fs::write(&file, source).unwrap();
        self.load_file(Some(&file), env)
    }

    fn load_file(&self, file: Option<&Path>, env: &[(&str, &str)]) -> Loaded {
        let root = self.path().display().to_string();
        let env = env.iter().map(|(name, value)| {
            (
                OsString::from(name),
                value.replace("/secrets", &root).into(),
            )
        });
        Config::load(file, env)
    }
}

type Loaded = Result<(Config, Vec<Warning>), Vec<ConfigError>>;

/// The least that is a whole configuration.
const LEAST: &str = r#"
[auth]
token_file = "/secrets/api_token"
[ssh]
key_file = "/secrets/breakglass/private_key"
[[targets]]
name = "devvm"
guest = { host = "10.0.10.10", user = "breakglass" }
host = { host = "192.168.1.127", user = "root" }
"#;

#[test]
fn the_reference_file_loads_and_its_comments_state_the_defaults() {
    let secrets = Secrets::new();
    let (plain, _) = secrets.load(REFERENCE, &[]).unwrap();
    let shown: String = REFERENCE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if is_setting(key) && !ELSEWHERE.iter().any(|it| key.starts_with(it)) => {
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let (mut spelled_out, _) = secrets.load(&shown, &[]).unwrap();
    // These have no default: the file shows an example.
    assert!(spelled_out.metrics_listen.take().is_some());
    assert!(spelled_out.agent.api_key.take().is_some());
    assert!(spelled_out.agent.base_url.take().is_some());
    assert!(spelled_out.agent.credentials_dir.take().is_some());
    let key = secrets.path().join("anthropic_api_key");
    assert!(spelled_out.private.contains(&key));
    spelled_out.private.retain(|path| *path != key);
    spelled_out.secrets.retain(|path| *path != key);
    assert_eq!(format!("{spelled_out:?}"), format!("{plain:?}"));
}

/// Keys that need something of the machine, or exclude others.
const ELSEWHERE: [&str; 8] = [
    "fallback = ",
    "library = ",
    "user = ",
    "runner = ",
    "runner_uid = ",
    "rules_file = ",
    "presets = ",
    "public_url = ",
];

fn is_setting(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| {
        key.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })
}

#[test]
fn the_reference_file_names_every_key() {
    let secrets = Secrets::new();
    for section in [
        "",
        "auth",
        "ssh",
        "agent",
        "limits",
        "record",
        "notifications",
    ] {
        let header = if section.is_empty() {
            String::new()
        } else {
            format!("\n[{section}]\n")
        };
        let source = format!("{header}zzzzzzzzzzzz = 1\n");
        let errors = secrets.load(&source, &[]).unwrap_err();
        let unknown = errors
            .iter()
            .find(|error| error.key.ends_with("zzzzzzzzzzzz"))
            .unwrap();
        let (_, known) = unknown.remedy.split_once("known here: ").unwrap();
        for key in known.split(", ") {
            let there = [
                format!("\n{key} = "),
                format!("\n# {key} = "),
                format!("[{key}]"),
            ];
            assert!(
                there.iter().any(|text| REFERENCE.contains(text)),
                "{section}.{key}"
            );
        }
    }
}

#[test]
fn the_least_configuration_is_whole_and_its_defaults_are_safe() {
    let (config, _) = Secrets::new().load(LEAST, &[]).unwrap();
    assert!(config.listen.ip().is_loopback());
    assert!(config.auth.trusted_proxies.is_empty());
    assert!(config.auth.token.unwrap().matches(TOKEN));
    assert_eq!(config.auth.token_identity, "operator");
    assert_eq!(config.targets.len(), 1);
    assert_eq!(config.targets[0].guest.port, 22);
    assert_eq!(config.agent.turn_limit, Duration::from_secs(1800));
}

#[test]
fn ssh_defaults_are_those_of_the_ssh_client() {
    let (config, _) = Secrets::new().load(LEAST, &[]).unwrap();
    let defaults = breakglass_control::SshOptions::DEFAULT_CONNECT_TIMEOUT;
    assert_eq!(config.ssh.connect_timeout, defaults);
    let defaults = breakglass_control::SshOptions::DEFAULT_KEEPALIVE;
    assert_eq!(config.ssh.keepalive, defaults);
}

#[test]
fn variables_alone_are_a_configuration_and_win_over_the_file() {
    let secrets = Secrets::new();
    let env = [
        ("BREAKGLASS_LISTEN", "[::1]:99"),
        ("BREAKGLASS_AUTH__TOKEN_FILE", "/secrets/api_token"),
        (
            "BREAKGLASS_AUTH__TRUSTED_PROXIES",
            "10.42.0.0/16, 10.43.0.1",
        ),
        ("BREAKGLASS_AUTH__SECURE_COOKIE", "true"),
        (
            "BREAKGLASS_SSH__KEY_FILE",
            "/secrets/breakglass/private_key",
        ),
        ("BREAKGLASS_SSH__KEEPALIVE_S", "7"),
        ("BREAKGLASS_TARGETS__0__NAME", "other"),
        ("BREAKGLASS_TARGETS__0__GUEST__HOST", "10.0.0.1"),
        ("BREAKGLASS_TARGETS__0__GUEST__USER", "ops"),
        ("BREAKGLASS_TARGETS__0__HOST__HOST", "10.0.0.2"),
        ("BREAKGLASS_TARGETS__0__HOST__USER", "root"),
    ];
    let (alone, _) = secrets.load_file(None, &env).unwrap();
    let (over, _) = secrets.load(LEAST, &env).unwrap();
    for config in [alone, over] {
        assert_eq!(config.listen.to_string(), "[::1]:99");
        assert_eq!(config.auth.trusted_proxies.len(), 2);
        assert!(config.auth.secure_cookie);
        assert_eq!(config.ssh.keepalive, Duration::from_secs(7));
        assert_eq!(config.targets[0].name, "other");
        assert_eq!(config.targets[0].guest.user, "ops");
    }
}

#[test]
fn what_kubernetes_sets_for_a_service_of_our_name_is_no_setting() {
    let env = [
        ("BREAKGLASS_SERVICE_HOST", "10.0.0.1"),
        ("BREAKGLASS_SERVICE_PORT", "80"),
        ("BREAKGLASS_SERVICE_PORT_HTTP", "80"),
        ("BREAKGLASS_PORT", "tcp://10.0.0.1:80"),
        ("BREAKGLASS_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("BREAKGLASS_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("BREAKGLASS_WEB_SERVICE_HOST", "10.0.0.1"),
        ("BREAKGLASS_CONFIG", "/etc/x"),
        ("BREAKGLASS_TOKEN_FILE", "/etc/y"),
        ("PATH", "/bin"),
    ];
    Secrets::new().load(LEAST, &env).unwrap();
}

#[test]
fn all_errors_come_at_once_each_with_its_line_or_variable() {
    let source = "listen = \"nowhere\"\nlisten_on = 1\n[auth]\ntoken_flie = \"x\"\n[agent]\n\
                  autonomy = \"yolo\"\nturn_limit_s = 1\n[limits]\nconnections = \"many\"\n";
    let env = [
        ("BREAKGLASS_AGNET__MODEL", "opus"),
        ("BREAKGLASS_SSH__KEEPALIVE_S", "0"),
    ];
    let errors = Secrets::new().load(source, &env).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = [
        ("breakglass.toml:1: listen", "nowhere"),
        ("breakglass.toml:2: listen_on", "not a known key"),
        (
            "breakglass.toml:4: auth.token_flie",
            "did you mean token_file?",
        ),
        ("auth.token_file", "nobody could sign in"),
        (
            "variable BREAKGLASS_AGNET__MODEL: agnet",
            "did you mean agent?",
        ),
        (
            "variable BREAKGLASS_SSH__KEEPALIVE_S: ssh.keepalive_s",
            "1 to 300",
        ),
        ("ssh.key_file", "is missing"),
        ("breakglass.toml:6: agent.autonomy", "no autonomy"),
        ("breakglass.toml:7: agent.turn_limit_s", "10 to 86400"),
        ("breakglass.toml:9: limits.connections", "whole number"),
        ("targets", "is missing"),
    ];
    for (place, text) in expected {
        let hit = said
            .iter()
            .any(|line| line.contains(place) && line.contains(text));
        assert!(hit, "{place} … {text}\n{}", said.join("\n"));
    }
    assert_eq!(said.len(), expected.len(), "{}", said.join("\n"));
}

#[test]
fn each_mistake_is_an_error_at_its_key() {
    let secrets = Secrets::new();
    fs::write(secrets.path().join("short"), "secret").unwrap();
    fs::write(secrets.path().join("empty"), "").unwrap();
    let table: [(&str, &str, &str); 25] = [
        ("data_dir = \"\"", "data_dir", "is empty"),
        ("data_dir = 3", "data_dir", "is a number, not a string"),
        ("allowed_hosts = \"a\"", "allowed_hosts", "not a list"),
        (
            "allowed_hosts = [\"a:80\"]",
            "allowed_hosts",
            "no host name",
        ),
        (
            "allowed_hosts = [\"http://a\"]",
            "allowed_hosts",
            "no host name",
        ),
        (
            "auth.token_file = \"/nowhere\"",
            "auth.token_file",
            "can't be read",
        ),
        (
            "auth.token_file = \"/secrets/short\"",
            "auth.token_file",
            "shorter than 32",
        ),
        (
            "auth.token_file = \"/secrets/empty\"",
            "auth.token_file",
            "shorter than 32",
        ),
        (
            "auth.token_identity = \"ann\\n\"",
            "auth.token_identity",
            "printable",
        ),
        (
            "auth.trusted_proxies = [\"0.0.0.0/0\"]",
            "auth.trusted_proxies",
            "everyone",
        ),
        (
            "auth.trusted_proxies = [\"10.0.0.0/40\"]",
            "auth.trusted_proxies",
            "no network",
        ),
        (
            "auth.user_header = \"a b\"",
            "auth.user_header",
            "no header name",
        ),
        (
            "auth.secure_cookie = \"yes\"",
            "auth.secure_cookie",
            "true or false",
        ),
        (
            "ssh.key_file = \"/secrets/api_token\"",
            "ssh.key_file",
            "no private key",
        ),
        ("ssh.host_keys = \"any\"", "ssh.host_keys", "no policy"),
        (
            "ssh.connect_timeout_s = -1",
            "ssh.connect_timeout_s",
            "1 to 60",
        ),
        ("ssh = 1", "ssh", "not a section"),
        ("agent.autonomy = \"yolo\"", "agent.autonomy", "no autonomy"),
        ("agent.model = \"--help\"", "agent.model", "no model name"),
        (
            "agent.api_key_file = \"/secrets/empty\"",
            "agent.api_key_file",
            "holds no key",
        ),
        (
            "agent.base_url = \"file:///\"",
            "agent.base_url",
            "no http address",
        ),
        (
            "agent.credentials_dir = \"/nowhere\"",
            "agent.credentials_dir",
            "no directory",
        ),
        ("agent.args = [1]", "agent.args", "not a string"),
        ("limits.body_bytes = 1", "limits.body_bytes", "32768"),
        ("targets = []", "targets", "is empty"),
    ];
    for (line, key, text) in table {
        let errors = secrets.load(line, &[]).unwrap_err();
        let hit = errors
            .iter()
            .any(|e| e.key == key && e.to_string().contains(text));
        assert!(hit, "{line}: {errors:#?}");
    }
}

#[test]
fn two_targets_on_hosts_of_their_own_load() {
    let second = "[[targets]]\nname = \"web\"\nhost_name = \"pve2\"\n\
                  guest = { host = \"10.0.10.11\", user = \"breakglass\" }\n\
                  host = { host = \"192.168.1.128\", user = \"root\" }\n";
    let loaded = Secrets::new().load(&format!("{LEAST}{second}"), &[]);
    let names = loaded.unwrap().0.targets;
    let names: Vec<&str> = names
        .iter()
        .map(|target| target.host_name.as_str())
        .collect();
    assert_eq!(names, ["pve", "pve2"]);
}

#[test]
fn each_mistake_in_a_target_is_an_error_at_its_key() {
    let secrets = Secrets::new();
    let guest = "guest = { host = \"10.0.0.1\", user = \"a\" }\n";
    let host = "host = { host = \"10.0.0.2\", user = \"root\" }\n";
    let second = "[[targets]]\nname = \"b\"\n";
    let other_host = "host = { host = \"10.0.0.3\", user = \"root\" }\n";
    let table: [(String, &str, &str); 12] = [
        (format!("{guest}{host}"), "targets[0].name", "is missing"),
        (
            format!("name = \"Dev VM\"\n{guest}{host}"),
            "targets[0].name",
            "no plain name",
        ),
        (
            format!("name = \"-a\"\n{guest}{host}"),
            "targets[0].name",
            "no plain name",
        ),
        (
            format!("name = \"a\"\n{host}"),
            "targets[0].guest",
            "is missing",
        ),
        (
            format!("name = \"a\"\n{guest}host = {{ host = \"10.0.0.2\" }}"),
            "targets[0].host.user",
            "is missing",
        ),
        (
            format!("name = \"a\"\n{guest}host = {{ host = \"-oProxyCommand=x\", user = \"b\" }}"),
            "targets[0].host.host",
            "no host name",
        ),
        (
            format!("name = \"a\"\n{guest}host = {{ host = \"10.0.0.2\", user = \"-l\" }}"),
            "targets[0].host.user",
            "no login name",
        ),
        (
            format!(
                "name = \"a\"\n{guest}host = {{ host = \"10.0.0.2\", user = \"b\", port = 0 }}"
            ),
            "targets[0].host.port",
            "1 to 65535",
        ),
        (
            format!("name = \"a\"\n{guest}{host}[[targets]]\nname = \"a\"\n{guest}{host}"),
            "targets[1].name",
            "there twice",
        ),
        (
            format!("name = \"a\"\n{guest}{host}{second}{guest}{other_host}"),
            "targets[1].host_name",
            "another machine's name",
        ),
        (
            format!("name = \"a\"\nhost_name = \"a\"\n{guest}{host}"),
            "targets[0].host_name",
            "another machine's name",
        ),
        (
            format!("name = \"a\"\n{guest}{host}{second}host_name = \"pve2\"\n{guest}{host}"),
            "targets[1].host",
            "one key reaches one guest",
        ),
    ];
    for (target, key, text) in table {
        let errors = secrets
            .load(&format!("[[targets]]\n{target}"), &[])
            .unwrap_err();
        let hit = errors
            .iter()
            .any(|e| e.key == key && e.to_string().contains(text));
        assert!(hit, "{target}: {errors:#?}");
    }
}

#[test]
fn what_is_no_toml_is_said_with_its_line_and_the_rest_is_still_checked() {
    let errors = Secrets::new()
        .load("listen = \"x\"\ndata_dir = \n", &[])
        .unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|line| line.contains(":2: (syntax)")),
        "{said:#?}"
    );
    assert!(
        said.iter().any(|line| line.contains(":1: listen")),
        "{said:#?}"
    );
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_name() {
    let errors = Config::load(Some(Path::new("/nowhere.toml")), []).unwrap_err();
    assert!(
        errors[0].to_string().contains("/nowhere.toml"),
        "{}",
        errors[0]
    );
}

#[test]
fn variables_that_name_no_setting_are_errors() {
    let table = [
        ("BREAKGLASS_TARGETS__1__NAME", "does not name a setting"),
        ("BREAKGLASS_AUTH", "does not name a setting"),
        ("BREAKGLASS_LISTEN__PORT", "not a string"),
        ("BREAKGLASS_LISTNE", "did you mean listen?"),
        ("BREAKGLASS_", "not a known key"),
    ];
    for (name, text) in table {
        let secrets = Secrets::new();
        let source = if name == "BREAKGLASS_TARGETS__1__NAME" {
            ""
        } else {
            LEAST
        };
        let errors = secrets.load(source, &[(name, "x")]).unwrap_err();
        let hit = errors
            .iter()
            .any(|e| e.to_string().contains(name) && e.to_string().contains(text));
        assert!(hit, "{name}: {errors:#?}");
    }
}

#[test]
fn a_name_in_place_of_an_address_and_an_open_secret_are_warnings() {
    use std::os::unix::fs::PermissionsExt as _;
    let secrets = Secrets::new();
    let token = secrets.path().join("api_token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let source = LEAST.replace("10.0.10.10", "devvm.example.org");
    let (_, warnings) = secrets.load(&source, &[]).unwrap();
    let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    for text in [
        "targets[0].guest.host: is a name",
        "chmod 0400",
        "no host key is pinned",
    ] {
        assert!(
            said.iter().any(|line| line.contains(text)),
            "{text}: {said:#?}"
        );
    }
}

#[test]
fn no_secret_shows_in_a_configuration_or_an_error() {
    let secrets = Secrets::new();
    let (config, _) = secrets.load(REFERENCE, &[]).unwrap();
    assert!(!format!("{config:?}").contains(TOKEN));
    let weak = "hunter2hunter2";
    fs::write(secrets.path().join("api_token"), weak).unwrap();
    let errors = secrets.load(LEAST, &[]).unwrap_err();
    assert!(!format!("{errors:?}").contains(weak));
}

#[test]
fn a_runner_has_what_belongs_to_the_cli_itself() {
    let secrets = Secrets::new();
    let runner = "[agent]\nrunner = \"/run/breakglass/runner.sock\"\nrunner_uid = 10002\n";
    let (config, _) = secrets.load(&format!("{LEAST}{runner}"), &[]).unwrap();
    let socket = config.agent.runner.unwrap();
    assert_eq!(socket, Path::new("/run/breakglass/runner.sock"));
    assert_eq!(config.agent.runner_uid, Some(10_002));
    let both = "command = \"claude\"\napi_key_file = \"/secrets/anthropic_api_key\"\n\
                library = \"/nowhere\"\n";
    let errors = secrets
        .load(&format!("{LEAST}{runner}{both}"), &[])
        .unwrap_err();
    let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(
        keys,
        ["agent.command", "agent.api_key_file", "agent.library"]
    );
    for error in &errors {
        assert!(error.remedy.contains("breakglass runner"), "{error}");
    }
}

#[test]
fn a_runners_socket_has_to_be_a_path_that_a_socket_can_have() {
    let secrets = Secrets::new();
    let long = format!("/run/{}", "x".repeat(110));
    for path in ["runner.sock", "/", &long] {
        let source = format!("{LEAST}[agent]\nrunner = \"{path}\"\n");
        let errors = secrets.load(&source, &[]).unwrap_err();
        assert_eq!(errors[0].key, "agent.runner", "{path}");
    }
}

#[test]
fn an_account_that_the_agent_cant_have_is_an_error_at_its_key() {
    let secrets = Secrets::new();
    for user in ["root", "no-such-account-here", "1:x"] {
        let source = format!("{LEAST}[agent]\nuser = \"{user}\"\n");
        let errors = secrets.load(&source, &[]).unwrap_err();
        assert_eq!(errors[0].key, "agent.user", "{user}");
    }
}

#[test]
fn a_library_that_would_show_the_agent_what_is_kept_from_it_is_an_error_at_its_key() {
    let secrets = Secrets::new();
    let runbooks = tempfile::tempdir().unwrap();
    let with = |path: &Path| {
        let source = format!("{LEAST}[agent]\nlibrary = \"{}\"\n", path.display());
        secrets.load(&source, &[])
    };
    let (config, _) = with(runbooks.path()).unwrap();
    assert_eq!(config.agent.library.as_deref(), Some(runbooks.path()));
    // The key, the token and the configuration itself are there.
    let missing = runbooks.path().join("missing");
    for path in [
        secrets.path(),
        &secrets.path().join("breakglass"),
        &missing,
        Path::new("/"),
    ] {
        let errors = with(path).unwrap_err();
        assert_eq!(
            (errors.len(), errors[0].key.as_str()),
            (1, "agent.library"),
            "{errors:?}"
        );
    }
}

#[test]
fn presets_are_the_files_or_the_built_in_ones() {
    let secrets = Secrets::new();
    let file = secrets.path().join("presets.toml");
    let line = "[agent]\npresets = \"/secrets/presets.toml\"\n";
    let labels = |config: &Config| -> Vec<String> {
        let presets = config.agent.presets.iter();
        presets.map(|preset| preset.label.clone()).collect()
    };
    let (config, _) = secrets.load(LEAST, &[]).unwrap();
    assert!(labels(&config).contains(&"Triage".to_owned()));
    fs::write(&file, "[[presets]]\nlabel = \"Ours\"\ntext = \"Look.\"\n").unwrap();
    let (config, _) = secrets.load(&format!("{LEAST}{line}"), &[]).unwrap();
    assert_eq!(labels(&config), ["Ours"]);
    fs::write(&file, "[[presets]]\nlabel = \"Ours\"\n").unwrap();
    let errors = secrets.load(&format!("{LEAST}{line}"), &[]).unwrap_err();
    let said = errors[0].to_string();
    assert!(
        said.contains("presets.toml:1: presets[0].text: is missing"),
        "{said}"
    );
    fs::remove_file(&file).unwrap();
    let errors = secrets.load(&format!("{LEAST}{line}"), &[]).unwrap_err();
    assert_eq!(errors[0].key, "agent.presets");
}

#[test]
fn an_agent_asks_first_until_the_configuration_says_otherwise() {
    use breakglass_model::Autonomy;
    let secrets = Secrets::new();
    let (config, _) = secrets.load(LEAST, &[]).unwrap();
    assert_eq!(config.agent.autonomy, Autonomy::ApproveMutations);
    for autonomy in Autonomy::ALL.iter().copied() {
        let source = format!("{LEAST}[agent]\nautonomy = \"{autonomy}\"\n");
        let (config, _) = secrets.load(&source, &[]).unwrap();
        assert_eq!(config.agent.autonomy, autonomy);
    }
}

/// The section that the reference file shows in a comment under this header.
fn shown_section(header: &str) -> String {
    let lines = REFERENCE.lines().map(|line| line.strip_prefix("#   "));
    let lines = lines.skip_while(|line| *line != Some(header));
    lines.map_while(|line| line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_file_shows_a_whole_agent_with_every_key() {
    let secrets = Secrets::new();
    fs::write(secrets.path().join("local_key"), "sk-x\n").unwrap();
    let shown = shown_section("[[agents]]");
    let (config, _) = secrets.load(&format!("{LEAST}{shown}\n"), &[]).unwrap();
    assert!(config.agents[0].api_key.is_some());
    let source = format!("{LEAST}[[agents]]\nzzzzzzzzzzzz = 1\n");
    let errors = secrets.load(&source, &[]).unwrap_err();
    let unknown = errors.iter().find(|error| error.key.ends_with("zzzz"));
    let (_, known) = unknown.unwrap().remedy.split_once("known here: ").unwrap();
    for key in known.split(", ") {
        assert!(shown.contains(&format!("{key} = ")), "{key}");
    }
}

const OTHER: &str = "[[agents]]\nname = \"local\"\ncommand = \"opencode\"\nargs = [\"acp\"]\n\
    egress = [\"10.0.10.20:8000\"]\n";

#[test]
fn another_agent_has_a_name_a_program_and_a_list_of_where_its_model_is() {
    let source = format!(
        "{LEAST}{OTHER}environment = [\"A={{\\\"b\\\":1}}\"]\n[agent]\nfallback = \"local\"\n"
    );
    let (config, _) = Secrets::new().load(&source, &[]).unwrap();
    let other = &config.agents[0];
    assert_eq!((&*other.name, &*other.model), ("local", "default"));
    assert_eq!(other.models, ["default"]);
    assert_eq!(
        other.environment,
        [("A".to_owned(), "{\"b\":1}".to_owned())]
    );
    assert_eq!(other.egress[0].to_string(), "10.0.10.20:8000");
}

#[test]
fn another_agent_that_can_not_be_one_is_refused_by_name() {
    for (change, key, problem) in [
        (
            ("name = \"local\"", "name = \"claude\""),
            "agents[0].name",
            "there twice",
        ),
        (
            ("name = \"local\"", "name = \"A b\""),
            "agents[0].name",
            "A b",
        ),
        (
            ("command = \"opencode\"\n", ""),
            "agents[0].command",
            "is missing",
        ),
        (
            ("egress = [\"10.0.10.20:8000\"]\n", ""),
            "agents[0].egress",
            "is missing",
        ),
        (
            ("10.0.10.20:8000", "10.0.10.20"),
            "agents[0].egress",
            "no host and port",
        ),
        (
            ("[\"acp\"]", "[\"acp\"]\nenvironment = [\"LD_PRELOAD=/x\"]"),
            "agents[0].environment",
            "set by the cell",
        ),
        (
            ("[\"acp\"]", "[\"acp\"]\nenvironment = [\"https_proxy=x\"]"),
            "agents[0].environment",
            "set by the cell",
        ),
        (
            ("[\"acp\"]", "[\"acp\"]\napi_key_variable = \"HOME\""),
            "agents[0].api_key_variable",
            "set by the cell",
        ),
        (
            ("[[agents]]", "[agent]\nfallback = \"third\"\n[[agents]]"),
            "agent.fallback",
            "no agent",
        ),
        (
            (
                "[[agents]]",
                "[agent]\nrunner = \"/run/x.sock\"\n[[agents]]",
            ),
            "agents",
            "not started by a runner",
        ),
    ] {
        let source = format!("{LEAST}{}", OTHER.replacen(change.0, change.1, 1));
        let errors = Secrets::new().load(&source, &[]).unwrap_err();
        let found = errors
            .iter()
            .any(|error| error.key == key && error.problem.contains(problem));
        assert!(found, "{change:?}: {errors:?}");
    }
}
