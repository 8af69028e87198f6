//! Lines that look like commands and contain constructs that shells parse differently.

/// The programs in [`line`]: every shell allows functions of these names, and a rule allows each as
/// read-only, most of them with any words.
pub const PROGRAMS: [&str; 10] = [
    "echo", "grep", "ls", "sort", "sudo", "timeout", "nice", "date", "uptime", "wc",
];

const HEADS: &[&str] = &[
    "echo ",
    "echo ",
    "echo ",
    "echo ",
    "ls ",
    "grep ",
    "sort ",
    "uptime",
    "date ",
    "wc ",
    "sudo echo ",
    "sudo -n ls ",
    "timeout 5 echo ",
    "nice -n 3 echo ",
    "'echo' ",
    "\"echo\" ",
];

/// Constructs that every shell parses alike.
const WORDS: &[&str] = &[
    "x",
    "/x",
    "-x",
    "--x=y",
    "a.b",
    "a,b",
    "x:y",
    "@x",
    "+%F",
    "x_1",
    "1",
    "22",
    "'a b'",
    "\"a b\"",
    "''",
    "\"\"",
    "'x'\\''y'",
    "\\(",
    "\\;",
    "\\*",
    "\"it's\"",
    "'\"'",
    "a'b'\"c\"",
    "'$x'",
    "\"\\$x\"",
    "'a;b'",
    "\"a|b\"",
    "'#x'",
    "\"a & b\"",
    "'!x'",
    "'é'",
    "'a\nb'",
];

const JOINTS: &[&str] = &[
    " | ", "|", " && ", "&&", " || ", "||", "; ", ";", "\n", " |\n", " &&\n\n", " ;\n",
];

const REDIRECTIONS: &[&str] = &[
    " 2>&1",
    " >&2",
    " 1>&2",
    " 2>/dev/null",
    " 2> /dev/null",
    " >/dev/null",
    " > /dev/null",
    " </dev/null",
];

/// Words that some shell expands or interprets.
const NASTY: &[&str] = &[
    "&>f",
    "&>/dev/null",
    "&> f",
    "|& ",
    "|&",
    ">& f",
    ">&f",
    "<>f",
    ">|f",
    "&!",
    "&|",
    ";&",
    ";;",
    ";|",
    "<<x",
    "<<<x",
    "<<-x\nx\n",
    "{a,b}",
    "{1..3}",
    "{ ",
    "}",
    "=ls",
    "=",
    "''=ls",
    "\"\"=ls",
    "~",
    "~+",
    "~-",
    "~root",
    "^",
    "^f",
    "^a^b",
    "#",
    " #x",
    "x#y",
    "!",
    "!!",
    "!x",
    "(",
    ")",
    "(ls)",
    "()",
    "%self",
    "%1",
    "%",
    "''%self",
    "[[",
    "]]",
    "[a]",
    "[!a]",
    "?",
    "*",
    "**",
    "/zz/*",
    "/zz*",
    "/zz**",
    "/z?",
    "/[z]",
    "*(e:ls:)",
    "/zz*(N)",
    "@(a)",
    "+(a)",
    "$x",
    "${x}",
    "$(ls)",
    "`ls`",
    "$'x'",
    "$\"x\"",
    "$((1))",
    "\\\n",
    "\\",
    "'",
    "\"",
    "'\\''",
    "'\\\\'",
    "'a\\'",
    "'a\\nb'",
    "\"\\`\"",
    "\"\\!\"",
    "\"\\x\"",
    "\"\\\\\"",
    "\"\\\n\"",
    "\"!x\"",
    "\"$x\"",
    "\"a\nb\"",
    "'a''b'",
    "''''",
    "\\n",
    "\\x41",
    "\\t",
    "\\a",
    "\\ ",
    "\\'",
    "\\\"",
    "\\$",
    "\\`",
    "\\!",
    "\\#",
    "\\~",
    "\\=",
    "\\%",
    "\\^",
    "\\{",
    "\\,",
    "2>f",
    "> f",
    ">>f",
    "2>&1f",
    "2>&-",
    ">&1 f",
    "3>&1",
    "12>&1",
    "x2>&1",
    "1 >f",
    "\r",
    "\u{b}",
    "\u{c}",
    "\u{a0}",
    "\u{200b}",
    "é",
    "\u{3000}",
    "& ",
    "&",
    "<(ls)",
    ">(ls)",
    "<1-5>",
];

/// Words that are commands to some shell, or change how the next word is read.
const KEYWORDS: &[&str] = &[
    "time ",
    "! ",
    "{ ",
    "if ",
    "then ",
    "while ",
    "until ",
    "for x in ",
    "case ",
    "function ",
    "coproc ",
    "noglob ",
    "nocorrect ",
    "command ",
    "builtin ",
    "exec ",
    "eval ",
    "- ",
    "and ",
    "or ",
    "not ",
    "begin; ",
    "end; ",
    "set x ",
    "x=y ",
    "x= ",
    "PATH=x ",
    "x+=y ",
    "x[1]=y ",
    "repeat 2 ",
    "[[ ",
    "select ",
];

/// Single characters to be inserted into a line.
const SPOILT: &[&str] = &[
    " ", "'", "\"", "\\", "|", "&", ";", "<", ">", "(", ")", "{", "}", "[", "]", "*", "?", "~",
    "#", "!", "^", "$", "`", "=", "%", "\n", "\t", "x", "1", "-", "/", ",",
];

/// A line made from choices of `next`: plain, with an occasional special construct.
pub fn line(next: &mut dyn FnMut() -> u8) -> String {
    let mut line = String::new();
    let commands = 1 + next() % 4;
    for at in 0..commands {
        if at > 0 {
            line.push_str(one_of(JOINTS, next));
        }
        command(&mut line, next);
    }
    if next() < 128 {
        spoil(&mut line, next);
    }
    line
}

fn command(line: &mut String, next: &mut dyn FnMut() -> u8) {
    if next() < 12 {
        line.push_str(one_of(KEYWORDS, next));
    }
    line.push_str(one_of(HEADS, next));
    for _ in 0..next() % 5 {
        let nasty = next() < 80;
        line.push_str(one_of(if nasty { NASTY } else { WORDS }, next));
        if next() >= 40 {
            line.push(' ');
        }
    }
    if next() < 64 {
        line.push_str(one_of(REDIRECTIONS, next));
    }
}

/// Removes a character, or inserts one.
fn spoil(line: &mut String, next: &mut dyn FnMut() -> u8) {
    let far = usize::from(next()) % (line.len() + 1);
    let at = line.floor_char_boundary(far);
    if next() < 128 && at < line.len() {
        line.remove(at);
    } else {
        line.insert_str(at, one_of(SPOILT, next));
    }
}

fn one_of(list: &[&'static str], next: &mut dyn FnMut() -> u8) -> &'static str {
    list[usize::from(next()) % list.len()]
}
