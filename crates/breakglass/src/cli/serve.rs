use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

use super::runtime::Interrupt;
use super::{Exit, Failure, print_error};
use breakglass_config::{Config, Warning};
use breakglass_server::app::{App, Mode};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file; docs/config.toml lists every key.
    #[arg(long, env = "BREAKGLASS_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    super::runtime::seal_memory()?;
    super::runtime::init_tracing(LevelFilter::INFO);
    let (config, warnings) = read(&args.config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    super::runtime::block_on(async {
        let interrupt = Interrupt::install()?;
        let listen = config.listen;
        let metrics_listen = config.metrics_listen;
        let app = App::build(config, Mode::Serve)
            .await
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let listener = bind("listen", listen).await?;
        let metrics = match metrics_listen {
            Some(address) => Some(bind("metrics_listen", address).await?),
            None => None,
        };
        tracing::info!(%listen, "serving");
        app.run(listener, metrics, interrupt.received()).await;
        Ok(Exit::Done)
    })?
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!(
            "can't listen on {address}: {error}; change `{key}`, or stop the program that uses it"
        );
        Failure::new(Exit::Usage, message)
    })
}

/// Loads the configuration and prints its warnings. The failure has all errors.
pub(crate) fn load(path: &std::path::Path) -> Result<Config, Failure> {
    let (config, warnings) = read(path)?;
    for warning in warnings {
        print_error(&format!("warning: {warning}"));
    }
    Ok(config)
}

fn read(path: &std::path::Path) -> Result<(Config, Vec<Warning>), Failure> {
    Config::load(Some(path), std::env::vars_os())
        .map_err(|errors| Failure::of_config("the configuration is invalid", &errors))
}
