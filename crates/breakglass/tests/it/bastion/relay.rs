//! The relay is transparent to clients.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Output, Stdio};

use breakglass_model::CommandStream;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::scene::{LIMIT, Scene, err, out};

/// The output of a client after its input was sent.
async fn ended(child: Child) -> Output {
    let ran = timeout(LIMIT, child.wait_with_output()).await;
    ran.expect("the client did not end in time").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_exit_code_arrive_separately_and_unchanged() {
    let scene = Scene::start().await;
    let ran = scene
        .ssh(&["devvm", "printf 'a\\0b'; echo oops >&2; exit 7"])
        .await;
    assert_eq!(
        (ran.stdout.as_slice(), ran.status.code()),
        (&b"a\0b"[..], Some(7))
    );
    assert_eq!(err(&ran), "oops\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn command_ended_by_a_signal_reports_the_signal() {
    let scene = Scene::start().await;
    let ran = scene.ssh(&["devvm", "kill -TERM $$"]).await;
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    let end = format!("{:?}", scene.last_end().await);
    assert!(end.contains("signal: Some(\"TERM\")"), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_and_its_end_reach_the_command() {
    let scene = Scene::start().await;
    let mut client = scene.client("ssh");
    client.args(["devvm", "wc -c"]).stdin(Stdio::piped());
    let mut child = client.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
    drop(stdin);
    let ran = ended(child).await;
    assert_eq!(out(&ran).trim(), "3000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn shell_without_a_terminal_runs_its_input_and_records_it() {
    let scene = Scene::start().await;
    let mut client = scene.client("ssh");
    client.args(["-T", "devvm"]).stdin(Stdio::piped());
    let mut child = client.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"echo from-the-shell\nexit 3\n")
        .await
        .unwrap();
    let ran = ended(child).await;
    assert!(out(&ran).contains("from-the-shell"), "{ran:?}");
    assert_eq!(ran.status.code(), Some(3));
    let recorded = scene.recorded(CommandStream::Stdin).await;
    assert!(recorded.contains("echo from-the-shell"), "{recorded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminal_has_the_type_of_the_client() {
    let scene = Scene::start().await;
    let mut client = scene.client("ssh");
    client.args(["-tt", "devvm", "test -t 0 && echo tty $TERM; stty size"]);
    client.env("TERM", "vt220");
    let ran = scene.ended(client).await;
    assert!(out(&ran).contains("tty vt220\r\n"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn window_size_changes_reach_the_guest() {
    let scene = Scene::start().await;
    let (ours, theirs) = terminal(24, 80);
    let mut client = Command::new("setsid");
    // The kernel signals a change to the process that controls the terminal.
    client.args(["--wait", "--ctty", "ssh", "-F"]);
    client.arg(scene.config()).args([
        "-tt",
        "devvm",
        "stty size; until [ \"$(stty size)\" = '40 132' ]; do sleep 0.1; done; echo changed",
    ]);
    client.stdin(theirs.try_clone().unwrap());
    client.stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = client.spawn().expect("apt-get install util-linux");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = timeout(LIMIT, lines.next_line()).await;
    assert_eq!(first.unwrap().unwrap().unwrap().trim(), "24 80");
    resize(&ours, 40, 132);
    let changed = timeout(LIMIT, lines.next_line()).await;
    assert_eq!(changed.unwrap().unwrap().unwrap().trim(), "changed");
    assert!(child.wait().await.unwrap().success());
}

/// A terminal of this size: our end and the program's.
fn terminal(rows: u16, columns: u16) -> (OwnedFd, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    resize(&ours, rows, columns);
    let name = ptsname(&ours, Vec::new()).unwrap();
    let mut options = File::options();
    options.read(true).write(true);
    options.custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let theirs = options.open(name.to_str().unwrap());
    (ours, theirs.unwrap())
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_pass_by_an_allow_list() {
    let scene = Scene::start().await;
    let mut client = scene.client("ssh");
    client.args(["devvm", "echo $LC_TEST/$FORBIDDEN"]);
    client.env("LC_TEST", "passed").env("FORBIDDEN", "no");
    assert_eq!(out(&scene.ended(client).await), "passed/\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commands_on_one_connection_keep_their_exit_codes() {
    let scene = Scene::start().await;
    let mux = scene.file("mux").display().to_string();
    let control = format!("ControlPath={mux}");
    let options = [
        "-o",
        "ControlMaster=auto",
        "-o",
        &control,
        "-o",
        "ControlPersist=20",
    ];
    // More than the maximum number of open channels.
    for code in 0..100 {
        let command = format!("echo {code}; exit {code}");
        let args = [&options[..], &["devvm", &command]].concat();
        let ran = scene.ssh(&args).await;
        assert_eq!(
            (out(&ran), ran.status.code()),
            (format!("{code}\n"), Some(code))
        );
    }
    let stopped = scene.ssh(&["-o", &control, "-O", "exit", "devvm"]).await;
    assert!(stopped.status.success(), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scp_sftp_and_rsync_transfer_a_file_both_ways() {
    let scene = Scene::start().await;
    let (sent, there, back) = (scene.file("sent"), scene.file("there"), scene.file("back"));
    let bytes: Vec<u8> = (0..1_500_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&sent, &bytes).unwrap();
    let remote = format!("devvm:{}", there.display());
    let rsh = format!("ssh -F {}", scene.config().display());
    for tool in ["sftp-scp", "old-scp", "rsync", "sftp"] {
        for (from, to) in [
            (sent.display().to_string(), remote.clone()),
            (remote.clone(), back.display().to_string()),
        ] {
            let mut client = match tool {
                "old-scp" => {
                    let mut c = scene.client("scp");
                    c.args(["-O", &from, &to]);
                    c
                }
                "sftp-scp" => {
                    let mut c = scene.client("scp");
                    c.args([&from, &to]);
                    c
                }
                "rsync" => {
                    let mut c = tokio::process::Command::new("rsync");
                    c.args(["-e", &rsh, "--ignore-times", &from, &to]);
                    c
                }
                _ => batch(&scene, &from, &to),
            };
            client.stdin(Stdio::null());
            let ran = scene.ended(client).await;
            assert!(ran.status.success(), "{tool}: {ran:?}");
        }
        assert_eq!(std::fs::read(&back).unwrap(), bytes, "{tool}");
        std::fs::remove_file(&there).unwrap();
        std::fs::remove_file(&back).unwrap();
    }
}

/// `sftp` by a file of commands.
fn batch(scene: &Scene, from: &str, to: &str) -> tokio::process::Command {
    let line = match from.strip_prefix("devvm:") {
        Some(there) => format!("get {there} {to}\n"),
        None => format!("put {from} {}\n", to.trim_start_matches("devvm:")),
    };
    let file = scene.file("batch");
    std::fs::write(&file, line).unwrap();
    let mut client = scene.client("sftp");
    client.arg("-b").arg(file).arg("devvm");
    client
}
