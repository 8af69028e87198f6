use super::{Call, Reply, TABLE};

pub(super) fn whoami(call: &mut Call<'_>) -> Reply {
    Reply::out(format!("{}\n", call.user))
}

pub(super) fn id(call: &mut Call<'_>) -> Reply {
    Reply::out(match (call.has('u'), call.is_root()) {
        (true, true) => "0\n".to_owned(),
        (true, false) => "1000\n".to_owned(),
        (false, true) => "uid=0(root) gid=0(root) groups=0(root)\n".to_owned(),
        (false, false) => {
            let user = call.user;
            format!("uid=1000({user}) gid=1000({user}) groups=1000({user}),4(adm),27(sudo)\n")
        }
    })
}

pub(super) fn hostname(_: &mut Call<'_>) -> Reply {
    Reply::out("devvm\n")
}

pub(super) fn nproc(_: &mut Call<'_>) -> Reply {
    Reply::out("2\n")
}

pub(super) fn pwd(call: &mut Call<'_>) -> Reply {
    Reply::out(format!("{}\n", call.cwd))
}

pub(super) fn uname(call: &mut Call<'_>) -> Reply {
    let release = "6.1.0-28-cloud-amd64";
    Reply::out(if call.has('a') {
        format!(
            "Linux devvm {release} #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22) x86_64 GNU/Linux\n"
        )
    } else if call.has('r') {
        format!("{release}\n")
    } else if call.has('m') {
        "x86_64\n".to_owned()
    } else if call.has('n') {
        "devvm\n".to_owned()
    } else {
        "Linux\n".to_owned()
    })
}

pub(super) fn which(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    for name in call.operands(&[]) {
        if TABLE.iter().any(|(known, _)| *known == name)
            || ["sh", "sudo", "timeout", "xargs"].contains(&name.as_str())
        {
            reply.out.push_str(&format!("/usr/bin/{name}\n"));
        } else {
            reply.code = 1;
        }
    }
    reply
}

/// `test` and `[`: files and strings.
pub(super) fn test(call: &mut Call<'_>) -> Reply {
    let args: Vec<&str> = call
        .args
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "]")
        .collect();
    let (negated, args) = match args.split_first() {
        Some((&"!", rest)) => (true, rest.to_vec()),
        _ => (false, args),
    };
    let node = |path: &str| call.state.guest.disk.get(&call.path(path)).ok();
    let number = |word: &str| word.parse::<i64>().ok();
    let truth = match args.as_slice() {
        ["-e", path] => node(path).is_some(),
        ["-f", path] => node(path).is_some_and(|node| !node.is_dir()),
        ["-d", path] => node(path).is_some_and(crate::machine::Node::is_dir),
        ["-s", path] => node(path).is_some_and(|node| node.size() > 0),
        ["-z", word] => word.is_empty(),
        ["-n", word] | [word] => !word.is_empty(),
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, "-eq", b] => number(a) == number(b),
        [a, "-gt", b] => number(a) > number(b),
        [a, "-lt", b] => number(a) < number(b),
        [] => false,
        _ => return Reply::fail(2, format!("sh: 1: {}: unexpected operator", call.name)),
    };
    Reply {
        code: u8::from(truth == negated),
        ..Reply::default()
    }
}
