//! Sets up key, guest and host, and proves with the readiness checks that they work.
//!
//! The steps are in the crate `breakglass-enroll`; this module parses arguments and prints results.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, print_json, print_line, readiness, runtime};
use breakglass_config::Config;
use breakglass_enroll::{
    EnrollError, EnrollRequest, Gate, GuestId, Progress, ProgressKind, Source, Step,
};

#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    /// The server's configuration, with guest, host, ssh.key_file and ssh.known_hosts.
    #[arg(long, env = "BREAKGLASS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// One target of the configuration [default: all].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Carry out the steps over your own ssh, with its configuration, agent and password prompts.
    #[arg(long)]
    run: bool,
    /// Log in, print every change that --run would make, and make none.
    #[arg(long)]
    dry_run: bool,
    /// Replace the working key with a new one, after a login to guest and gate has proven the new key.
    #[arg(long, conflicts_with_all = ["remove", "target"])]
    rotate: bool,
    /// Remove the key and its authorized_keys lines; also the sudoers file, the gate and its policy, unless
    /// another key uses them.
    #[arg(long)]
    remove: bool,
    /// Your own login on the guest, as root or with sudo [default: the target's address].
    #[arg(long, value_name = "USER@ADDR")]
    guest_login: Option<String>,
    /// Your own login on the host, as root or with sudo [default: the target's host].
    #[arg(long, value_name = "USER@ADDR")]
    host_login: Option<String>,
    /// A configuration file for your ssh instead of ~/.ssh/config.
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// The gate's program for the host [default: the one beside this program, if the host has none].
    #[arg(long, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// The guest's id or name on the hypervisor; needed until the host has a policy.
    #[arg(long, value_name = "ID")]
    guest_id: Option<String>,
    /// The hypervisor's tool: qm on Proxmox, virsh with libvirt.
    #[arg(long, value_parser = ["qm", "virsh"], default_value = "qm")]
    driver: String,
    /// A source that may use the key: an address, a network, or `here` for this machine's address as the
    /// target sees it. Repeat it for more [default: `here`, added to the sources already allowed].
    #[arg(long, value_name = "ADDR")]
    from: Vec<Source>,
    /// Print one JSON object: `{changes: [{on, change}], notes: [{on, note}], steps: [{on, about, paste}],
    /// state, checks}`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EnrollArgs) -> Result<Exit, Failure> {
    runtime::seal_memory()?;
    let config = load(args)?;
    runtime::init_tracing(LevelFilter::ERROR);
    let request = request(args, config)?;
    let mut reported = Vec::new();
    let mut report = |progress: Progress| {
        if !args.json {
            print_line(&progress_line(&progress, request.dry_run));
        }
        reported.push(progress);
    };
    if !args.run && !args.dry_run {
        let steps = show(args, &request, &mut report)?;
        if args.json {
            print_line(
                &json!({ "changes": changes(&reported), "notes": notes(&reported), "steps": steps })
                    .to_string(),
            );
        } else {
            steps.iter().for_each(|step| {
                print_line(&format!("\n# {}: {}\n{}", step.on, step.about, step.paste));
            });
            if !args.remove {
                print_line("\n# Then check everything: breakglass doctor --config FILE");
            }
        }
        return Ok(Exit::Done);
    }
    runtime::block_on(async {
        match (args.rotate, args.remove) {
            (true, _) => breakglass_enroll::rotate(&request, &mut report).await,
            (_, true) => breakglass_enroll::remove(&request, &mut report).await,
            _ => breakglass_enroll::enroll(&request, &mut report).await,
        }
    })?
    .map_err(failure)?;
    if !args.json && changes(&reported).is_empty() {
        print_line("nothing to change");
    }
    if request.dry_run || args.remove {
        if args.json {
            print_json(
                &json!({ "changes": changes(&reported), "notes": notes(&reported) }).to_string(),
            );
        }
        return Ok(Exit::Done);
    }
    // Load the configuration again: it must be valid with the key in place.
    let config = super::serve::load(&args.config)?;
    let (checks, worst) = readiness::examine_all(&config, false)?;
    if args.json {
        let (changes, notes) = (changes(&reported), notes(&reported));
        print_line(
            &json!({ "changes": changes, "notes": notes, "state": worst, "checks": checks })
                .to_string(),
        );
    } else {
        readiness::print(&checks);
    }
    Ok(readiness::exit_of(worst))
}

/// The configuration. Only the key may be missing.
fn load(args: &EnrollArgs) -> Result<Config, Failure> {
    Config::load_before_key_exists(&args.config, std::env::vars_os())
        .map_err(|errors| Failure::of_config("can't enrol: the configuration is invalid", &errors))
}

fn request(args: &EnrollArgs, config: Config) -> Result<EnrollRequest, Failure> {
    let targets = match &args.target {
        None => config.targets.clone(),
        Some(name) => {
            let found = config.target(name);
            vec![
                found
                    .map_err(|message| Failure::new(Exit::Usage, message))?
                    .clone(),
            ]
        }
    };
    let of_one = [
        ("--guest-login", args.guest_login.is_some()),
        ("--host-login", args.host_login.is_some()),
        ("--guest-id", args.guest_id.is_some()),
    ];
    if let (true, Some((option, _))) = (targets.len() > 1, of_one.iter().find(|(_, given)| *given))
    {
        let message = format!(
            "{option} is for one target, but the configuration has several; choose one with --target"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let logins = [&args.guest_login, &args.host_login];
    if let Some(login) = logins
        .into_iter()
        .flatten()
        .find(|login| login.starts_with('-') || login.is_empty())
    {
        return Err(Failure::new(
            Exit::Usage,
            format!("{login:?} is not a login; use USER@ADDRESS"),
        ));
    }
    let gate = if args.remove {
        None
    } else {
        Gate::read(args.gate.as_deref()).map_err(failure)?
    };
    let guest = args
        .guest_id
        .as_deref()
        .map(|id| GuestId::new(&args.driver, id));
    Ok(EnrollRequest {
        config,
        targets,
        from: args.from.clone(),
        guest_login: args.guest_login.clone(),
        host_login: args.host_login.clone(),
        ssh_config: args.ssh_config.clone(),
        gate,
        guest: guest.transpose().map_err(failure)?,
        dry_run: args.dry_run,
    })
}

fn show(
    args: &EnrollArgs,
    request: &EnrollRequest,
    report: &mut breakglass_enroll::OnProgress<'_>,
) -> Result<Vec<Step>, Failure> {
    match (args.rotate, args.remove) {
        (true, _) => {
            let message =
                "a new key must be proven by logins: use --rotate with --run or --dry-run";
            Err(Failure::new(Exit::Usage, message))
        }
        (_, true) => breakglass_enroll::manual_removal(request).map_err(failure),
        _ => breakglass_enroll::manual_steps(request, report).map_err(failure),
    }
}

fn failure(error: EnrollError) -> Failure {
    let (exit, message) = match error {
        EnrollError::Usage(message) => (Exit::Usage, message),
        EnrollError::Refused(message) => (Exit::Refused, message),
        EnrollError::Unreachable(message) => (Exit::Unreachable, message),
        EnrollError::Failed(message) => (Exit::Failed, message),
    };
    Failure::new(exit, message)
}

fn progress_line(progress: &Progress, dry: bool) -> String {
    let on = &progress.on;
    match &progress.kind {
        ProgressKind::Change(change) if dry => format!("would  {on:16}  {change}"),
        ProgressKind::Change(change) => format!("done   {on:16}  {change}"),
        ProgressKind::Note(note) => format!("note   {on:16}  {note}"),
    }
}

fn changes(reported: &[Progress]) -> Vec<Value> {
    let change = |progress: &Progress| match &progress.kind {
        ProgressKind::Change(change) => {
            Some(json!({ "on": progress.on, "change": change.to_string() }))
        }
        ProgressKind::Note(_) => None,
    };
    reported.iter().filter_map(change).collect()
}

fn notes(reported: &[Progress]) -> Vec<Value> {
    let note = |progress: &Progress| match &progress.kind {
        ProgressKind::Note(note) => Some(json!({ "on": progress.on, "note": note })),
        ProgressKind::Change(_) => None,
    };
    reported.iter().filter_map(note).collect()
}
