//! Commands that change something and look as if they did not.

use super::{RULES, why};
use crate::rules::Judgement;

fn refuses(commands: &[&str]) {
    for command in commands {
        assert!(why(command).is_some(), "{command} passes");
    }
}

#[test]
fn options_that_write_run_or_change_do_not_pass_in_any_spelling() {
    refuses(&[
        "sort --output=/tmp/x /etc/passwd",
        "sort --out /tmp/x /etc/passwd",
        "sort -ro/tmp/x /etc/passwd",
        "sort /etc/passwd -o /tmp/x",
        "sort --compress-program=/tmp/x /etc/passwd",
        "sort -T /tmp /etc/passwd",
        "find / -exec rm {} +",
        "find / -name x '-exec' rm '{}' \\;",
        "find / -okdir rm '{}' \\;",
        "find / -fprint /tmp/x",
        "find / -fls /tmp/x",
        "find -files0-from /tmp/x",
        "find / -name -delete",
        "dmesg -C",
        "dmesg -Tc",
        "dmesg --read-clear",
        "dmesg --console-off",
        "dmesg -n 1",
        "journalctl --vacuum-time=1s",
        "journalctl --vac",
        "journalctl --rotate",
        "journalctl --cursor-file=/tmp/x",
        "journalctl --setup-keys",
        "date -s 12:00",
        "date --set=12:00",
        "date 01010000",
        "hostname evil",
        "hostname -b evil",
        "hostnamectl set-hostname evil",
        "ss --kill dst 1.1.1.1",
        "ss -tnK",
        "ss -D /tmp/x",
        "sysctl -w vm.swappiness=1",
        "sysctl 'vm.swappiness=1'",
        "sysctl -p",
        "sysctl --system",
        "lastlog -S -u root",
        "file -C",
        "xxd -r /tmp/a /tmp/b",
        "tree -o /tmp/x",
        "fuser -vmk /srv",
        "swapon -a",
        "mount -a",
        "mount /dev/vda1 /mnt",
        "losetup -d /dev/loop0",
        "ulimit -a -c 0",
        "top -W -b",
        "iptables -F",
        "iptables -L -Z",
        "iptables -S -Z INPUT",
        "iptables-save -f /tmp/x",
        "nft -f /tmp/x",
        "nft list 'ruleset; flush ruleset'",
        "crontab -r",
        "crontab /tmp/x",
        "openssl x509 -out /tmp/x -in /tmp/y",
        "openssl x509 -engine /tmp/x",
        "smartctl -t short /dev/sda",
        "smartctl -s off /dev/sda",
        "sar -o /tmp/x 1 1",
        "pidstat -e rm x",
        "dmidecode --dump-bin /tmp/x",
        "getfacl --restore=/tmp/x",
    ]);
}

#[test]
fn subcommands_that_change_do_not_pass_behind_options_or_prefixes() {
    refuses(&[
        "ip l s eth0 down",
        "ip link set eth0 down",
        "ip addr flush dev eth0",
        "ip -b /tmp/x",
        "ip -ba /tmp/x",
        "ip -4 netns exec x rm y",
        "ip -n x link set lo down",
        "ip -all netns exec rm x",
        "ip route del default",
        "ip monitor",
        "systemctl --no-pager restart nginx",
        "systemctl -n 5 stop nginx",
        "systemctl set-default rescue",
        "systemctl -H evil status",
        "systemctl --root /tmp/x cat x",
        "systemctl status -- ; systemctl stop nginx",
        "loginctl terminate-user root",
        "timedatectl set-time 12:00",
        "docker run x",
        "docker -l ps rm x",
        "docker image rm x",
        "docker system prune",
        "docker exec x ls",
        "docker ps -a; docker rm x",
        "kubectl delete pod x",
        "kubectl -w get delete pod x",
        "kubectl -A get delete pod x",
        "kubectl --kubeconfig /tmp/x get pods",
        "kubectl get pods -o jsonpath-file=/dev/watchdog",
        "kubectl exec x ls",
        "dpkg -i x.deb",
        "dpkg -l -r x",
        "apt install x",
        "apt -o Dpkg::Pre-Invoke::=x list",
        "apt-mark hold x",
        "dmsetup remove x",
        "btrfs subvolume delete /x",
        "chronyc makestep",
        "ufw reset",
        "fail2ban-client set sshd banip 1.1.1.1",
    ]);
}

#[test]
fn programs_that_can_run_a_command_or_write_a_file_have_no_rule() {
    for program in [
        "awk", "sed", "perl", "python3", "xargs", "tee", "dd", "env", "sh", "bash", "less", "more",
        "man", "vi", "ldd", "watch", "git", "curl", "wget", "nc", "ssh", "strace", "gdb", "printf",
        "exec", "eval", "source", ".", "[", "builtin", "nohup", "setsid", "busybox", "tar", "psql",
        "trap", "alias", "export", "set", "unset", "read", "kill", "chroot", "su", "script",
        "time",
    ] {
        let line = format!("{program} -n /etc/hosts");
        assert!(why(&line).is_some(), "{line}");
        assert!(why(&format!("sudo {line}")).is_some(), "sudo {line}");
    }
}

#[test]
fn files_that_do_something_when_they_are_opened_are_not_opened() {
    refuses(&[
        "cat /dev/watchdog",
        "cat //dev/./watchdog",
        "cat '/dev/watchdog'",
        "cat /d\"ev\"/watchdog",
        "cat /etc/../dev/watchdog",
        "cat /???/watchdog",
        "cat /[d]ev/watchdog",
        "cat /*/watchdog",
        "cat /etc/.?/dev/watchdog",
        "cat /proc/self/root/dev/watchdog",
        "cat /proc/1/fd/5",
        "cat /proc/kmsg",
        "cat /proc/k*",
        "cat /proc/*/*/3",
        "cat /sys/kernel/debug/tracing/trace_pipe",
        "cat /sys/k*/tracing/trace_pipe",
        "cat /sys/kernel/t*/trace",
        "cd / && cat dev/watchdog",
        "cd /dev && cat watchdog",
        "cd .. && cat proc/kmsg",
        "grep -r x /",
        "grep -r x /proc",
        "grep -r x ../../sys",
        "grep -e x /dev/watchdog",
        "grep x /etc/hosts -e /dev/watchdog",
        "strings @/dev/watchdog",
        "strings @x",
        "df /dev/watchdog",
        "who /dev/watchdog",
        "sysctl net/../../../dev/watchdog",
        "sysctl net.//.//.//.dev.watchdog",
        "mdadm -D /dev/watchdog",
        "tune2fs -l /dev/disk/../watchdog",
        "smartctl -a /dev/watchdog",
        "openssl x509 -in /dev/watchdog",
        "dpkg-query -W /dev/watchdog",
        "echo /dev/watchdog | wc --files0-from=-",
        "rsync --server --sender -r / dev",
        "rsync --server --sender -r . /dev",
        "rsync --server --sender -rs . /etc",
        "rsync --server --sender --log-file=/tmp/x -r . /etc",
        "rsync --server -r . /etc",
        "rsync --sender -e 'rm x' a:b /tmp",
        "scp -f -S /tmp/x /etc",
        "scp -f /",
        "scp -t /tmp",
    ]);
}

#[test]
fn an_operand_that_a_program_would_write_cannot_look_like_an_option_or_a_pattern() {
    refuses(&[
        "uniq /tmp/a -c",
        "uniq -- /tmp/a -c",
        "uniq /tmp/*",
        "xxd /tmp/a -p",
        "xxd /tmp/?",
        "date /*",
        "swapon --show /swap*",
        "tail -n /etc/*",
        "scp /tmp/a -f",
        "command reboot -v",
        "command -v reboot -v",
    ]);
}

#[test]
fn what_one_shell_reads_otherwise_does_not_pass() {
    refuses(&[
        // POSIX: `echo` in the background, then another command.
        "echo &>/dev/null touch x",
        "echo &> /dev/null touch x",
        "echo x &>/dev/null",
        "echo |& cat",
        "echo >& x",
        "echo >|x",
        "echo <>x",
        "echo &! touch x",
        "echo &| touch x",
        "echo ;& touch x",
        "echo ;; touch x",
        "echo <<x\nx",
        "echo <<<x",
        ">/dev/null",
        ">/dev/null echo",
        "2>/dev/null echo",
        "echo 2>&1x",
        "echo 3>&1",
        "echo 12>/dev/null",
        "echo x2>&1",
        // What is expanded.
        "echo {a,b}",
        "echo =ls",
        "echo ''=ls",
        "echo \"\"=ls",
        "echo %self",
        "echo ''%self",
        "echo ~",
        "echo ~+",
        "echo x=~",
        "echo ^x",
        "echo x^",
        "echo #x",
        "echo x#y",
        "echo !x",
        "echo \"!x\"",
        "echo (touch x)",
        "echo \"$(touch x)\"",
        "echo \"`touch x`\"",
        "echo $x",
        "echo \"$x\"",
        "echo $'x'",
        "echo $\"x\"",
        "echo $((1))",
        "ls /?",
        "ls /[a]",
        "ls /x]",
        "ls /**",
        "ls /**/x",
        "ls /*(e:touch:)",
        "ls /<1-5>",
        "ls /@(a)",
        "ls *",
        "ls \\/*",
        "ls /'a'*",
        // Quotes and backslashes.
        "echo 'a\\'",
        "echo 'a\\\\b'",
        "echo 'a\\'; touch x; echo 'b'",
        "echo 'a''b'",
        "echo ''''",
        "echo \\n",
        "echo \\x41",
        "\\echo",
        "echo \"\\`\"",
        "echo \"\\!\"",
        "echo \\\nx",
        "echo \"\\\nx\"",
        "echo \"a\nb\"",
        "echo \\",
        "echo 'x",
        "echo \"x",
        // Words that are no programs.
        "time echo",
        "! echo",
        "{ echo",
        "if echo",
        "while true",
        "and echo",
        "or echo",
        "not echo",
        "begin; echo",
        "function echo",
        "coproc echo",
        "noglob echo",
        "nocorrect echo",
        "builtin echo",
        "exec echo",
        "eval echo",
        "- echo",
        "[[ x",
        "%1",
        "PATH=/tmp ls",
        "LD_PRELOAD=/tmp/x ls",
        "x+=y ls",
        "x= ls",
        "command ls",
    ]);
}

#[test]
fn a_command_with_a_character_that_cannot_be_seen_does_not_pass() {
    for (first, last) in breakglass_verbs::HIDDEN {
        for c in [first, last] {
            refuses(&[
                &format!("ls{c}"),
                &format!("ls {c}-l"),
                &format!("echo 'a{c}b'"),
                &format!("echo \"a{c}b\""),
                &format!("{c}ls"),
            ]);
        }
    }
    refuses(&[
        "ls\r",
        "ls\r\n",
        "ls\u{b}",
        "ls\u{c}x",
        "ls \u{7f}",
        "echo 'a\u{1b}[2Jb'",
    ]);
    assert_eq!(why("echo 'Größe 漢字'"), None);
}

#[test]
fn a_line_that_is_no_text_or_too_long_is_not_judged() {
    for line in [
        &b"ls \xff"[..],
        b"ls \0",
        b"ls\x1b[2J",
        &[b'a'; 16 * 1024 + 1],
    ] {
        assert!(matches!(RULES.judge(line), Judgement::Changes(_)));
    }
    let long = format!("cat {}", "a".repeat(16 * 1024 - 4));
    assert_eq!(why(&long), None);
}
