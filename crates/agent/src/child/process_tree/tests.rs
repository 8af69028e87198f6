use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::*;
use crate::child::{LocalChild, Spawner};

/// Connects to the socket of its first argument, then waits to be killed.
const CONNECT: &str = "perl -MIO::Socket::UNIX -e \
     'my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; sleep 60' \"$0\"";

struct Scene {
    dir: TempDir,
    listener: UnixListener,
    spawner: Spawner,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let spawner = Spawner::start(None, None);
        Scene {
            dir,
            listener,
            spawner,
        }
    }

    /// A child that runs `script`, in which `$0` is the socket.
    async fn child(&self, script: &str) -> LocalChild {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(self.socket());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        let cell = uuid::Uuid::new_v4().to_string();
        let child = LocalChild::spawn(&self.spawner, command, None, &cell).await;
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

fn tree(child: &LocalChild) -> ProcessTree {
    child.process_tree().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_contains_the_child_its_shells_its_orphans_and_its_daemons() {
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
        // The parents in between may be ending: the answer must not change meanwhile.
        for _ in 0..200 {
            assert_eq!(tree(&child).check_peer(stream.as_fd()), Ok(()), "{name}");
        }
        child.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_contains_neither_a_sibling_nor_the_parent() {
    let scene = Scene::new();
    let (ours, other) = (scene.child("sleep 60").await, scene.child(CONNECT).await);
    let stream = scene.accept().await;
    let refused = tree(&ours)
        .check_peer(stream.as_fd())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("not a process of this incident's agent"),
        "{refused}"
    );
    assert!(refused.contains("perl"), "{refused}");
    assert_eq!(tree(&other).check_peer(stream.as_fd()), Ok(()));
    let from_here = UnixStream::connect(scene.socket()).unwrap();
    let stream = scene.accept().await;
    assert!(tree(&ours).check_peer(stream.as_fd()).is_err());
    drop(from_here);
    ours.kill().await;
    other.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_contains_neither_ended_processes_nor_survivors_of_the_child() {
    let scene = Scene::new();
    let quick = CONNECT.replace("sleep 60", "exit");
    let child = scene.child(&format!("{quick}; sleep 60")).await;
    let stream = scene.accept().await;
    let gone = async {
        while tree(&child).check_peer(stream.as_fd()).is_ok() {
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
    let earlier = tree(&first);
    assert_eq!(earlier.check_peer(stream.as_fd()), Ok(()));
    let root = i32::try_from(root_id(&earlier)).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(root).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let second = scene.child("sleep 60").await;
    let alone = async {
        while earlier.check_peer(stream.as_fd()).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), alone)
        .await
        .expect("a survivor of its child is in no tree");
    assert!(tree(&second).check_peer(stream.as_fd()).is_err());
    first.kill().await;
    second.kill().await;
}

fn root_id(tree: &ProcessTree) -> i64 {
    tree.root.pid.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_forks_meanwhile_do_not_change_the_answer() {
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
        assert_eq!(tree(&ours).check_peer(stream.as_fd()), Ok(()));
        assert!(tree(&other).check_peer(stream.as_fd()).is_err());
    }
    ours.kill().await;
    other.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_cannot_trace_read_or_signal_each_other() {
    let scene = Scene::new();
    let victim = scene.child(CONNECT).await;
    let _stream = scene.accept().await;
    let id = victim.process_tree().unwrap().root.pid;
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
    let mut printed = Vec::new();
    while let Ok(Some(line)) = attacker.next().await {
        if let crate::wire::RawLine::Whole(line) = line {
            printed.push(String::from_utf8_lossy(line).into_owned());
        }
    }
    assert_eq!(
        printed,
        ["done"],
        "a kernel of 6.12 or newer with Landlock is needed"
    );
    attacker.kill().await;
    victim.kill().await;
}

#[test]
fn a_name_of_any_bytes_is_not_read_as_another_field() {
    let stat = parse_stat(
        7,
        "7 (a) S 1 ) b (x)) S 42 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 991 0",
    )
    .unwrap();
    assert_eq!((stat.parent, stat.id.started), (42, 991));
    for odd in ["", "7 (a", "7 (a) S", "7 (a) S x 1", "7 a S 42"] {
        assert_eq!(parse_stat(7, odd), None, "{odd}");
    }
    assert!(Path::new("/proc/self/stat").exists());
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(
        super::read_stat(own).unwrap().parent,
        i32::try_from(std::os::unix::process::parent_id()).unwrap()
    );
}
