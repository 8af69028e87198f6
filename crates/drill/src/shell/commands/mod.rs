//! The programs of the guest: one table, and `which`, which reads it.

mod call;
mod disk;
mod files;
mod find;
mod journalctl;
mod proc_files;
mod processes;
mod system;
mod systemctl;
mod text;
mod units;

pub(super) use call::Call;
pub(super) use units::seconds;

use super::reply::Reply;

/// A program: its name, its options that take the next argument as their value, its function.
pub(super) struct Program(
    &'static str,
    &'static [&'static str],
    fn(&mut Call<'_>) -> Reply,
);

impl Program {
    pub(super) fn run(&self, mut call: Call<'_>) -> Reply {
        call.parse_operands(self.1);
        (self.2)(&mut call)
    }
}

/// The program called `name`.
pub(super) fn find(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.0 == name)
}

const DF: &[&str] = &["-x", "-t", "-B", "--exclude-type"];
const DU: &[&str] = &["-d", "--max-depth", "--exclude", "-t", "--threshold"];
const GREP: &[&str] = &["-e", "-A", "-B", "-C", "-m"];
const LINES: &[&str] = &["-n", "-c", "--lines"];
const SYSTEMCTL: &[&str] = &["-n", "--lines", "-t", "--type", "--state"];

const LSBLK: &str = "NAME   MAJ:MIN RM  SIZE RO TYPE MOUNTPOINTS\nvda    254:0    0   40G  0 disk \n└─vda1 254:1    0 39.1G  0 part /\n";
const MOUNTS: &str = "\
udev on /dev type devtmpfs (rw,nosuid,relatime,size=2002944k,mode=755)
tmpfs on /run type tmpfs (rw,nosuid,nodev,noexec,relatime,size=401408k,mode=755)
/dev/vda1 on / type ext4 (rw,relatime,errors=remount-ro)
tmpfs on /dev/shm type tmpfs (rw,nosuid,nodev)
";

const PROGRAMS: &[Program] = &[
    Program(":", &[], |_| Reply::default()),
    Program("[", &[], system::test),
    Program("cat", &[], text::cat),
    Program("cut", &["-d", "-f"], text::cut),
    Program("date", &[], system::date),
    Program("df", DF, disk::df),
    Program("dmesg", &[], journalctl::dmesg),
    Program("du", DU, disk::du),
    Program("echo", &[], text::echo),
    Program("false", &[], |_| Reply::code(1)),
    Program("find", &[], find::find),
    Program("free", &[], system::free),
    Program("grep", GREP, text::grep),
    Program("head", LINES, text::head),
    Program("hostname", &[], |_| Reply::out("devvm\n")),
    Program("id", &[], system::id),
    Program("journalctl", &[], journalctl::journalctl),
    Program("kill", &["-s", "--signal"], processes::kill),
    Program("ls", &[], files::ls),
    Program("lsblk", &[], |_| Reply::out(LSBLK)),
    Program("mkdir", &["-m"], files::mkdir),
    Program("mount", &[], |_| Reply::out(MOUNTS)),
    Program("nproc", &[], |_| Reply::out("2\n")),
    Program("pgrep", &["-u"], processes::by_name),
    Program("pkill", &["-u", "-s"], processes::by_name),
    Program("poweroff", &[], systemctl::poweroff),
    Program("printf", &[], text::printf),
    Program("ps", &[], processes::ps),
    Program("pwd", &[], |call| Reply::out(format!("{}\n", call.cwd))),
    Program("reboot", &[], systemctl::reboot),
    Program("rm", &[], files::rm),
    Program("set", &[], |_| Reply::default()),
    Program("sleep", &[], system::sleep),
    Program("sort", &["-k", "-t", "--key"], text::sort),
    Program("sync", &[], |_| Reply::default()),
    Program("systemctl", SYSTEMCTL, systemctl::systemctl),
    Program("tail", LINES, text::tail),
    Program("tee", &[], text::tee),
    Program("test", &[], system::test),
    Program("top", &[], processes::top),
    Program("true", &[], |_| Reply::default()),
    Program("truncate", &["-s", "--size"], files::truncate),
    Program("uname", &[], system::uname),
    Program("uniq", &[], text::uniq),
    Program("uptime", &[], system::uptime),
    Program("wc", &[], text::wc),
    Program("which", &[], which),
    Program("whoami", &[], |call| Reply::out(format!("{}\n", call.user))),
];

fn which(call: &mut Call<'_>) -> Reply {
    let mut missing = false;
    let reply = call.each(|_, name| {
        if find(name).is_some() || ["sh", "sudo", "timeout", "xargs"].contains(&name) {
            return Ok(format!("/usr/bin/{name}\n"));
        }
        missing = true;
        Ok(String::new())
    });
    reply.with_code(missing)
}
