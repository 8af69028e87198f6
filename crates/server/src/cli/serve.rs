use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, say_error};
use crate::app::{App, Mode};
use crate::config::Config;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration; docs/config.toml lists every key.
    #[arg(long, env = "BREAKGLASS_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    super::runtime::seal_memory()?;
    let config = load(&args.config)?;
    super::runtime::init_tracing(LevelFilter::INFO);
    super::runtime::block_on(async {
        let listen = config.listen;
        let app = App::build(config, Mode::Serve)
            .await
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let message =
                format!("can't listen on {listen}: {error}; change `listen` or end what holds it");
            Failure::new(Exit::Usage, message)
        })?;
        tracing::info!(%listen, "serving");
        app.run(listener, super::runtime::interrupted()).await;
        Ok(Exit::Done)
    })?
}

/// The configuration, or every error in it at once.
pub(crate) fn load(path: &std::path::Path) -> Result<Config, Failure> {
    match Config::load(Some(path), std::env::vars_os()) {
        Ok((config, warnings)) => {
            for warning in warnings {
                say_error(&format!("warning: {warning}"));
            }
            Ok(config)
        }
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let message = format!("the configuration does not hold:\n{}", lines.join("\n"));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}
