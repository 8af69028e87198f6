//! The SSH client against a real sshd that dies, freezes, floods and refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use breakglass_control::SshOptions;
use breakglass_control::ssh::{HostKeyPolicy, Session, SshError};
use breakglass_journal::OutputStream;
use breakglass_rig::sshd::Sshd;
use common::{Keys, LIMIT, endpoint};

struct Ran {
    code: Option<u32>,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

async fn run(session: &Session, command: &'static str) -> Result<Ran, SshError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = session
        .run(command, LIMIT, |stream, line| match stream {
            OutputStream::Stdout => stdout.push(line.to_owned()),
            OutputStream::Stderr => stderr.push(line.to_owned()),
        })
        .await?;
    Ok(Ran {
        code,
        stdout,
        stderr,
    })
}

fn session(keys: &Keys, sshd: &Sshd) -> Session {
    Session::new(endpoint(sshd), keys.options())
}

#[tokio::test]
async fn stdout_stderr_and_exit_code_come_apart() {
    let keys = Keys::new();
    let sshd = Sshd::open(&keys.public());
    let session = session(&keys, &sshd);
    let ran = run(&session, "echo out; echo err >&2; printf tail; exit 7")
        .await
        .unwrap();
    assert_eq!(
        (ran.code, ran.stdout, ran.stderr),
        (
            Some(7),
            vec!["out".into(), "tail".into()],
            vec!["err".into()]
        )
    );
}

#[tokio::test]
async fn commands_share_one_warm_connection() {
    let keys = Keys::new();
    let sshd = Sshd::open(&keys.public());
    let session = session(&keys, &sshd);
    for _ in 0..5 {
        assert_eq!(run(&session, "true").await.unwrap().code, Some(0));
    }
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}

#[tokio::test]
async fn more_commands_than_sshd_grants_sessions_all_run() {
    let keys = Keys::new();
    let sshd = Sshd::open(&keys.public());
    let session = session(&keys, &sshd);
    let all = (0..24).map(|_| run(&session, "sleep 0.2; echo done"));
    for ran in futures_util::future::join_all(all).await {
        assert_eq!(ran.unwrap().stdout, ["done"]);
    }
    // sshd frees a session a little after its command: a refused one takes a new connection.
    assert!(sshd.logins() <= 8, "{}", sshd.log());
}

#[tokio::test]
async fn a_lost_connection_is_said_to_be_and_dialled_again() {
    let keys = Keys::new();
    let mut sshd = Sshd::open(&keys.public());
    let session = session(&keys, &sshd);
    run(&session, "true").await.unwrap();
    let (begun, first_line) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let running = session.run("echo up; sleep 60", LIMIT, |_, _| {
        begun.take().map(|begun| begun.send(()));
    });
    let (lost, ()) = tokio::join!(running, async {
        first_line.await.expect("the command begins");
        sshd.kill();
    });
    assert!(
        matches!(lost, Err(SshError::Lost { .. })),
        "{:?}",
        lost.err()
    );
    sshd.restart();
    assert_eq!(run(&session, "true").await.unwrap().code, Some(0));
}

#[tokio::test]
async fn a_frozen_server_is_an_error_within_the_deadline_and_then_well_again() {
    let keys = Keys::new();
    let sshd = Sshd::open(&keys.public());
    let options = SshOptions {
        connect_timeout: Duration::from_secs(10),
        keepalive: Duration::from_secs(1),
        ..keys.options()
    };
    let session = Session::new(endpoint(&sshd), options);
    run(&session, "true").await.unwrap();
    sshd.freeze();
    let began = Instant::now();
    let error = run(&session, "true")
        .await
        .err()
        .expect("a frozen server can't answer");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert!(matches!(error, SshError::TimedOut { .. }), "{error}");
    sshd.thaw();
    assert_eq!(run(&session, "true").await.unwrap().code, Some(0));
}

#[tokio::test]
async fn a_flood_on_one_channel_leaves_the_others_alive() {
    let keys = Keys::new();
    let sshd = Sshd::open(&keys.public());
    let session = session(&keys, &sshd);
    let (begun, first_line) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    // It floods for as long as the others take.
    let flood = session.run("yes", 10 * LIMIT, |_, _| {
        begun.take().map(|begun| begun.send(()));
    });
    let beside = async {
        first_line.await.expect("it floods");
        for _ in 0..10 {
            assert_eq!(run(&session, "echo hi").await.unwrap().stdout, ["hi"]);
        }
    };
    tokio::select! {
        ended = flood => panic!("the flood ended first: {ended:?}"),
        () = beside => {}
    }
}

#[tokio::test]
async fn a_command_without_end_is_cut_off_at_its_deadline() {
    let keys = Keys::new();
    let sshd = Sshd::open(&keys.public());
    let session = session(&keys, &sshd);
    let ended = session.run("yes", Duration::from_secs(1), |_, _| {}).await;
    assert!(matches!(ended, Err(SshError::TimedOut { .. })), "{ended:?}");
    assert_eq!(run(&session, "true").await.unwrap().code, Some(0));
}

#[tokio::test]
async fn a_refused_key_an_unpinned_host_and_a_dead_port_are_told_apart() {
    let (keys, stranger) = (Keys::new(), Keys::new());
    let mut sshd = Sshd::open(&keys.public());
    let refused = run(&session(&stranger, &sshd), "true").await.err();
    assert!(
        matches!(refused, Some(SshError::KeyRefused { .. })),
        "{refused:?}"
    );
    let fresh = Keys::new();
    let pin = SshOptions {
        host_keys: HostKeyPolicy::Pin,
        ..fresh.options()
    };
    let unpinned = run(&Session::new(endpoint(&sshd), pin), "true").await.err();
    assert!(
        matches!(unpinned, Some(SshError::HostKeyUnknown { .. })),
        "{unpinned:?}"
    );
    sshd.kill();
    let dead = run(&session(&keys, &sshd), "true").await.err();
    assert!(
        matches!(dead, Some(SshError::Unreachable { .. })),
        "{dead:?}"
    );
}

#[tokio::test]
async fn a_pinned_host_is_let_in_and_another_key_is_not() {
    let keys = Keys::new();
    let mut sshd = Sshd::open(&keys.public());
    std::fs::write(keys.known_hosts(), sshd.known_hosts()).unwrap();
    let pin = || SshOptions {
        host_keys: HostKeyPolicy::Pin,
        ..keys.options()
    };
    assert_eq!(
        run(&Session::new(endpoint(&sshd), pin()), "true")
            .await
            .unwrap()
            .code,
        Some(0)
    );
    sshd.restart_with_another_key();
    let changed = run(&Session::new(endpoint(&sshd), pin()), "true")
        .await
        .err();
    assert!(
        matches!(changed, Some(SshError::HostKeyChanged { .. })),
        "{changed:?}"
    );
}
