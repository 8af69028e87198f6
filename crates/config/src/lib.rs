//! The configuration: one TOML file, overridden by environment variables. All errors are reported together.
//!
//! Steps: parse the file into a tree whose values know their lines ([`tree`]), apply the variables
//! ([`environment`]), migrate keys of earlier versions ([`retired`]), then read it section by section
//! ([`sections`]). A [`Config`] exists only if there was no error.

mod agent_account;
mod agents;
mod allowed_host;
mod environment;
mod error;
mod identity;
mod library;
pub mod local_addresses;
mod notify;
mod presets;
mod reader;
mod retired;
mod sections;
mod ssh;
mod template;
pub mod token;
mod tree;
mod types;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;

use breakglass_control::Target;

pub use agent_account::parse_user;
pub use agents::{FIRST_AGENT, OtherAgent};
pub use allowed_host::AllowedHost;
pub use error::{ConfigError, Origin, Warning};
pub use identity::check_identity;
pub use library::check_library;
pub use notify::topic;
pub use notify::{NotificationKind, NotifyConfig, ReceiverConfig, Shape};
pub use presets::Preset;
pub use sections::own_rules;
pub use ssh::ssh_options;
pub use template::{Field, Template};
pub use token::ApiToken;
pub use types::{
    AgentConfig, AuthConfig, Config, LimitsConfig, ModelKey, RecordConfig, SandboxMode, SshConfig,
};

use error::Problems;
use reader::SectionReader;
use tree::{Node, Table, Value};

/// File name of the incident log in `data_dir`.
pub const LOG_FILE: &str = "record.db";

impl Config {
    /// The configuration file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let private = self.private.iter().map(std::path::PathBuf::as_path);
        private
            .filter(|path| !self.secrets.iter().any(|secret| secret == path))
            .last()
    }

    /// The target named `name`.
    ///
    /// # Errors
    /// A sentence that lists the existing targets.
    pub fn target(&self, name: &str) -> Result<&Target, String> {
        let found = self.targets.iter().find(|target| target.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.targets.iter().map(|it| it.name.as_str()).collect();
            format!(
                "there is no target {name:?}; the targets are: {}",
                names.join(", ")
            )
        })
    }

    /// Reads the file, if `path` names one, and applies the variables of `environment`.
    ///
    /// `environment` is a parameter, so that a test needs no process of its own; the program passes
    /// `std::env::vars_os()`.
    ///
    /// # Errors
    /// All errors, in the order of the sections.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Config, Vec<Warning>), Vec<ConfigError>> {
        Config::load_with(path, environment, Problems::default())
    }

    /// Like [`Config::load`], but the private key may be missing: enrolment will create it.
    ///
    /// # Errors
    /// All other errors.
    pub fn load_before_key_exists(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Vec<ConfigError>> {
        let problems = Problems {
            key_file_may_be_missing: true,
            ..Problems::default()
        };
        Config::load_with(Some(path), environment, problems).map(|(config, _)| config)
    }

    fn load_with(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        mut problems: Problems,
    ) -> Result<(Config, Vec<Warning>), Vec<ConfigError>> {
        let mut table = path.map_or_else(Table::new, |path| read(path, &mut problems));
        environment::overlay(&mut table, environment, &mut problems);
        retired::migrate(&mut table, &mut problems);
        let origin = Origin::Missing(path.map(Path::to_owned));
        let root = Node {
            value: Value::Table(table),
            origin,
        };
        let config = sections::config(SectionReader::new(String::new(), root, &mut problems));
        match config {
            Some(mut config) if problems.errors.is_empty() => {
                config.private.extend(path.map(Path::to_owned));
                Ok((config, problems.warnings))
            }
            _ => Err(problems.errors),
        }
    }
}

fn read(path: &Path, problems: &mut Problems) -> Table {
    match std::fs::read_to_string(path) {
        Ok(source) => tree::parse(path, &source, problems),
        Err(error) => {
            let origin = Origin::Missing(Some(path.to_owned()));
            let problem = format!("can't be read: {error}");
            problems.error(
                &origin,
                "(file)",
                problem,
                "check the path given with --config",
            );
            Table::new()
        }
    }
}
