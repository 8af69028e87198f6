//! Programs that read text and write text.

use super::call::Call;
use crate::machine;
use crate::shell::reply::Reply;

pub(super) fn cat(call: &mut Call<'_>) -> Reply {
    call.each_text(|_, text| text.to_owned())
}

/// The number of lines that `head` and `tail` show.
fn line_count(call: &Call<'_>) -> usize {
    let dashed = |word: &String| word.strip_prefix('-')?.parse().ok();
    let short = call.args.iter().find_map(dashed);
    let long = call.value(&["-n", "--lines"]);
    let long = long.and_then(|word| word.trim_start_matches(['+', '-']).parse().ok());
    short.or(long).unwrap_or(10)
}

pub(super) fn head(call: &mut Call<'_>) -> Reply {
    let count = line_count(call);
    call.each_text(|_, text| text.split_inclusive('\n').take(count).collect())
}

pub(super) fn tail(call: &mut Call<'_>) -> Reply {
    let count = line_count(call);
    let follows = !call.operands.is_empty() && (call.has('f') || call.has('F'));
    let reply = call.each_text(|_, text| machine::tail(text, count));
    reply.endless_if(follows)
}

pub(super) fn echo(call: &mut Call<'_>) -> Reply {
    match call.args {
        [first, rest @ ..] if first == "-n" => Reply::out(rest.join(" ")),
        [first, rest @ ..] if first == "-e" => Reply::out(rest.join(" ") + "\n"),
        words => Reply::out(words.join(" ") + "\n"),
    }
}

pub(super) fn printf(call: &mut Call<'_>) -> Reply {
    let Some((format, values)) = call.args.split_first() else {
        return Reply::fail(2, "printf: usage: printf format [arguments]");
    };
    let mut text = format.replace("\\n", "\n").replace("\\t", "\t");
    for value in values {
        let directive = if text.contains("%s") { "%s" } else { "%d" };
        text = text.replacen(directive, value, 1);
    }
    Reply::out(text)
}

pub(super) fn tee(call: &mut Call<'_>) -> Reply {
    let append = call.has('a');
    let mut reply = call.each(|call, operand| {
        let path = call.path(operand);
        let disk = &mut call.state.guest.disk;
        disk.write(&path, call.input, append, call.user, call.now)
            .map(|()| String::new())
            .map_err(|error| call.complaint(operand, error))
    });
    call.input.clone_into(&mut reply.out);
    reply
}

pub(super) fn wc(call: &mut Call<'_>) -> Reply {
    let shown = ['l', 'w', 'c'].map(|letter| call.has(letter));
    let all = shown == [false; 3];
    call.each_text(|name, text| {
        let (lines, words) = (text.matches('\n'), text.split_whitespace());
        let counts = [lines.count(), words.count(), text.len()];
        let shown = counts.iter().zip(shown).filter(|(_, shown)| *shown || all);
        let row: String = shown.map(|(count, _)| format!("{count} ")).collect();
        format!("{}\n", (row + name).trim_end())
    })
}

pub(super) fn sort(call: &mut Call<'_>) -> Reply {
    let mut text = String::new();
    let mut reply = call.each_text(|_, part| {
        text.push_str(part);
        String::new()
    });
    let key = call.value(&["-k", "--key"]).unwrap_or_default();
    let is_numeric = key.contains(['n', 'h']) || call.has('n') || call.has('h');
    let column = key.trim_end_matches(|c: char| !c.is_ascii_digit()).parse();
    let field = |line: &&str| match column {
        Ok(column) => nth(line.split_whitespace(), column),
        Err(_) => line.trim_start().to_owned(),
    };
    let mut sorted: Vec<&str> = text.lines().collect();
    if is_numeric {
        sorted.sort_by(|a, b| number(&field(a)).total_cmp(&number(&field(b))));
    } else {
        sorted.sort_by_key(field);
    }
    if call.has('r') {
        sorted.reverse();
    }
    if call.has('u') {
        sorted.dedup();
    }
    reply.out = sorted.iter().map(|line| format!("{line}\n")).collect();
    reply
}

/// The item `number` of `items`, counted from 1.
fn nth<'a>(mut items: impl Iterator<Item = &'a str>, number: usize) -> String {
    let item = items.nth(number.max(1) - 1);
    item.unwrap_or_default().to_owned()
}

/// The number at the beginning of `text`, with the suffixes `K`, `M`, `G` and `T`.
fn number(text: &str) -> f64 {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let power = unit.chars().next().and_then(|unit| " KMGT".find(unit));
    let factor = 1024_f64.powi(power.and_then(|power| power.try_into().ok()).unwrap_or(0));
    digits.parse::<f64>().unwrap_or(0.0) * factor
}

pub(super) fn uniq(call: &mut Call<'_>) -> Reply {
    let with_counts = call.has('c');
    call.each_text(|_, text| {
        let lines: Vec<&str> = text.lines().collect();
        let groups = lines.chunk_by(|a, b| a == b);
        let count = |group: &[&str]| match group.len() {
            count if with_counts => format!("{count:>7} "),
            _ => String::new(),
        };
        let row = |group: &[&str]| format!("{}{}\n", count(group), group[0]);
        groups.map(row).collect()
    })
}

pub(super) fn cut(call: &mut Call<'_>) -> Reply {
    let separator = call
        .value(&["-d", "--delimiter"])
        .unwrap_or("\t")
        .to_owned();
    let Some(field) = call.number(&["-f", "--fields"]) else {
        return Reply::fail(1, "cut: the drill's guest supports one field only: -f N");
    };
    call.each_text(|_, text| {
        let fields = text.lines().map(|line| nth(line.split(&separator), field));
        fields.map(|field| field + "\n").collect()
    })
}

/// Supports `|`, `\|`, `^`, `$` and `.*` in the pattern; all else is literal.
pub(super) fn grep(call: &mut Call<'_>) -> Reply {
    let pattern = match call.value(&["-e"]) {
        Some(pattern) => pattern.to_owned(),
        None if call.operands.is_empty() => {
            return Reply::fail(2, "Usage: grep [OPTION]... PATTERNS [FILE]...");
        }
        None => call.operands.remove(0),
    };
    let [ignore_case, invert, counts, quiet] = ['i', 'v', 'c', 'q'].map(|letter| call.has(letter));
    let fold = |text: &str| {
        if ignore_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let pattern = fold(&pattern).replace("\\|", "|");
    let is_match = |line: &&str| {
        let line = fold(line);
        pattern.split('|').any(|choice| matches(choice, &line)) != invert
    };
    let with_names = call.operands.len() > 1 && !call.has('h');
    let mut total = 0;
    let reply = call.each_text(|name, text| {
        let prefix = if with_names {
            format!("{name}:")
        } else {
            String::new()
        };
        let found: Vec<&str> = text.lines().filter(is_match).collect();
        total += found.len();
        match (counts, quiet) {
            (true, _) => format!("{prefix}{}\n", found.len()),
            (_, true) => String::new(),
            _ => found
                .iter()
                .map(|line| format!("{prefix}{line}\n"))
                .collect(),
        }
    });
    if reply.code == 0 {
        reply.with_code(total == 0)
    } else {
        reply
    }
}

fn matches(pattern: &str, line: &str) -> bool {
    let (start, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (end, pattern) = match pattern.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let pattern = pattern.replace('\\', "");
    let mut rest = line;
    for (index, part) in pattern.split(".*").enumerate() {
        match rest.find(part) {
            Some(at) if !start || index > 0 || at == 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    let last = pattern.rsplit(".*").next().unwrap_or_default();
    !end || line.ends_with(last)
}
