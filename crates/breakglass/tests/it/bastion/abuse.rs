//! Hostile and faulty clients.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use breakglass_model::EventBody;
use tokio::time::timeout;

use super::scene::{LIMIT, Scene, err, out};

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_of_every_kind_is_refused_and_recorded() {
    let scene = Scene::start().await;
    let jump = ["-J", "devvm", "elsewhere", "id"];
    for arguments in [
        &["-W", "127.0.0.1:22", "devvm"][..],
        &[
            "-o",
            "ExitOnForwardFailure=yes",
            "-R",
            "0:127.0.0.1:22",
            "devvm",
            "true",
        ],
        &[
            "-o",
            "ExitOnForwardFailure=yes",
            "-R",
            "/tmp/x.sock:/tmp/y.sock",
            "devvm",
            "true",
        ],
        &jump,
    ] {
        let ran = scene.ssh(arguments).await;
        assert!(!ran.status.success(), "{arguments:?} {ran:?}");
    }
    let refused = |event: &breakglass_model::Event| matches!(&event.body, EventBody::Notice { code, .. } if code == "forwarding_refused");
    let all = scene.events().await;
    assert!(
        all.iter().filter(|event| refused(event)).count() >= 3,
        "{all:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_agent_of_the_cell_is_not_forwarded() {
    let scene = Scene::start().await;
    let socket = scene.file("agent");
    let mut agent = tokio::process::Command::new("ssh-agent");
    let agent = agent.arg("-D").arg("-a").arg(&socket).kill_on_drop(true);
    let _agent = agent.stdout(std::process::Stdio::null()).spawn().unwrap();
    // A client asks for forwarding only if an agent answers, which it may not do as soon as its socket exists.
    let answers = async {
        while UnixStream::connect(&socket).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let answering = timeout(LIMIT, answers).await;
    answering.expect("an agent answers: apt-get install openssh-client");
    let mut client = scene.client("ssh");
    client.args(["-A", "-o", "IdentityAgent=SSH_AUTH_SOCK", "devvm"]);
    client
        .arg("echo ${SSH_AUTH_SOCK:-none}")
        .env("SSH_AUTH_SOCK", &socket);
    assert_eq!(out(&scene.ended(client).await), "none\n");
    scene
        .event(|body| matches!(body, EventBody::Notice { message, .. } if message.contains("agent forwarding")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command_too_long_for_the_log_is_refused_with_an_alternative() {
    let scene = Scene::start().await;
    let long = format!("echo {}", "x".repeat(100_000));
    let mut client = tokio::process::Command::new("sh");
    let script = scene.file("script");
    std::fs::write(
        &script,
        format!(
            "exec ssh -F {} devvm \"$(cat {})\"",
            scene.config().display(),
            scene.file("long").display()
        ),
    )
    .unwrap();
    std::fs::write(scene.file("long"), long).unwrap();
    client.arg(script);
    let ran = scene.ended(client).await;
    assert_eq!(ran.status.code(), Some(126), "{}", err(&ran));
    assert!(err(&ran).contains("standard input"), "{}", err(&ran));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_clients_are_disconnected_without_harm_to_others() {
    let scene = Scene::start().await;
    let socket = scene.sockets().join("devvm");
    let mut open: Vec<UnixStream> = (0..100)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    for (at, stream) in open.iter_mut().enumerate() {
        if at % 2 == 0 {
            stream.write_all(b"SSH-2.0-half\r\n").unwrap();
        }
    }
    assert_eq!(out(&scene.ssh(&["devvm", "echo here"]).await), "here\n");
    let closed = tokio::task::block_in_place(|| open.iter_mut().all(ended));
    assert!(closed, "a half-open client is let go");
}

/// Whether the other side closes within its login timeout and a little more.
fn ended(stream: &mut UnixStream) -> bool {
    use std::io::Read as _;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_quick_connections_do_not_block_the_next() {
    let scene = Scene::start().await;
    let socket = scene.sockets().join("devvm");
    tokio::task::block_in_place(|| {
        for _ in 0..1000 {
            drop(UnixStream::connect(&socket).unwrap());
        }
    });
    assert_eq!(out(&scene.ssh(&["devvm", "echo here"]).await), "here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_delay_a_new_one() {
    let scene = Scene::start().await;
    let socket = scene.sockets().join("devvm");
    let connect = || UnixStream::connect(&socket).unwrap();
    let silent: Vec<UnixStream> = (0..140).map(|_| connect()).collect();
    let alone = std::time::Instant::now();
    assert_eq!(out(&scene.ssh(&["devvm", "echo here"]).await), "here\n");
    // Long before the silent ones time out.
    assert!(
        alone.elapsed() < Duration::from_secs(8),
        "{:?}",
        alone.elapsed()
    );
    // The same with clients that have logged in and request nothing.
    let mut idle = Vec::new();
    for _ in 0..140 {
        let mut client = scene.client("ssh");
        client.args(["-N", "devvm"]);
        idle.push(client.spawn().unwrap());
    }
    assert_eq!(out(&scene.ssh(&["devvm", "echo there"]).await), "there\n");
    drop((silent, idle));
}
