//! The configuration: one TOML file, variables over it, and all that is wrong said at once.
//!
//! Order: read the file into a tree in which every value knows its line ([`tree`]), put the
//! variables over it ([`environment`]), then read it section by section ([`sections`]), noting
//! every error and going on. A [`Config`] exists only if there was none.

mod agent_user;
mod agents;
mod allowed_host;
mod environment;
mod error;
mod identity;
mod library;
pub mod local_addresses;
mod notify;
mod presets;
mod section;
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

pub use agent_user::parse_user;
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

use error::Report;
use section::Section;
use tree::{Node, Table, Value};

/// The file name of the incident log under `data_dir`.
pub const RECORD_FILE: &str = "record.db";

impl Config {
    /// The file that it was read from, if it was one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let private = self.private.iter().map(std::path::PathBuf::as_path);
        private
            .filter(|path| !self.secrets.iter().any(|secret| secret == path))
            .last()
    }

    /// The target of this name, or a sentence that names those that there are.
    pub fn target(&self, name: &str) -> Result<&Target, String> {
        let found = self.targets.iter().find(|target| target.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.targets.iter().map(|it| it.name.as_str()).collect();
            format!("no target {name:?}; there are: {}", names.join(", "))
        })
    }

    /// Reads the file, if one is named, and the variables over it.
    ///
    /// `environment` is passed in rather than read, so that a test needs no process of its own:
    /// `std::env::vars_os()` in the program.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the sections; never only the first.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Config, Vec<Warning>), Vec<ConfigError>> {
        Config::load_with(path, environment, Report::default())
    }

    /// Reads the file as [`Config::load`] does, also while the private key is yet to be made.
    ///
    /// # Errors
    /// Everything else that is wrong.
    pub fn load_before_the_key(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Vec<ConfigError>> {
        let report = Report {
            before_the_key: true,
            ..Report::default()
        };
        Config::load_with(Some(path), environment, report).map(|(config, _)| config)
    }

    fn load_with(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        mut report: Report,
    ) -> Result<(Config, Vec<Warning>), Vec<ConfigError>> {
        let mut table = path.map_or_else(Table::new, |path| read(path, &mut report));
        environment::overlay(&mut table, environment, &mut report);
        let origin = Origin::Missing(path.map(Path::to_owned));
        let root = Node {
            value: Value::Table(table),
            origin,
        };
        let config = sections::config(Section::new(String::new(), root, &mut report));
        match config {
            Some(mut config) if report.errors.is_empty() => {
                config.private.extend(path.map(Path::to_owned));
                Ok((config, report.warnings))
            }
            _ => Err(report.errors),
        }
    }
}

fn read(path: &Path, report: &mut Report) -> Table {
    match std::fs::read_to_string(path) {
        Ok(source) => tree::parse(path, &source, report),
        Err(error) => {
            let origin = Origin::Missing(Some(path.to_owned()));
            let problem = format!("can't be read: {error}");
            report.error(
                &origin,
                "(file)",
                problem,
                "check the path given with --config",
            );
            Table::new()
        }
    }
}
