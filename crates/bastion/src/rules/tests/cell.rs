//! What the agent's own shell does unasked: hand a command over to the bastion, and nothing beside it.

use proptest::prelude::*;
use proptest::sample::select;

use crate::rules::{hands_over, split};

#[test]
fn a_plain_call_of_the_client_is_handed_over() {
    for line in [
        "ssh devvm uptime",
        "ssh devvm sudo systemctl status nginx",
        "ssh devvm 'rm -rf / && echo $HOME'",
        "ssh devvm 'df -h | tail' 2>&1",
        "ssh devvm 'df -h\nfree -m'",
        "ssh devvm \"grep -c 'a b' /etc/hosts\"",
        "ssh pve status",
        "timeout 60 ssh devvm uptime",
        "ssh -o ConnectTimeout=10 devvm uptime",
        "timeout 5 ssh -Tq -oConnectTimeout=5 -o BatchMode=yes devvm uptime",
        "ssh devvm ls -la",
        "ssh devvm echo 'it'\\''s'",
    ] {
        assert_eq!(hands_over(line), Ok(()), "{line}");
    }
}

#[test]
fn whatever_else_stands_in_the_line_is_asked_about() {
    for line in [
        "ssh devvm \"it's\"; touch q; echo \"it's\"",
        "ssh devvm uptime; rm -rf ~",
        "ssh devvm uptime | sh",
        "ssh devvm uptime & rm x",
        "ssh devvm uptime\nrm x",
        "ssh devvm uptime > file",
        "ssh devvm uptime &>/dev/null touch x",
        "ssh devvm $(cat x)",
        "ssh devvm \"$(cat x)\"",
        "ssh devvm \"`cat x`\"",
        "ssh devvm \"$HOME\"",
        "ssh devvm 'a'$(b)'c'",
        "ssh devvm $'a\\'; rm x'",
        "ssh devvm {a,b}",
        "ssh devvm =ls",
        "ssh devvm /*",
        "ssh devvm <(rm x)",
        "ssh devvm <<x\nx",
        "ssh devvm 'open",
        "ssh devvm rm\u{a0}x",
        "ssh devvm 'r\u{200b}m'",
        "ssh devvm uptime #",
        "x=y ssh devvm uptime",
        "PATH=/tmp ssh devvm uptime",
        "LD_PRELOAD=/tmp/x ssh devvm uptime",
        "env ssh devvm uptime",
        "exec ssh devvm uptime",
        "command ssh devvm uptime",
        "time ssh devvm uptime",
        "! ssh devvm uptime",
        "./ssh devvm uptime",
        "/tmp/ssh devvm uptime",
        "/usr/bin/ssh devvm uptime",
        "sudo ssh devvm uptime",
        "timeout ssh devvm uptime",
        "timeout -k 5 5 ssh devvm uptime",
        "timeout 5 -s ssh devvm uptime",
        "echo ssh devvm",
        "scp devvm:/etc/passwd .",
        "scp -S /tmp/x devvm:/etc/passwd x",
        "sftp -S /tmp/x devvm",
        "rsync -e /tmp/x devvm:/etc/passwd x",
    ] {
        assert!(hands_over(line).is_err(), "{line}");
    }
}

#[test]
fn no_host_but_a_plain_name_with_a_command_is_handed_over() {
    for line in [
        "ssh",
        "ssh devvm",
        "ssh -T devvm",
        "ssh root@devvm uptime",
        "ssh ssh://devvm uptime",
        "ssh ../devvm uptime",
        "ssh /devvm uptime",
        "ssh 'dev;touch x' uptime",
        "ssh '$(touch x)' uptime",
        "ssh '`touch`' uptime",
        "ssh '%h' uptime",
        "ssh '' uptime",
        "ssh . uptime",
        "ssh dévvm uptime",
        "ssh -- devvm uptime",
        "ssh devvm -- uptime",
        "ssh devvm -E log uptime",
        "ssh devvm -oProxyCommand=x uptime",
        "ssh devvm '-Elog' uptime",
    ] {
        assert!(hands_over(line).is_err(), "{line}");
    }
}

/// Every option of the client that is not listed, with and without a value.
const OPTIONS: [&str; 57] = [
    "-o ProxyCommand=x",
    "-oProxyCommand=x",
    "-o 'ProxyCommand x'",
    "-o proxycommand=x",
    "-o LocalCommand=x",
    "-o PermitLocalCommand=yes",
    "-o KnownHostsCommand=x",
    "-o Include=x",
    "-o UserKnownHostsFile=x",
    "-o GlobalKnownHostsFile=x",
    "-o ControlPath=x",
    "-o ControlMaster=yes",
    "-o ControlPersist=yes",
    "-o PKCS11Provider=x",
    "-o SecurityKeyProvider=x",
    "-o XAuthLocation=x",
    "-o IdentityFile=x",
    "-o IdentityAgent=x",
    "-o CertificateFile=x",
    "-o ProxyJump=x",
    "-o SetEnv=x=y",
    "-o SendEnv=x",
    "-o RemoteCommand=x",
    "-o StdinNull=yes",
    "-o ForkAfterAuthentication=yes",
    "-o Match=x",
    "-o Tunnel=yes",
    "-o LocalForward=x",
    "-o ConnectTimeout=x",
    "-o ConnectTimeout=1,x",
    "-o ConnectTimeout",
    "-o 'ConnectTimeout=1\nProxyCommand x'",
    "-o 'ConnectTimeout=1 '",
    "-o -oConnectTimeout=1",
    "-o StrictHostKeyChecking=no",
    "-o BatchMode=no",
    "-E log",
    "-Elog",
    "-tTE log",
    "-TElog",
    "-F x",
    "-Fx",
    "-qF x",
    "-J x",
    "-W x:1",
    "-S x",
    "-Sx",
    "-i x",
    "-I x",
    "-D 1",
    "-L 1:x:1",
    "-R 1:x:1",
    "-w 0:0",
    "-O exit",
    "-f",
    "-N",
    "-",
];
const MORE: [&str; 24] = [
    "-A",
    "-a",
    "-B x",
    "-b x",
    "-c x",
    "-e x",
    "-G",
    "-g",
    "-K",
    "-k",
    "-l root",
    "-M",
    "-m x",
    "-P x",
    "-p 22",
    "-Q cipher",
    "-s",
    "-V",
    "-X",
    "-Y",
    "-y",
    "-o",
    "--",
    "--help",
];

#[test]
fn no_option_of_the_client_passes_that_is_not_listed() {
    for option in OPTIONS.iter().chain(&MORE) {
        for line in [
            format!("ssh {option} devvm uptime"),
            format!("ssh -T {option} devvm uptime"),
            format!("ssh {option} -T devvm uptime"),
            format!("timeout 5 ssh -o ConnectTimeout=5 {option} devvm uptime"),
            format!("ssh devvm {option} uptime"),
        ] {
            assert!(hands_over(&line).is_err(), "{line}");
        }
    }
}

proptest! {
    #[test]
    fn nothing_passes_but_one_call_of_the_listed_form(
        parts in prop::collection::vec(select(vec![
            "ssh", "ssh", "devvm", "devvm", "pve", "uptime", "timeout", "5", "-T", "-o", "ConnectTimeout=5", "-E", "-tE",
            "-oProxyCommand=x", "'a b'", "\"a\"", "'", "\"", ";", "|", "&", "\n", "$x", "`x`", "x=y", "--", "-", "*", "=x",
        ]), 1..9),
    ) {
        let line = parts.join(" ");
        if hands_over(&line).is_ok() {
            let commands = split(line.as_bytes()).map_err(TestCaseError::fail)?;
            let words: Vec<_> = commands[0].iter().map(|word| word.text.as_str()).collect();
            let call = words.strip_prefix(&["timeout", "5"]).unwrap_or(&words);
            let mut behind = call[1..].iter();
            let host = behind.find(|it| !["-T", "-o", "ConnectTimeout=5"].contains(it));
            prop_assert_eq!((commands.len(), call[0]), (1, "ssh"), "{}", line);
            prop_assert!(host.is_some_and(|it| !it.starts_with('-')), "{}", line);
            prop_assert!(behind.next().is_some_and(|it| !it.starts_with('-')), "{}", line);
        }
    }
}
