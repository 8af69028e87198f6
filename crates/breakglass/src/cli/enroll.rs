//! Sets up key, guest and host, and proves by the doctor that they hold.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, doctor, runtime, say, say_json};
use breakglass_config::Config;
use breakglass_enroll::{EnrollError, Gate, GuestId, Order, Source, Step, Told, What};

#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    /// The server's configuration: it names guest, host, ssh.key_file and ssh.known_hosts.
    #[arg(long, env = "BREAKGLASS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// One target of the configuration; all of them unless named.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Carry the steps out over your own ssh, with its configuration, agent and password prompts.
    #[arg(long)]
    run: bool,
    /// Log in and look, print every change that --run would make, and make none.
    #[arg(long)]
    dry_run: bool,
    /// Put a new key in the place of the one that works, once a login to guest and gate has proven it.
    #[arg(long, conflicts_with_all = ["remove", "target"])]
    rotate: bool,
    /// Remove the key's lines, the sudoers file, gate and policy if no other key uses them, and the key.
    #[arg(long)]
    remove: bool,
    /// Your own login on the guest, as root or with sudo [default: the target's address].
    #[arg(long, value_name = "USER@ADDR")]
    guest_login: Option<String>,
    /// Your own login on the host, as root or with sudo [default: the target's host].
    #[arg(long, value_name = "USER@ADDR")]
    host_login: Option<String>,
    /// Configuration for your ssh, in the place of ~/.ssh/config.
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// The gate's program for the host [default: the one beside this program, where the host has none].
    #[arg(long, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// The guest as the hypervisor knows it; needed while the host has no policy.
    #[arg(long, value_name = "ID")]
    guest_id: Option<String>,
    /// The hypervisor's tool: qm on Proxmox, virsh with libvirt.
    #[arg(long, value_parser = ["qm", "virsh"], default_value = "qm")]
    driver: String,
    /// From where the key may be used: an address, a network, or `here` for the address that the machine
    /// sees this one under. Repeat it for more. Unless given: `here`, beside what stands there already.
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
    let order = order(args, config)?;
    let mut told = Vec::new();
    let mut tell = |one: Told| {
        if !args.json {
            say(&spoken(&one, order.dry));
        }
        told.push(one);
    };
    if !args.run && !args.dry_run {
        let steps = show(args, &order, &mut tell)?;
        if args.json {
            say(
                &json!({ "changes": changes(&told), "notes": notes(&told), "steps": steps })
                    .to_string(),
            );
        } else {
            steps
                .iter()
                .for_each(|step| say(&format!("\n# {}: {}\n{}", step.on, step.about, step.paste)));
            if !args.remove {
                say("\n# Then try every link: breakglass doctor --config FILE");
            }
        }
        return Ok(Exit::Done);
    }
    runtime::block_on(async {
        match (args.rotate, args.remove) {
            (true, _) => breakglass_enroll::rotate(&order, &mut tell).await,
            (_, true) => breakglass_enroll::remove(&order, &mut tell).await,
            _ => breakglass_enroll::enroll(&order, &mut tell).await,
        }
    })?
    .map_err(failure)?;
    if !args.json && changes(&told).is_empty() {
        say("nothing to change");
    }
    if order.dry || args.remove {
        if args.json {
            say_json(&json!({ "changes": changes(&told), "notes": notes(&told) }).to_string());
        }
        return Ok(Exit::Done);
    }
    // Read anew: that it holds with the key in place is a part of the proof.
    let config = super::serve::load(&args.config)?;
    let (checks, worst) = doctor::examine_all(&config, false)?;
    if args.json {
        let (changes, notes) = (changes(&told), notes(&told));
        say(
            &json!({ "changes": changes, "notes": notes, "state": worst, "checks": checks })
                .to_string(),
        );
    } else {
        doctor::print(&checks);
    }
    Ok(doctor::exit_of(worst))
}

/// The configuration, in which the key alone may be missing.
fn load(args: &EnrollArgs) -> Result<Config, Failure> {
    Config::load_before_the_key(&args.config, std::env::vars_os())
        .map_err(|errors| Failure::of_config("enroll can't begin", &errors))
}

fn order(args: &EnrollArgs, config: Config) -> Result<Order, Failure> {
    let targets = match &args.target {
        None => config.targets.clone(),
        Some(name) => {
            let found = config.target(name);
            vec![
                found
                    .map_err(|said| Failure::new(Exit::Usage, said))?
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
            "{option} is for one target, and the configuration has several; name it with --target"
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
            format!("{login:?} is no login; write USER@ADDRESS"),
        ));
    }
    let gate = match args.remove {
        true => None,
        false => Gate::read(args.gate.as_deref()).map_err(failure)?,
    };
    let guest = args
        .guest_id
        .as_deref()
        .map(|id| GuestId::new(&args.driver, id));
    Ok(Order {
        config,
        targets,
        from: args.from.clone(),
        guest_login: args.guest_login.clone(),
        host_login: args.host_login.clone(),
        ssh_config: args.ssh_config.clone(),
        gate,
        guest: guest.transpose().map_err(failure)?,
        dry: args.dry_run,
    })
}

fn show(
    args: &EnrollArgs,
    order: &Order,
    tell: &mut breakglass_enroll::Tell<'_>,
) -> Result<Vec<Step>, Failure> {
    match (args.rotate, args.remove) {
        (true, _) => {
            let message =
                "a new key has to be proven by logins: say --rotate with --run, or with --dry-run";
            Err(Failure::new(Exit::Usage, message))
        }
        (_, true) => breakglass_enroll::show_removal(order).map_err(failure),
        _ => breakglass_enroll::show_steps(order, tell).map_err(failure),
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

fn spoken(told: &Told, dry: bool) -> String {
    let on = &told.on;
    match &told.what {
        What::Change(change) if dry => format!("would  {on:16}  {change}"),
        What::Change(change) => format!("done   {on:16}  {change}"),
        What::Note(note) => format!("note   {on:16}  {note}"),
    }
}

fn changes(told: &[Told]) -> Vec<Value> {
    let change = |told: &Told| match &told.what {
        What::Change(change) => Some(json!({ "on": told.on, "change": change.to_string() })),
        What::Note(_) => None,
    };
    told.iter().filter_map(change).collect()
}

fn notes(told: &[Told]) -> Vec<Value> {
    let note = |told: &Told| match &told.what {
        What::Note(note) => Some(json!({ "on": told.on, "note": note })),
        What::Change(_) => None,
    };
    told.iter().filter_map(note).collect()
}
