//! Loading of whole configurations: defaults, variables, and every kind of error.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use breakglass_agent::{AgentOptions, is_model_name};
use breakglass_control::SshOptions;
use tempfile::TempDir;

use super::*;

mod receivers;
mod retired;

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

/// The smallest complete configuration.
const MINIMAL: &str = r#"
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
fn reference_file_loads_and_its_comments_state_the_defaults() {
    let secrets = Secrets::new();
    let (plain, _) = secrets.load(REFERENCE, &[]).unwrap();
    let shown: String = REFERENCE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if is_setting(key) && !NOT_LOADED.iter().any(|it| key.starts_with(it)) => {
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

/// Keys that need files of the machine, or exclude other keys.
const NOT_LOADED: [&str; 8] = [
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
fn reference_file_names_every_key() {
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
            let forms = [
                format!("\n{key} = "),
                format!("\n# {key} = "),
                format!("[{key}]"),
                format!("[[{section}.{key}]]"),
            ];
            assert!(
                forms.iter().any(|text| REFERENCE.contains(text)),
                "{section}.{key}"
            );
        }
    }
}

#[test]
fn minimal_configuration_is_complete_and_its_defaults_are_safe() {
    let (config, _) = Secrets::new().load(MINIMAL, &[]).unwrap();
    assert!(config.listen.ip().is_loopback());
    assert!(config.auth.trusted_proxies.is_empty());
    assert!(config.auth.token.unwrap().matches(TOKEN));
    assert_eq!(config.auth.token_identity, "operator");
    assert_eq!(config.targets.len(), 1);
    assert_eq!(config.targets[0].guest.port, 22);
    assert_eq!(config.agent.turn_limit, Duration::from_secs(1800));
    assert_eq!(
        config.agent.max_api_retries,
        AgentOptions::DEFAULT_MAX_API_RETRIES
    );
    assert_eq!(
        config.ssh.connect_timeout,
        SshOptions::DEFAULT_CONNECT_TIMEOUT
    );
    assert_eq!(config.ssh.keepalive, SshOptions::DEFAULT_KEEPALIVE);
    assert_eq!(config.limits.streams_per_identity, 32);
}

#[test]
fn variables_suffice_and_override_the_file() {
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
        ("BREAKGLASS_AGENT__MAX_API_RETRIES", "7"),
        ("BREAKGLASS_TARGETS__0__NAME", "other"),
        ("BREAKGLASS_TARGETS__0__GUEST__HOST", "10.0.0.1"),
        ("BREAKGLASS_TARGETS__0__GUEST__USER", "ops"),
        ("BREAKGLASS_TARGETS__0__HOST__HOST", "10.0.0.2"),
        ("BREAKGLASS_TARGETS__0__HOST__USER", "root"),
    ];
    let (alone, _) = secrets.load_file(None, &env).unwrap();
    let (over, _) = secrets.load(MINIMAL, &env).unwrap();
    for config in [alone, over] {
        assert_eq!(config.listen.to_string(), "[::1]:99");
        assert_eq!(config.auth.trusted_proxies.len(), 2);
        assert!(config.auth.secure_cookie);
        assert_eq!(config.agent.max_api_retries, 7);
        assert_eq!(config.targets[0].name, "other");
        assert_eq!(config.targets[0].guest.user, "ops");
    }
}

#[test]
fn service_variables_of_kubernetes_are_ignored() {
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
    Secrets::new().load(MINIMAL, &env).unwrap();
}

#[test]
fn all_errors_are_reported_together_with_line_or_variable() {
    let source = "listen = \"nowhere\"\nlisten_on = 1\n[auth]\ntoken_flie = \"x\"\n[agent]\n\
                  autonomy = \"yolo\"\nmax_api_retries = 21\n[limits]\nconnections = \"many\"\n";
    let env = [
        ("BREAKGLASS_AGNET__MODEL", "opus"),
        ("BREAKGLASS_RECORD__KEEP_DAYS", "-1"),
    ];
    let errors = Secrets::new().load(source, &env).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
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
            "variable BREAKGLASS_RECORD__KEEP_DAYS: record.keep_days",
            "0 to 36500",
        ),
        ("ssh.key_file", "is missing"),
        ("breakglass.toml:6: agent.autonomy", "not an autonomy"),
        ("breakglass.toml:7: agent.max_api_retries", "0 to 20"),
        ("breakglass.toml:9: limits.connections", "whole number"),
        ("targets", "is missing"),
    ];
    for (place, text) in expected {
        let hit = lines
            .iter()
            .any(|line| line.contains(place) && line.contains(text));
        assert!(hit, "{place} … {text}\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), expected.len(), "{}", lines.join("\n"));
}

#[test]
fn each_mistake_is_reported_at_its_key() {
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
            "not a host name",
        ),
        (
            "allowed_hosts = [\"http://a\"]",
            "allowed_hosts",
            "not a host name",
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
            "invisible",
        ),
        (
            "auth.trusted_proxies = [\"0.0.0.0/0\"]",
            "auth.trusted_proxies",
            "everyone",
        ),
        (
            "auth.trusted_proxies = [\"10.0.0.0/40\"]",
            "auth.trusted_proxies",
            "not a network",
        ),
        (
            "auth.user_header = \"a b\"",
            "auth.user_header",
            "not a header name",
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
        ("ssh.host_keys = \"any\"", "ssh.host_keys", "not a policy"),
        ("drill_max_age_days = -1", "drill_max_age_days", "0 to 3650"),
        ("ssh = 1", "ssh", "not a section"),
        (
            "agent.autonomy = \"yolo\"",
            "agent.autonomy",
            "not an autonomy",
        ),
        (
            "agent.model = \"--help\"",
            "agent.model",
            "not a model name",
        ),
        (
            "agent.api_key_file = \"/secrets/empty\"",
            "agent.api_key_file",
            "contains no key",
        ),
        (
            "agent.base_url = \"file:///\"",
            "agent.base_url",
            "not an http address",
        ),
        (
            "agent.credentials_dir = \"/nowhere\"",
            "agent.credentials_dir",
            "not a directory",
        ),
        ("agent.args = [1]", "agent.args", "not a string"),
        (
            "limits.connections = 1",
            "limits.connections",
            "8 to 100000",
        ),
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
fn two_targets_on_separate_hosts_load() {
    let second = "[[targets]]\nname = \"web\"\nhost_name = \"pve2\"\n\
                  guest = { host = \"10.0.10.11\", user = \"breakglass\" }\n\
                  host = { host = \"192.168.1.128\", user = \"root\" }\n";
    let loaded = Secrets::new().load(&format!("{MINIMAL}{second}"), &[]);
    let names = loaded.unwrap().0.targets;
    let names: Vec<&str> = names
        .iter()
        .map(|target| target.host_name.as_str())
        .collect();
    assert_eq!(names, ["pve", "pve2"]);
}

#[test]
fn each_mistake_in_a_target_is_reported_at_its_key() {
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
            "not a plain name",
        ),
        (
            format!("name = \"-a\"\n{guest}{host}"),
            "targets[0].name",
            "not a plain name",
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
            "not a host name",
        ),
        (
            format!("name = \"a\"\n{guest}host = {{ host = \"10.0.0.2\", user = \"-l\" }}"),
            "targets[0].host.user",
            "not a login name",
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
            "used twice",
        ),
        (
            format!("name = \"a\"\n{guest}{host}{second}{guest}{other_host}"),
            "targets[1].host_name",
            "the name of another machine",
        ),
        (
            format!("name = \"a\"\nhost_name = \"a\"\n{guest}{host}"),
            "targets[0].host_name",
            "the name of another machine",
        ),
        (
            format!("name = \"a\"\n{guest}{host}{second}host_name = \"pve2\"\n{guest}{host}"),
            "targets[1].host",
            "one key reaches only one guest",
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
fn syntax_error_is_reported_with_its_line_and_the_rest_is_checked() {
    let errors = Secrets::new()
        .load("listen = \"x\"\ndata_dir = \n", &[])
        .unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        lines.iter().any(|line| line.contains(":2: (syntax)")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.contains(":1: listen")),
        "{lines:#?}"
    );
}

#[test]
fn missing_file_is_reported_by_name() {
    let errors = Config::load(Some(Path::new("/nowhere.toml")), []).unwrap_err();
    assert!(
        errors[0].to_string().contains("/nowhere.toml"),
        "{}",
        errors[0]
    );
}

#[test]
fn variables_that_name_no_setting_are_reported() {
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
            MINIMAL
        };
        let errors = secrets.load(source, &[(name, "x")]).unwrap_err();
        let hit = errors
            .iter()
            .any(|e| e.to_string().contains(name) && e.to_string().contains(text));
        assert!(hit, "{name}: {errors:#?}");
    }
}

#[test]
fn host_name_and_readable_secret_are_warnings() {
    use std::os::unix::fs::PermissionsExt as _;
    let secrets = Secrets::new();
    let token = secrets.path().join("api_token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let source = MINIMAL.replace("10.0.10.10", "devvm.example.org");
    let (_, warnings) = secrets.load(&source, &[]).unwrap();
    let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    for text in [
        "targets[0].guest.host: is a name",
        "chmod 0400",
        "no host key is pinned",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(text)),
            "{text}: {lines:#?}"
        );
    }
}

#[test]
fn configuration_and_errors_do_not_show_secrets() {
    let secrets = Secrets::new();
    let (config, _) = secrets.load(REFERENCE, &[]).unwrap();
    assert!(!format!("{config:?}").contains(TOKEN));
    let weak = "hunter2hunter2";
    fs::write(secrets.path().join("api_token"), weak).unwrap();
    let errors = secrets.load(MINIMAL, &[]).unwrap_err();
    assert!(!format!("{errors:?}").contains(weak));
}

#[test]
fn keys_of_the_cli_are_refused_with_a_runner() {
    let secrets = Secrets::new();
    let runner = "[agent]\nrunner = \"/run/breakglass/runner.sock\"\nrunner_uid = 10002\n";
    let (config, _) = secrets.load(&format!("{MINIMAL}{runner}"), &[]).unwrap();
    let socket = config.agent.runner.unwrap();
    assert_eq!(socket, Path::new("/run/breakglass/runner.sock"));
    assert_eq!(config.agent.runner_uid, Some(10_002));
    let both = "command = \"claude\"\napi_key_file = \"/secrets/anthropic_api_key\"\n\
                library = \"/nowhere\"\n";
    let errors = secrets
        .load(&format!("{MINIMAL}{runner}{both}"), &[])
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
fn path_of_runner_socket_must_be_absolute_and_short() {
    let secrets = Secrets::new();
    let long = format!("/run/{}", "x".repeat(110));
    for path in ["runner.sock", "/", &long] {
        let source = format!("{MINIMAL}[agent]\nrunner = \"{path}\"\n");
        let errors = secrets.load(&source, &[]).unwrap_err();
        assert_eq!(errors[0].key, "agent.runner", "{path}");
    }
}

#[test]
fn unusable_account_is_reported_at_its_key() {
    let secrets = Secrets::new();
    for user in ["root", "no-such-account-here", "1:x"] {
        let source = format!("{MINIMAL}[agent]\nuser = \"{user}\"\n");
        let errors = secrets.load(&source, &[]).unwrap_err();
        assert_eq!(errors[0].key, "agent.user", "{user}");
    }
}

#[test]
fn library_that_contains_secrets_is_reported_at_its_key() {
    let secrets = Secrets::new();
    let runbooks = tempfile::tempdir().unwrap();
    let with = |path: &Path| {
        let source = format!("{MINIMAL}[agent]\nlibrary = \"{}\"\n", path.display());
        secrets.load(&source, &[])
    };
    let (config, _) = with(runbooks.path()).unwrap();
    assert_eq!(config.agent.library.as_deref(), Some(runbooks.path()));
    // The first directory contains the key, the token and the configuration.
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
fn presets_come_from_the_file_or_are_built_in() {
    let secrets = Secrets::new();
    let file = secrets.path().join("presets.toml");
    let line = "[agent]\npresets = \"/secrets/presets.toml\"\n";
    let labels = |config: &Config| -> Vec<String> {
        let presets = config.agent.presets.iter();
        presets.map(|preset| preset.label.clone()).collect()
    };
    let (config, _) = secrets.load(MINIMAL, &[]).unwrap();
    assert!(labels(&config).contains(&"Triage".to_owned()));
    fs::write(&file, "[[presets]]\nlabel = \"Ours\"\ntext = \"Look.\"\n").unwrap();
    let (config, _) = secrets.load(&format!("{MINIMAL}{line}"), &[]).unwrap();
    assert_eq!(labels(&config), ["Ours"]);
    fs::write(&file, "[[presets]]\nlabel = \"Ours\"\n").unwrap();
    let errors = secrets.load(&format!("{MINIMAL}{line}"), &[]).unwrap_err();
    let error = errors[0].to_string();
    assert!(
        error.contains("presets.toml:1: presets[0].text: is missing"),
        "{error}"
    );
    fs::remove_file(&file).unwrap();
    let errors = secrets.load(&format!("{MINIMAL}{line}"), &[]).unwrap_err();
    assert_eq!(errors[0].key, "agent.presets");
}

#[test]
fn default_autonomy_is_approve_mutations() {
    use breakglass_model::Autonomy;
    let secrets = Secrets::new();
    let (config, _) = secrets.load(MINIMAL, &[]).unwrap();
    assert_eq!(config.agent.autonomy, Autonomy::ApproveMutations);
    for &autonomy in Autonomy::ALL {
        let source = format!("{MINIMAL}[agent]\nautonomy = \"{autonomy}\"\n");
        let (config, _) = secrets.load(&source, &[]).unwrap();
        assert_eq!(config.agent.autonomy, autonomy);
    }
}

/// The section under `header` that the reference file shows in a comment.
fn shown_section(header: &str) -> String {
    let lines = REFERENCE.lines().map(|line| line.strip_prefix("#   "));
    let lines = lines.skip_while(|line| *line != Some(header));
    lines.map_while(|line| line).collect::<Vec<_>>().join("\n")
}

#[test]
fn reference_file_shows_an_agent_with_every_key() {
    let secrets = Secrets::new();
    fs::write(secrets.path().join("local_key"), "sk-x\n").unwrap();
    let shown = shown_section("[[agents]]");
    let (config, _) = secrets.load(&format!("{MINIMAL}{shown}\n"), &[]).unwrap();
    assert!(config.agents[0].api_key.is_some());
    let source = format!("{MINIMAL}[[agents]]\nzzzzzzzzzzzz = 1\n");
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
fn additional_agent_is_read_with_its_defaults() {
    let source = format!(
        "{MINIMAL}{OTHER}environment = [\"A={{\\\"b\\\":1}}\"]\n[agent]\nfallback = \"local\"\n"
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
fn each_mistake_in_an_agent_is_reported_at_its_key() {
    for (change, key, problem) in [
        (
            ("name = \"local\"", "name = \"claude\""),
            "agents[0].name",
            "used twice",
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
            "not a host and port",
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
            "cannot be started by a runner",
        ),
    ] {
        let source = format!("{MINIMAL}{}", OTHER.replacen(change.0, change.1, 1));
        let errors = Secrets::new().load(&source, &[]).unwrap_err();
        let found = errors
            .iter()
            .any(|error| error.key == key && error.problem.contains(problem));
        assert!(found, "{change:?}: {errors:?}");
    }
}

#[test]
fn configuration_and_prompts_have_one_rule_for_model_names() {
    let secrets = Secrets::new();
    let long = "a".repeat(129);
    for name in [
        "sonnet",
        "opus[1m]",
        "@cf/meta/llama",
        "--help",
        "a b",
        &long,
    ] {
        let source = format!("{MINIMAL}[agent]\nmodel = \"{name}\"\n");
        let loads = secrets.load(&source, &[]).is_ok();
        assert_eq!(loads, is_model_name(name), "{name}");
    }
}
