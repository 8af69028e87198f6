//! Files of the server's, of the machine's and of other incidents, and their metadata.

use std::path::Path;

use super::{Attempt, Prey, attempt, call, real};

pub(super) fn files(prey: &Prey<'_>) -> Vec<Attempt> {
    let secret = prey.secret.display();
    let [key, token, data, other] =
        [prey.key, prey.token, prey.data, prey.other_home].map(Path::display);
    let name = prey.secret.file_name().unwrap().to_string_lossy();
    let other_file = prey.other_file;
    vec![
        real("the key", format!("cat {key}")),
        real("the token", format!("cat {token}")),
        real("the log", format!("head -c 9 {data}/record.db")),
        real("a secret beside them", format!("cat {secret}")),
        real("the names in the server's directory", format!("ls {data}")),
        attempt(
            "a secret found by its name",
            format!("find / -name {name} -not -path '/proc/*' 2>/dev/null | grep ."),
        ),
        attempt(
            "a secret through the first process's root",
            format!("cat /proc/1/root{secret}"),
        ),
        attempt(
            "a secret through a parent's directory",
            format!("cat /proc/$PPID/cwd/../../../../../..{secret}"),
        ),
        attempt(
            "a secret through the library's parent",
            format!("cat $LIB/../../../../..{secret} || ls $LIB/../secret"),
        ),
        attempt(
            "a secret by an open directory above",
            format!("cd /; cd ../../../..; cat .{secret}"),
        ),
        real("another incident's home", format!("ls {other}")),
        real(
            "another incident's file",
            format!("cat {other}/{other_file}"),
        ),
        attempt(
            "another incident's file found by its name",
            format!("find / -name {other_file} -not -path '/proc/*' 2>/dev/null | grep ."),
        ),
        real("the shadow file", "cat /etc/shadow"),
        real("sudo's rules", "cat /etc/sudoers"),
        attempt("the machine's host keys", "cat /etc/ssh/ssh_host_*_key"),
        real(
            "the machine's name",
            "cat /etc/hostname || cat /etc/machine-id",
        ),
        real(
            "homes of others",
            "ls /root/ || ls /home | grep -v '^agent$'",
        ),
        real("the machine's logs", "ls /var/log/*"),
        real(
            "the machine's running state",
            "ls /run | grep -v '^breakglass$'",
        ),
        attempt("a program of the system", "touch /usr/bin/escaped"),
        attempt("a new file at the top", "touch /escaped"),
        attempt("a file of the system's settings", "touch /etc/escaped"),
        attempt("a library", "ln -s /tmp/x /usr/lib/escaped.so"),
        attempt(
            "what every program loads first",
            "echo /tmp/x.so > /etc/ld.so.preload",
        ),
        attempt("the cache of the loader", "printf x >> /etc/ld.so.cache"),
        attempt("the accounts", "echo 'x::0:0::/:/bin/sh' >> /etc/passwd"),
        attempt(
            "where names are looked up",
            "echo '127.0.0.1 x' >> /etc/hosts",
        ),
        attempt(
            "the shim of ssh",
            "printf x >> /run/breakglass/cell/bin/ssh",
        ),
        attempt(
            "the shim of ssh by another's name",
            "cp /bin/true /run/breakglass/cell/bin/scp",
        ),
        attempt(
            "the shims moved away",
            "mv /run/breakglass/cell/bin /tmp/bin",
        ),
        attempt(
            "ssh's configuration",
            "printf x >> /run/breakglass/cell/ssh_config",
        ),
        attempt(
            "the bastion's key",
            "printf x >> /run/breakglass/cell/known_hosts",
        ),
        attempt("the program itself", "printf x >> /run/breakglass/program"),
        attempt("the program removed", "rm -f /run/breakglass/program"),
        attempt(
            "a file beside the sockets",
            "touch /run/breakglass/sockets/escaped",
        ),
        attempt(
            "another socket in the guest's place",
            "rm -f /run/breakglass/sockets/devvm",
        ),
        attempt(
            "the guest's socket moved away",
            "mv /run/breakglass/sockets/devvm /tmp/devvm",
        ),
        attempt(
            "a runbook",
            "printf x >> $LIB/files.sh || printf x > $LIB/new.md",
        ),
        attempt(
            "a runbook by a hard link",
            "ln $LIB/files.sh ~/linked && printf x >> ~/linked",
        ),
        attempt(
            "a scheduled job",
            "mkdir -p /var/spool/cron && touch /var/spool/cron/root || touch /etc/cron.d/x",
        ),
        attempt(
            "a unit of systemd",
            "mkdir -p /etc/systemd/system && touch /etc/systemd/system/x.service",
        ),
        attempt(
            "a profile of a shell",
            "echo true >> /etc/profile || echo true >> /etc/bash.bashrc",
        ),
        attempt(
            "a device in /dev",
            "touch /dev/escaped || dd if=/dev/zero of=/dev/full.img bs=1M count=1",
        ),
    ]
}

pub(super) fn metadata(prey: &Prey<'_>) -> Vec<Attempt> {
    let log = prey.record();
    let mut all = vec![];
    let victims: [(&Path, [&'static str; 5]); 4] = [
        (
            prey.key,
            [
                "the key seen",
                "the key's mode",
                "the key's time",
                "the key's owner",
                "the key's attributes",
            ],
        ),
        (
            prey.token,
            [
                "the token seen",
                "the token's mode",
                "the token's time",
                "the token's owner",
                "the token's attributes",
            ],
        ),
        (
            &log,
            [
                "the log seen",
                "the log's mode",
                "the log's time",
                "the log's owner",
                "the log's attributes",
            ],
        ),
        (
            prey.program,
            [
                "the server's program seen",
                "the server's program's mode",
                "the server's program's time",
                "the server's program's owner",
                "the server's program's attributes",
            ],
        ),
    ];
    for (victim, names) in victims {
        let path = victim.display();
        let keep = format!("$(stat -c %a {path})");
        let commands = [
            format!("stat {path}"),
            format!("chmod {keep} {path}"),
            format!("touch -r {path} {path}"),
            format!("chown --reference={path} {path}"),
        ];
        all.extend(
            names
                .into_iter()
                .zip(commands)
                .map(|(name, command)| real(name, command)),
        );
        let name = names[4];
        all.push(attempt(
            name,
            call(
                188,
                5,
                &format!("\"{path}\", \"user.escaped\", \"y\", 1, 0"),
            ),
        ));
    }
    let shown = |path: &str| {
        format!(
            "chmod 0777 {path} || touch {path} || chown --reference=/tmp {path} || chattr +i {path}"
        )
    };
    all.extend([
        attempt(
            "the mode of the program inside",
            shown("/run/breakglass/program"),
        ),
        attempt(
            "the mode of the shim",
            shown("/run/breakglass/cell/bin/ssh"),
        ),
        attempt("the mode of the cell", shown("/run/breakglass/cell")),
        attempt("the mode of the library", shown("$LIB")),
        attempt(
            "the mode of a program of the system",
            shown("/usr/bin/perl"),
        ),
        attempt(
            "attributes of the program inside",
            call(
                188,
                5,
                "\"/run/breakglass/program\", \"user.escaped\", \"y\", 1, 0",
            ),
        ),
        attempt(
            "a set-uid program of root's",
            "cp /bin/true ~/suid && chown root ~/suid && chmod 4755 ~/suid",
        ),
        attempt(
            "a file with capabilities",
            "cp /bin/true ~/caps && setcap cap_sys_admin+ep ~/caps",
        ),
    ]);
    all
}
