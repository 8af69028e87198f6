//! Commands that read text and write text.

use super::{Call, Reply};
use crate::machine;
use crate::shell::MAX_OUTPUT;

/// The texts that a command is to read: its operands, or what is piped into it.
fn texts(call: &Call<'_>, operands: &[String], reply: &mut Reply) -> Vec<(String, String)> {
    if operands.is_empty() {
        return vec![(String::new(), call.input.to_owned())];
    }
    let mut texts = Vec::new();
    for operand in operands {
        match call.read(operand, MAX_OUTPUT) {
            _ if operand == "-" => texts.push((String::new(), call.input.to_owned())),
            Ok(text) => texts.push((operand.clone(), text)),
            Err(error) => reply.complain(call.complaint(operand, error)),
        }
    }
    texts
}

pub(super) fn cat(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    for (_, text) in texts(call, &call.operands(&[]), &mut reply) {
        reply.out.push_str(&text);
    }
    reply
}

/// How many lines `head` and `tail` are to show.
fn count(call: &Call<'_>) -> usize {
    let short = call
        .args
        .iter()
        .find_map(|word| word.strip_prefix('-')?.parse().ok());
    let long = call
        .value(&["-n", "--lines"])
        .and_then(|word| word.trim_start_matches(['+', '-']).parse().ok());
    short.or(long).unwrap_or(10)
}

pub(super) fn head(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    let count = count(call);
    for (_, text) in texts(call, &call.operands(&["-n", "-c", "--lines"]), &mut reply) {
        reply.out.extend(text.split_inclusive('\n').take(count));
    }
    reply
}

pub(super) fn tail(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    let count = count(call);
    let operands = call.operands(&["-n", "-c", "--lines"]);
    if operands.is_empty() {
        return Reply::out(machine::tail(call.input, count));
    }
    for operand in &operands {
        // A huge log is read from its end, not from its beginning.
        match call.state.guest.disk.file(&call.path(operand), call.user) {
            Ok(content) => reply.out.push_str(&content.last_lines(count, MAX_OUTPUT)),
            Err(error) => reply.complain(call.complaint(operand, error)),
        }
    }
    if call.has('f') || call.has('F') {
        reply.takes = std::time::Duration::MAX;
    }
    reply
}

pub(super) fn echo(call: &mut Call<'_>) -> Reply {
    let (bare, words) = match call.args.split_first() {
        Some((first, rest)) if first == "-n" => (true, rest),
        Some((first, rest)) if first == "-e" => (false, rest),
        _ => (false, call.args),
    };
    Reply::out(format!(
        "{}{}",
        words.join(" "),
        if bare { "" } else { "\n" }
    ))
}

pub(super) fn printf(call: &mut Call<'_>) -> Reply {
    let Some((format, values)) = call.args.split_first() else {
        return Reply::fail(2, "printf: usage: printf format [arguments]");
    };
    let mut text = format.replace("\\n", "\n").replace("\\t", "\t");
    for value in values {
        for mark in ["%s", "%d"] {
            if text.contains(mark) {
                text = text.replacen(mark, value, 1);
                break;
            }
        }
    }
    Reply::out(text)
}

pub(super) fn tee(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::out(call.input);
    for operand in call.operands(&[]) {
        let path = call.path(&operand);
        let append = call.has('a');
        if let Err(error) = call
            .state
            .guest
            .disk
            .write(&path, call.input, append, call.user, call.now)
        {
            reply.complain(call.complaint(&operand, error));
        }
    }
    reply
}

pub(super) fn wc(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    for (name, text) in texts(call, &call.operands(&[]), &mut reply) {
        let counts = [
            ('l', text.matches('\n').count()),
            ('w', text.split_whitespace().count()),
            ('c', text.len()),
        ];
        let all = !counts.iter().any(|(letter, _)| call.has(*letter));
        let shown: Vec<String> = counts
            .iter()
            .filter(|(letter, _)| all || call.has(*letter))
            .map(|(_, n)| n.to_string())
            .collect();
        reply
            .out
            .push_str(format!("{} {name}", shown.join(" ")).trim_end());
        reply.out.push('\n');
    }
    reply
}

pub(super) fn sort(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    let texts = texts(call, &call.operands(&["-k", "-t", "--key"]), &mut reply);
    let mut lines: Vec<&str> = texts.iter().flat_map(|(_, text)| text.lines()).collect();
    let key = call.value(&["-k", "--key"]).and_then(|k| {
        k.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse::<usize>()
            .ok()
    });
    let field = |line: &str| match key {
        Some(key) => line
            .split_whitespace()
            .nth(key.max(1) - 1)
            .unwrap_or_default()
            .to_owned(),
        None => line.trim_start().to_owned(),
    };
    if call.has('n')
        || call.has('h')
        || call.args.iter().any(|w| {
            w.starts_with("-k") && (w.ends_with('n') || w.contains("nr") || w.contains('h'))
        })
    {
        lines.sort_by(|a, b| number(&field(a)).total_cmp(&number(&field(b))));
    } else {
        lines.sort_by_key(|line| field(line));
    }
    if call.has('r') {
        lines.reverse();
    }
    if call.has('u') {
        lines.dedup();
    }
    reply.out = lines.iter().map(|line| format!("{line}\n")).collect();
    reply
}

/// The number at the beginning of `text`, with `K`, `M`, `G` counted.
fn number(text: &str) -> f64 {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let factor = match text[end..].chars().next() {
        Some('K') => 1024.0,
        Some('M') => 1_048_576.0,
        Some('G') => 1_073_741_824.0,
        Some('T') => 1_099_511_627_776.0,
        _ => 1.0,
    };
    text[..end].parse::<f64>().unwrap_or(0.0) * factor
}

pub(super) fn uniq(call: &mut Call<'_>) -> Reply {
    let mut counted: Vec<(usize, &str)> = Vec::new();
    for line in call.input.lines() {
        match counted.last_mut() {
            Some((count, last)) if *last == line => *count += 1,
            _ => counted.push((1, line)),
        }
    }
    let show = |(count, line): &(usize, &str)| {
        if call.has('c') {
            format!("{count:>7} {line}\n")
        } else {
            format!("{line}\n")
        }
    };
    Reply::out(counted.iter().map(show).collect::<String>())
}

pub(super) fn cut(call: &mut Call<'_>) -> Reply {
    let separator = call
        .value(&["-d", "--delimiter"])
        .unwrap_or("\t")
        .to_owned();
    let Some(field) = call
        .value(&["-f", "--fields"])
        .and_then(|word| word.parse::<usize>().ok())
    else {
        return Reply::fail(1, "cut: this drill's guest cuts one field: -f N");
    };
    let pick = |line: &str| {
        format!(
            "{}\n",
            line.split(&separator)
                .nth(field.max(1) - 1)
                .unwrap_or_default()
        )
    };
    Reply::out(call.input.lines().map(pick).collect::<String>())
}

/// Fixed strings, with `|`, `\|`, `^`, `$` and `.*` understood; enough for looking through logs.
pub(super) fn grep(call: &mut Call<'_>) -> Reply {
    let mut operands = call.operands(&["-e", "-A", "-B", "-C", "-m"]);
    let pattern = match call.value(&["-e"]) {
        Some(pattern) => pattern.to_owned(),
        None if operands.is_empty() => {
            return Reply::fail(2, "Usage: grep [OPTION]... PATTERNS [FILE]...");
        }
        None => operands.remove(0),
    };
    let fold = |text: &str| {
        if call.has('i') {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let choices: Vec<String> = fold(&pattern)
        .replace("\\|", "|")
        .split('|')
        .map(str::to_owned)
        .collect();
    let wanted =
        |line: &str| choices.iter().any(|choice| matches(choice, &fold(line))) != call.has('v');
    let mut reply = Reply::default();
    let texts = texts(call, &operands, &mut reply);
    let mut found = 0;
    for (name, text) in &texts {
        let prefix = if texts.len() > 1 && !call.has('h') {
            format!("{name}:")
        } else {
            String::new()
        };
        let lines: Vec<&str> = text.lines().filter(|line| wanted(line)).collect();
        found += lines.len();
        if call.has('c') {
            reply.out.push_str(&format!("{prefix}{}\n", lines.len()));
        } else if !call.has('q') {
            reply
                .out
                .extend(lines.iter().map(|line| format!("{prefix}{line}\n")));
        }
    }
    if reply.code == 0 {
        reply.code = u8::from(found == 0);
    }
    reply
}

fn matches(pattern: &str, line: &str) -> bool {
    let (start, pattern) = pattern
        .strip_prefix('^')
        .map_or((false, pattern), |rest| (true, rest));
    let (end, pattern) = pattern
        .strip_suffix('$')
        .map_or((false, pattern), |rest| (true, rest));
    let mut rest = line;
    let parts: Vec<&str> = pattern.split(".*").collect();
    for (index, part) in parts.iter().enumerate() {
        let part = part.replace('\\', "");
        let Some(at) = rest.find(&part) else {
            return false;
        };
        if start && index == 0 && at != 0 {
            return false;
        }
        rest = &rest[at + part.len()..];
    }
    !end || rest.is_empty() || parts.last().is_some_and(|part| line.ends_with(part))
}
