//! Flow control: a client that does not read delays only itself.

use std::process::Stdio;

use breakglass_model::EventBody;
use tokio::io::AsyncWriteExt as _;

use super::scene::{Scene, out};

#[tokio::test(flavor = "multi_thread")]
async fn stalled_reader_does_not_delay_others() {
    let scene = Scene::start().await;
    let mut stalled = scene
        .client("ssh")
        .args(["devvm", "cat /dev/zero"])
        .spawn()
        .unwrap();
    scene
        .event(|body| matches!(body, EventBody::CommandOutput { .. }))
        .await;
    for _ in 0..5 {
        assert_eq!(out(&scene.ssh(&["devvm", "echo here"]).await), "here\n");
    }
    stalled.kill().await.unwrap();
    assert_eq!(out(&scene.ssh(&["devvm", "echo after"]).await), "after\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn command_that_never_reads_input_still_delivers_its_output() {
    let scene = Scene::start().await;
    let mut client = scene.client("ssh");
    client
        .args(["devvm", "sleep 1; echo done; exit 5"])
        .stdin(Stdio::piped());
    let mut child = client.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let pushing = tokio::spawn(async move {
        let block = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            if stdin.write_all(&block).await.is_err() {
                return;
            }
        }
    });
    let ran = tokio::time::timeout(super::scene::LIMIT, child.wait_with_output()).await;
    let ran = ran.expect("it ends").unwrap();
    assert_eq!((out(&ran).as_str(), ran.status.code()), ("done\n", Some(5)));
    pushing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn hundred_megabytes_are_relayed_both_ways_ten_times() {
    let scene = Scene::start().await;
    for _ in 0..10 {
        let mut client = tokio::process::Command::new("sh");
        client.arg("-c").arg(format!(
            "head -c 104857600 /dev/zero | ssh -F {} devvm cat | wc -c",
            scene.config().display()
        ));
        assert_eq!(out(&scene.ended(client).await).trim(), "104857600");
    }
    assert!(rss_mib() < 256, "{} MiB", rss_mib());
}

/// The memory of this process, which contains the bastion.
fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}
