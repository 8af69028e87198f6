//! What passes, what does not, and that no writing of it makes a change pass.

mod attacks;
mod cell;
mod files;
mod shells;

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

static RULES: LazyLock<Rules> = LazyLock::new(|| match Rules::built_in() {
    Ok(rules) => rules,
    Err(error) => panic!("{error}"),
});

fn why(command: &str) -> Option<String> {
    match RULES.judge(command.as_bytes()) {
        Judgement::Reads(_) => None,
        Judgement::Changes(why) => Some(why),
    }
}

fn examples() -> Vec<String> {
    let examples = RULES.rules.iter().map(|it| it.example.clone());
    examples.collect()
}

/// `text` so that every shell takes it for one word.
fn quoted(text: &str) -> String {
    let one = |c| match c {
        '\'' | '\\' => format!("'\\{c}'"),
        c => String::from(c),
    };
    format!("'{}'", text.chars().map(one).collect::<String>())
}

#[test]
fn the_built_in_rules_are_proven_by_their_examples() {
    assert!(RULES.rules.len() > 50);
}

#[test]
fn what_a_diagnosis_needs_only_reads() {
    for command in [
        "uptime; free -m; df -h / /var; uname -a",
        "systemctl --failed",
        "systemctl status nginx.service --no-pager -l -n 50",
        "sudo -n journalctl -u nginx --since '10 min ago' --no-pager | tail -n 40",
        "sudo dmesg -T | grep -iE 'oom|error' | tail -20",
        "ps aux --sort=-%mem | head -15",
        "ls -la /var/log 2>/dev/null && cat /etc/os-release || true",
        "timeout 10 find /var/log -type f -size +100M -printf '%s %p\\n' | sort -rn | head",
        "du -xsh /var/* 2>/dev/null | sort -rh | head -n 20",
        "nice -n 19 du -sh /srv >/dev/null 2>&1",
        "cat /proc/meminfo /proc/*/status /sys/class/net/*/operstate",
        "ss -tlnp 2>&1\nip -br a\n\nip route show\n",
        "top -bn1 | head -n 20",
        "docker ps -a && docker logs --tail=50 web 2>&1 | grep -i error",
        "kubectl get pods -A -o wide",
        "cd /var/log && tail -n 50 syslog |\n grep -v CRON",
        "/usr/bin/id; 'id'; \"id\"",
        "grep -c 'a\\.b' /etc/hosts; grep \"a\\.b\" /etc/hosts; echo 'it'\\''s\nall'",
        "grep 'a b' /etc/hosts -i",
        "rsync --server --sender -vlogDtpre.iLsfxCIvu . logs",
        "scp -f -- /var/log/*.log",
        "journalctl -k -b -1 -p err",
        "mount; lsblk -f; findmnt -t ext4; swapon --show",
        "smartctl -a /dev/sda; sudo mdadm -D /dev/md0; cat /proc/mdstat",
    ] {
        assert_eq!(why(command), None, "{command}");
    }
}

#[test]
fn a_judgement_names_the_rule_of_each_program() {
    assert_eq!(
        RULES.judge(b"sudo dmesg -T | tail -3"),
        Judgement::Reads(vec!["dmesg".to_owned(), "head-tail".to_owned()])
    );
}

#[test]
fn the_reason_says_what_is_not_known_to_only_read() {
    for (command, reason) in [
        ("rm -rf /tmp/x", "`rm` has no rule that says it only reads"),
        (
            "find /tmp -delete",
            "`find`: the option `-delete` is not known to only read",
        ),
        ("top", "`top`: it only reads with `-b`"),
        (
            "systemctl restart nginx",
            "`systemctl`: `restart` is not known to only read",
        ),
        ("cat $HOME/x", "`$` is expanded by the shell"),
        (
            "uniq /tmp/a /tmp/b",
            "`uniq`: the operand `/tmp/b` is one more than this rule allows",
        ),
        ("FOO=1 ls", "`FOO=1` sets a variable"),
        ("", "it names no program"),
        ("ls |", "a command is missing at its end"),
    ] {
        assert_eq!(why(command).as_deref(), Some(reason), "{command}");
    }
}

proptest! {
    #[test]
    fn nothing_that_changes_can_be_appended_to_a_command_that_reads(
        command in select(examples()),
        tail in select(vec![
            "; rm -rf /tmp/x", " && rm x", " || rm x", " | sh", "\nrm x", "\n\trm\tx", " > file",
            " >> file", ">file", " 2>file", " 2>&1x", " >/dev/nullx", " < /etc/x", " <<x\nx",
            " <<<x", " $(rm x)", " `rm x`", " \"$(rm x)\"", " \"`rm x`\"", " <(rm x)", " >(rm x)",
            " & rm x", "& rm x", " &", " |& sh", " ;; rm x", " (rm x)", " {rm,x}", " ${x:=y}",
            " $x", " ~", " ~root", " =rm", " *", " ?", " [a]", " #", " 'x", " \"x", " \\", " \\\n",
            "\r", "\0", " \u{9b}", " é", " !x", " ^x", "\u{b}rm x", "; x=y", "; PATH=/tmp ls",
            "; exec rm", "; eval rm", "; . /tmp/x", "; xargs rm", "; env rm", "; sudo -u x rm",
        ]),
    ) {
        let line = format!("{command}{tail}");
        prop_assert!(why(&line).is_some(), "{line}");
    }

    #[test]
    fn nothing_that_changes_can_stand_before_a_command_that_reads(
        command in select(examples()),
        head in select(vec![
            "rm x; ", "rm x\n", "rm x |", "rm x &&", "rm x & ", "x=y ", "! ", "{ ", "( ", "if ",
            "$x ", "env ", "exec ", "eval ", "xargs ", "nohup ", "./", "/tmp/", "> x ", "\u{1}",
            "sudo -s ", "sudo x=y ", "sudo -u root ", "timeout ", "timeout -v x ", "nice -x ",
            "time ", "coproc ", "noglob ", "; ", "| ", "& ",
        ]),
    ) {
        let line = format!("{head}{command}");
        prop_assert!(why(&line).is_some(), "{line}");
    }

    #[test]
    fn words_that_are_quoted_and_split_again_are_the_same(
        list in prop::collection::vec("[^\\p{Cc}\\p{Cf}\\p{Co}\\p{Z}\\p{DI}\\p{NChar}\u{2800}\u{fffc}\u{16fe4}\u{1d159}]{0,12}", 1..6),
    ) {
        let line: Vec<_> = list.iter().map(|word| quoted(word)).collect();
        let commands = words::split(line.join(" ").as_bytes()).map_err(TestCaseError::fail)?;
        let [command] = &commands[..] else {
            return Err(TestCaseError::fail(format!("{commands:?}")));
        };
        let texts: Vec<_> = command.iter().map(|word| word.text.clone()).collect();
        prop_assert_eq!(texts, list);
        prop_assert!(command.iter().all(|word| !word.glob));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = RULES.judge(&bytes);
    }

    #[test]
    fn no_options_and_operands_make_it_panic(
        program in select(RULES.rules.iter().flat_map(|it| it.rule.programs.clone()).collect::<Vec<_>>()),
        rest in "[-=+ a-zA-Z0-9/.*'é]{0,60}",
    ) {
        let _ = RULES.judge(format!("{program} {rest}").as_bytes());
    }
}
