//! Attempts of a manipulated agent to get at the key, the token, the log or
//! the memory of the server. Each prints REACHED on success.

#![allow(unreachable_pub, reason = "a module of a test")]

use std::path::Path;

/// Printed by a successful attempt. Each command assembles it, so that a shell that echoes
/// the command does not print it.
pub const REACHED: &str = "REACHED";

/// Everything that an attacker might know about the server.
pub struct Target<'a> {
    pub server: u32,
    pub key: &'a Path,
    pub token: &'a Path,
    pub config: &'a Path,
    pub data: &'a Path,
    /// `127.0.0.1:PORT` of the API.
    pub api: &'a str,
    /// Ports of two sshd on 127.0.0.1 that the server's key opens.
    pub sshd: [u16; 2],
}

/// ptrace(PTRACE_ATTACH) and process_vm_readv by number.
const SYSCALLS: (u32, u32) = if cfg!(target_arch = "aarch64") {
    (117, 270)
} else {
    (101, 310)
};

/// Name and command of each attempt.
pub fn attempts(target: &Target<'_>) -> Vec<(&'static str, String)> {
    let mut all = files(target);
    all.extend(processes(target.server));
    all.extend(privileges(target));
    all.extend(sockets(target));
    all.extend(ssh(target));
    all
}

/// Runs `command` and prints REACHED if it worked.
fn works(command: &str) -> String {
    format!("{command} && printf 'REA%s\\n' CHED")
}

fn files(target: &Target<'_>) -> Vec<(&'static str, String)> {
    let [key, token, config, data] =
        [target.key, target.token, target.config, target.data].map(|path| path.display());
    vec![
        ("the key file", works(&format!("cat {key}"))),
        ("the token file", works(&format!("cat {token}"))),
        ("the log", works(&format!("head -c 9 {data}/record.db"))),
        (
            "writing the log",
            works(&format!("(echo x >> {data}/record.db)")),
        ),
        (
            "writing the configuration",
            works(&format!("(echo '# x' >> {config})")),
        ),
        (
            "a key anywhere near",
            works(&format!(
                "cat ~/.ssh/* ~/../* {data}/* {data}/../* 2>/dev/null | grep -a PRIVATE"
            )),
        ),
        (
            "another ssh in place of the shim",
            works(&format!("cp /bin/true {data}/cell/bin/ssh")),
        ),
    ]
}

fn processes(server: u32) -> Vec<(&'static str, String)> {
    let (attach, read) = SYSCALLS;
    // 0x1000 is not mapped: EFAULT would mean that access was allowed.
    let read = format!(
        "perl -e '$b=\"x\" x 8; $l=pack(\"PQ\",$b,8); $r=pack(\"QQ\",4096,8); \
         syscall({read},{server},$l,1,$r,1,0); exit($!{{EPERM}} || $!{{ESRCH}} ? 1 : 0)'"
    );
    let attach = format!("perl -e 'exit(syscall({attach},16,{server},0,0) == 0 ? 0 : 1)'");
    let proc = |what: &str| works(&format!("head -c 1 /proc/{server}/{what}"));
    vec![
        ("the server's environment", proc("environ")),
        ("the server's memory", proc("mem")),
        ("the server's memory map", proc("maps")),
        (
            "the server's open files",
            works(&format!("cat /proc/{server}/fd/*")),
        ),
        (
            "the server's directories",
            works(&format!("ls /proc/{server}/root/ /proc/{server}/cwd/")),
        ),
        (
            "the server's threads",
            works(&format!("cat /proc/{server}/task/*/environ")),
        ),
        ("tracing the server", works(&attach)),
        ("reading across processes", works(&read)),
        (
            "a core dump of the server",
            works(&format!("kill -ABRT {server}")),
        ),
        ("core dumps of one's own", works("ulimit -Hc unlimited")),
    ]
}

fn privileges(target: &Target<'_>) -> Vec<(&'static str, String)> {
    let key = target.key.display();
    vec![
        (
            "sudo and su",
            works("(sudo -n id; su -c id root) </dev/null 2>/dev/null | grep uid=0"),
        ),
        (
            "capabilities",
            works(
                "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):' /proc/self/status | grep -v 0000000000000000",
            ),
        ),
        ("root of one's own", works(&format!("unshare -r cat {key}"))),
        ("the disks", works("head -c 1 $(find /dev -type b)")),
        (
            "the kernel's settings",
            works("(: >> /proc/sys/kernel/core_pattern)"),
        ),
        ("physical memory", works("head -c 1 /dev/mem /proc/kcore")),
        (
            "what a loader was left with",
            works(
                "tr '\\0' '\\n' < /proc/self/environ | grep -E '^(LD_|BREAKGLASS_AUTH|BREAKGLASS_SSH|SSH_AUTH_SOCK)'",
            ),
        ),
        (
            "the whole environment",
            "env; cat /proc/self/environ".to_owned(),
        ),
    ]
}

fn sockets(target: &Target<'_>) -> Vec<(&'static str, String)> {
    let (data, api) = (target.data.display(), target.api.replace(':', "/"));
    let ask = format!(
        "(exec 3<>/dev/tcp/{api}; printf 'GET /api/incidents HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' \
         >&3; head -n 1 <&3 | grep ' 200 ')"
    );
    vec![
        ("the API without a token", works(&ask)),
        (
            "an ssh-agent",
            works(&format!(
                "(for s in {data}/cell/sign/* {data}/cell/*.sock /tmp/ssh-*/*; do \
                 SSH_AUTH_SOCK=$s ssh-add -L && exit 0; done; false)"
            )),
        ),
    ]
}

/// Waits until something listens on `port`, or the process `$tunnel` has ended; for half a minute.
fn until_it_listens(port: u16) -> String {
    format!(
        "for try in $(seq 300); do (exec 3<>/dev/tcp/127.0.0.1/{port}) && break; \
         kill -0 $tunnel || break; sleep 0.1; done 2>/dev/null"
    )
}

fn ssh(target: &Target<'_>) -> Vec<(&'static str, String)> {
    let [guest, host] = target.sshd;
    let key = target.key.display();
    let direct = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o \
                  UserKnownHostsFile=/dev/null -o ConnectTimeout=5";
    let banner = |options: &str, port: u16| {
        works(&format!(
            "(ssh {options} devvm & tunnel=$!; {}; (exec 3<>/dev/tcp/127.0.0.1/{port}; \
             head -c 4 <&3) | grep SSH-; found=$?; kill $tunnel; exit $found)",
            until_it_listens(port)
        ))
    };
    vec![
        (
            "ssh -A",
            works("ssh -A devvm 'test -S \"$SSH_AUTH_SOCK\" && ssh-add -L'"),
        ),
        (
            "ssh -J",
            works(&format!("ssh -J devvm -p {host} root@127.0.0.1 true")),
        ),
        (
            "ssh -W",
            works(&format!(
                "ssh -W 127.0.0.1:{host} devvm | head -c 4 | grep SSH-"
            )),
        ),
        (
            "ssh -L",
            banner(&format!("-N -L 127.0.0.1:47011:127.0.0.1:{host}"), 47011),
        ),
        (
            "ssh -D",
            // SOCKS5: no login; connect to the host's sshd.
            works(&format!(
                "(ssh -N -D 127.0.0.1:47012 devvm & tunnel=$!; {}; (exec 3<>/dev/tcp/127.0.0.1/47012; \
                 printf '\\5\\1\\0\\5\\1\\0\\1\\177\\0\\0\\1\\{:o}\\{:o}' >&3; head -c 16 <&3) | grep -a SSH-; \
                 found=$?; kill $tunnel; exit $found)",
                until_it_listens(47012),
                host >> 8,
                host & 255
            )),
        ),
        (
            "ssh -R",
            works("ssh -o ExitOnForwardFailure=yes -R 127.0.0.1:0:127.0.0.1:1 devvm true"),
        ),
        (
            "ssh -o ProxyCommand",
            works(&format!(
                "ssh -S none -o ProxyCommand='cat {key} >&2' devvm true"
            )),
        ),
        (
            "ssh -i",
            works(&format!("{direct} -i {key} -p {guest} root@127.0.0.1 true")),
        ),
        (
            "ssh -o IdentityFile",
            works(&format!(
                "ssh -o IdentityFile={key} -o IdentityAgent=none -p {host} root@127.0.0.1 true"
            )),
        ),
        (
            "the guest without a key",
            works(&format!("{direct} -p {guest} root@127.0.0.1 true")),
        ),
        (
            "the host without a key",
            works(&format!("{direct} -p {host} root@127.0.0.1 true")),
        ),
        (
            "the gate as a way round",
            works(&format!("ssh pve 'status; cat {key}'")),
        ),
    ]
}
