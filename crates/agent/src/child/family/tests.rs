use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::*;
use crate::child::{Launcher, Local};

/// Connects to the socket of its first argument, then waits to be killed.
const CONNECT: &str = "perl -MIO::Socket::UNIX -e \
     'my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; sleep 60' \"$0\"";

struct Scene {
    dir: TempDir,
    listener: UnixListener,
    launcher: Launcher,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let launcher = Launcher::start(None, None);
        Scene {
            dir,
            listener,
            launcher,
        }
    }

    /// A child that runs `script`, in which `$0` is the socket.
    async fn child(&self, script: &str) -> Local {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(self.socket());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        let cell = uuid::Uuid::new_v4().to_string();
        let child = Local::spawn(&self.launcher, command, &cell).await;
        child.expect("sh is missing")
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("sock")
    }

    /// The next connection; the child that makes it has a minute.
    async fn accept(&self) -> UnixStream {
        let listener = self.listener.try_clone().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let accepted = tokio::time::timeout(Duration::from_secs(60), listener.accept()).await;
        let (stream, _) = accepted
            .expect("a child connects: perl is missing")
            .unwrap();
        stream.into_std().unwrap()
    }
}

fn family(child: &Local) -> Family {
    child.family().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_its_shells_and_what_left_its_session_and_parents_belong_to_it() {
    let scene = Scene::new();
    for (name, script) in [
        ("itself", format!("exec {CONNECT}")),
        (
            "a nested shell",
            format!(
                "sh -c 'sh -c \"$1\" \"$0\"; :' \"$0\" '{}'; :",
                CONNECT.replace('\'', "'\\''")
            ),
        ),
        ("a background job", format!("({CONNECT}) & wait")),
        ("an orphan", format!("(({CONNECT}) &) ; sleep 60")),
        (
            "a daemon",
            format!(
                "(setsid nohup sh -c '{}' \"$0\" >/dev/null 2>&1 &) ; sleep 60",
                CONNECT.replace('\'', "'\\''")
            ),
        ),
    ] {
        let child = scene.child(&script).await;
        let stream = scene.accept().await;
        // The parents in between may be ending just now, and it belongs at every moment of that.
        for _ in 0..200 {
            assert_eq!(family(&child).admits(stream.as_fd()), Ok(()), "{name}");
        }
        child.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_sibling_nor_the_one_who_started_both_belongs() {
    let scene = Scene::new();
    let (ours, other) = (scene.child("sleep 60").await, scene.child(CONNECT).await);
    let stream = scene.accept().await;
    let refused = family(&ours)
        .admits(stream.as_fd())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("not of this incident's agent"),
        "{refused}"
    );
    assert!(refused.contains("perl"), "{refused}");
    assert_eq!(family(&other).admits(stream.as_fd()), Ok(()));
    let from_here = UnixStream::connect(scene.socket()).unwrap();
    let stream = scene.accept().await;
    assert!(family(&ours).admits(stream.as_fd()).is_err());
    drop(from_here);
    ours.kill().await;
    other.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_or_outlived_its_child_does_not_belong() {
    let scene = Scene::new();
    let quick = CONNECT.replace("sleep 60", "exit");
    let child = scene.child(&format!("{quick}; sleep 60")).await;
    let stream = scene.accept().await;
    let gone = async {
        while family(&child).admits(stream.as_fd()).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone)
        .await
        .expect("a process that has ended is refused");
    child.kill().await;

    let first = scene
        .child(&format!("(({CONNECT}) &) ; exec sleep 60"))
        .await;
    let stream = scene.accept().await;
    let earlier = family(&first);
    assert_eq!(earlier.admits(stream.as_fd()), Ok(()));
    let root = i32::try_from(first_id(&earlier)).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(root).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let second = scene.child("sleep 60").await;
    let alone = async {
        while earlier.admits(stream.as_fd()).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), alone)
        .await
        .expect("what outlives its child belongs to nobody");
    assert!(family(&second).admits(stream.as_fd()).is_err());
    first.kill().await;
    second.kill().await;
}

fn first_id(family: &Family) -> i64 {
    family.root.pid.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_forks_around_it_changes_no_answer() {
    let scene = Scene::new();
    let storm = "while :; do (:) & (: &) ; done & ";
    let (ours, other) = (
        scene
            .child(&format!("{storm} (({CONNECT}) &) ; wait"))
            .await,
        scene.child(&format!("{storm} wait")).await,
    );
    let stream = scene.accept().await;
    for _ in 0..2000 {
        assert_eq!(family(&ours).admits(stream.as_fd()), Ok(()));
        assert!(family(&other).admits(stream.as_fd()).is_err());
    }
    ours.kill().await;
    other.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_can_neither_trace_nor_read_nor_signal_each_other() {
    let scene = Scene::new();
    let victim = scene.child(CONNECT).await;
    let _stream = scene.accept().await;
    let id = victim.family().unwrap().root.pid;
    // PTRACE_ATTACH, and a signal to the whole group of the other.
    let (attach, open) = if cfg!(target_arch = "aarch64") {
        (117, 434)
    } else {
        (101, 434)
    };
    let script = format!(
        "cat /proc/{id}/environ >/dev/null 2>&1 && echo environ; \
         cat /proc/{id}/maps >/dev/null 2>&1 && echo maps; \
         readlink /proc/{id}/fd/0 >/dev/null 2>&1 && echo fd; \
         kill -0 {id} 2>/dev/null && echo signal; \
         perl -e 'exit(syscall({attach},16,{id},0,0) == 0 ? 0 : 1)' && echo trace; \
         perl -e '$p=syscall({open},{id},0); exit(syscall(438,$p,1,0) >= 0 ? 0 : 1)' && echo descriptor; \
         cat /proc/self/environ >/dev/null && echo done"
    );
    let mut attacker = scene.child(&script).await;
    let mut said = Vec::new();
    while let Ok(Some(line)) = attacker.next().await {
        if let crate::wire::RawLine::Whole(line) = line {
            said.push(String::from_utf8_lossy(line).into_owned());
        }
    }
    assert_eq!(
        said,
        ["done"],
        "a kernel of 6.12 or newer with Landlock is needed"
    );
    attacker.kill().await;
    victim.kill().await;
}

#[test]
fn a_name_of_any_bytes_is_no_other_field() {
    let look = parse(
        7,
        "7 (a) S 1 ) b (x)) S 42 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 991 0",
    )
    .unwrap();
    assert_eq!((look.parent, look.id.started), (42, 991));
    for odd in ["", "7 (a", "7 (a) S", "7 (a) S x 1", "7 a S 42"] {
        assert_eq!(parse(7, odd), None, "{odd}");
    }
    assert!(Path::new("/proc/self/stat").exists());
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(
        super::look(own).unwrap().parent,
        i32::try_from(std::os::unix::process::parent_id()).unwrap()
    );
}
