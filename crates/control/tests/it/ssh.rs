//! The SSH client against a real sshd that dies, freezes, floods and refuses.

use std::time::{Duration, Instant};

use crate::common::{Keys, LIMIT, endpoint};
use breakglass_control::SshOptions;
use breakglass_control::ssh::{HostKeyPolicy, Probe, Session, SshError};
use breakglass_model::OutputStream;
use breakglass_rig::sshd::Sshd;

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
async fn stdout_stderr_and_exit_code_are_separate() {
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
async fn lost_connection_is_reported_and_dialled_again() {
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
async fn frozen_server_is_an_error_within_the_timeout_and_works_after_thawing() {
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
async fn flood_on_one_channel_does_not_stall_the_others() {
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
async fn endless_command_ends_at_its_timeout() {
    let keys = Keys::new();
    let sshd = Sshd::open(&keys.public());
    let session = session(&keys, &sshd);
    let ended = session.run("yes", Duration::from_secs(1), |_, _| {}).await;
    assert!(matches!(ended, Err(SshError::TimedOut { .. })), "{ended:?}");
    assert_eq!(run(&session, "true").await.unwrap().code, Some(0));
}

#[tokio::test]
async fn refused_key_unpinned_host_and_dead_port_are_different_errors() {
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
async fn pinned_key_is_accepted_and_another_key_is_not() {
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

#[tokio::test]
async fn sshd_with_one_session_per_connection_runs_everything_over_a_few_connections() {
    let keys = Keys::new();
    let mut sshd = Sshd::open(&keys.public());
    sshd.restart_with_sessions(1);
    let session = session(&keys, &sshd);
    let all = (0..24).map(|_| run(&session, "sleep 0.1; echo done"));
    for ran in futures_util::future::join_all(all).await {
        assert_eq!(ran.unwrap().stdout, ["done"]);
    }
    let after_a_crowd = sshd.logins();
    for _ in 0..5 {
        assert_eq!(run(&session, "echo again").await.unwrap().stdout, ["again"]);
    }
    // What was learned is kept: nothing is dialled in vain.
    assert!(after_a_crowd <= 8, "{}", sshd.log());
    assert_eq!(sshd.logins(), after_a_crowd, "{}", sshd.log());
}

#[tokio::test]
async fn sshd_without_sessions_is_reported_as_such() {
    let keys = Keys::new();
    let mut sshd = Sshd::open(&keys.public());
    sshd.restart_with_sessions(0);
    let session = session(&keys, &sshd);
    let refused = run(&session, "true").await.err().unwrap();
    assert!(matches!(refused, SshError::NoSession { .. }), "{refused}");
    assert!(refused.to_string().contains("MaxSessions"), "{refused}");
}

#[tokio::test]
async fn exhausted_sessions_are_reported_and_do_not_count_as_silence() {
    let keys = Keys::new();
    let mut sshd = Sshd::open(&keys.public());
    sshd.restart_with_sessions(1);
    let session = session(&keys, &sshd);
    let long = futures_util::future::join_all((0..4).map(|_| run(&session, "sleep 20")));
    let late = async {
        // By then the four have what there is.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let limit = Duration::from_secs(2);
        session.run("true", limit, |_, _| {}).await.unwrap_err()
    };
    tokio::select! {
        ended = long => panic!("the four have ended: {}", ended.len()),
        refused = late => {
            assert!(matches!(refused, SshError::Crowded { .. }), "{refused}");
            assert!(refused.to_string().contains("1 session at a time"), "{refused}");
        }
    }
}

#[tokio::test]
async fn probe_of_an_sshd_with_one_session_gets_every_answer() {
    let keys = Keys::new();
    let mut sshd = Sshd::open(&keys.public());
    sshd.restart_with_sessions(1);
    let options = keys.options();
    let probe = Probe::dial(&endpoint(&sshd), &options, LIMIT)
        .await
        .unwrap();
    let (shell, one, terminal, other) = tokio::join!(
        probe.shell("echo typed\nexit\n"),
        probe.run("echo one"),
        probe.terminal(),
        probe.run("echo other"),
    );
    assert!(shell.unwrap().stdout.contains("typed"));
    assert_eq!(one.unwrap().stdout, "one");
    assert_eq!(terminal, Ok(true));
    assert_eq!(other.unwrap().stdout, "other");
}

/// Sends `words` to every client, and hangs up.
async fn refuser(
    words: &'static str,
) -> (breakglass_control::Endpoint, tokio::task::JoinHandle<()>) {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = breakglass_control::Endpoint {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        user: "root".to_owned(),
    };
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _gone = stream.write_all(words.as_bytes()).await;
        }
    });
    (endpoint, serving)
}

#[tokio::test]
async fn sshd_that_shuts_this_machine_out_is_reported_with_a_remedy() {
    let keys = Keys::new();
    for (words, remedy) in [
        ("Not allowed at this time\r\n", "PerSourcePenaltyExemptList"),
        ("Exceeded MaxStartups\r\n", "raise MaxStartups"),
    ] {
        let (endpoint, serving) = refuser(words).await;
        let refused = Probe::dial(&endpoint, &keys.options(), LIMIT).await;
        let refused = refused.map(drop).unwrap_err();
        assert!(matches!(refused, SshError::ShutOut { .. }), "{refused}");
        let said = refused.to_string();
        assert!(
            said.contains(words.trim()) && said.contains(remedy),
            "{said}"
        );
        serving.abort();
    }
}

#[tokio::test]
async fn failed_logins_make_probes_wait_before_sshd_shuts_this_machine_out() {
    let (keys, stranger) = (Keys::new(), Keys::new());
    let sshd = Sshd::open(&keys.public());
    let mut options = stranger.options();
    options.host_keys = HostKeyPolicy::AcceptAny;
    let began = Instant::now();
    for _ in 0..3 {
        let refused = Probe::dial(&endpoint(&sshd), &options, LIMIT).await;
        assert!(matches!(refused, Err(SshError::KeyRefused { .. })));
    }
    // 5 s each, of which 4 s may be outstanding before the next one.
    assert!(
        began.elapsed() >= Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        sshd.log().matches("Failed publickey").count(),
        3,
        "{}",
        sshd.log()
    );
}
