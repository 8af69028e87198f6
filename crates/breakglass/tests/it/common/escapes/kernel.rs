//! The kernel: system calls, settings, devices and capabilities that a sandbox does not need.

use super::{Attempt, attempt, call, perl, real};

pub(super) fn kernel() -> Vec<Attempt> {
    let mut all = mounts();
    all.extend(calls());
    all.extend(of_this_architecture());
    all.extend(settings());
    all
}

fn mounts() -> Vec<Attempt> {
    vec![
        attempt(
            "mount",
            call(165, 40, "\"none\", \"/tmp\", \"tmpfs\", 0, 0"),
        ),
        attempt(
            "a mount that is moved",
            call(165, 40, "\"/usr\", \"/tmp\", 0, 8192, 0"),
        ),
        attempt(
            "a mount that can be written again",
            call(165, 40, "\"none\", \"/usr\", 0, 4128, 0"),
        ),
        attempt("a tree of mounts", call(428, 428, "-100, \"/\", 1")),
        attempt(
            "a mount that is moved by the newer call",
            call(429, 429, "-100, \"/\", -100, \"/tmp\", 0"),
        ),
        attempt("a file system", call(430, 430, "\"tmpfs\", 0")),
        attempt(
            "attributes of a mount",
            call(442, 442, "-100, \"/\", 0, pack(\"Q4\", 0, 1, 0, 0), 32"),
        ),
        attempt("umount", call(166, 39, "\"/proc\", 2")),
        attempt("pivot_root", call(155, 41, "\"/tmp\", \"/tmp\"")),
        real("chroot", call(161, 51, "\"/tmp\"")),
        attempt("a fuse mount", "ls /dev/fuse"),
    ]
}

fn calls() -> Vec<Attempt> {
    vec![
        real("a user namespace", call(272, 97, "0x10000000")),
        real("a mount namespace", call(272, 97, "0x20000")),
        real("a network namespace", call(272, 97, "0x40000000")),
        real(
            "a namespace by clone",
            perl(&format!(
                "my $p = syscall({}, 0x10000011, 0, 0, 0, 0); exit 1 if $p == 0; $p > 0",
                if cfg!(target_arch = "aarch64") {
                    220
                } else {
                    56
                }
            )),
        ),
        real(
            "a process by clone3",
            perl(
                "my $a = pack(\"Q11\", 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0); my $p = syscall(435, $a, 88); exit 1 if $p == 0; $p > 0",
            ),
        ),
        real("unshare", "unshare -Ur true"),
        attempt("another's namespace", "nsenter -t 1 -m true"),
        attempt(
            "a namespace by its file",
            perl("open(my $f, \"<\", \"/proc/self/ns/user\"); syscall(308, fileno($f), 0) >= 0"),
        ),
        attempt(
            "a trace of the first process",
            call(101, 117, "16, 1, 0, 0"),
        ),
        attempt(
            "a trace of one's parent",
            call(101, 117, "16, getppid(), 0, 0"),
        ),
        real("a trace of oneself", call(101, 117, "0, 0, 0, 0")),
        attempt(
            "memory of the first process",
            call(
                310,
                270,
                "1, pack(\"QQ\", 0, 0), 1, pack(\"QQ\", 4096, 8), 1, 0",
            ),
        ),
        attempt(
            "memory of one's parent",
            call(
                310,
                270,
                "getppid(), pack(\"QQ\", 0, 0), 0, pack(\"QQ\", 4096, 8), 0, 0",
            ),
        ),
        attempt(
            "memory of one's parent written",
            call(
                311,
                271,
                "getppid(), pack(\"QQ\", 0, 0), 0, pack(\"QQ\", 4096, 8), 0, 0",
            ),
        ),
        real(
            "two processes compared",
            call(312, 272, "$$+0, $$+0, 0, 0, 0"),
        ),
        real(
            "a descriptor of a process",
            perl("my $p = syscall(434, $$+0, 0); syscall(438, $p, 0, 0) >= 0"),
        ),
        attempt(
            "advice on a process's memory",
            call(440, 440, "1, 0, 0, 0, 0"),
        ),
        real("the keyring", call(250, 219, "0, -2, 1, 0, 0")),
        real(
            "a key",
            call(248, 217, "\"user\", \"escaped\", \"y\", 1, -2"),
        ),
        attempt("a key asked for", call(249, 218, "\"user\", \"x\", 0, -3")),
        real(
            "bpf",
            call(321, 280, "0, pack(\"L4 x104\", 2, 4, 4, 1), 120"),
        ),
        attempt("userfaultfd", call(323, 282, "0")),
        real(
            "perf",
            call(298, 241, "pack(\"LLQ x104\", 1, 112, 0), 0, -1, -1, 0"),
        ),
        attempt("io_uring", call(425, 425, "1, \"\\0\" x 120")),
        attempt("io_uring entered", call(426, 426, "0, 0, 0, 0, 0, 0")),
        real(
            "a file's handle",
            call(
                303,
                264,
                "-100, \"/\", pack(\"LL x128\", 128, 0), \"\\0\" x 8, 0",
            ),
        ),
        attempt(
            "a file by its handle",
            call(304, 265, "-100, pack(\"LL x128\", 8, 1), 0"),
        ),
        real("every access to files watched", call(300, 262, "0, 0")),
        attempt("quotas", call(179, 60, "0x800001, \"\", 0, \"\\0\" x 64")),
        attempt("a module of the kernel", call(313, 273, "0, \"\", 0")),
        attempt("a module by its bytes", call(175, 105, "\"x\", 1, \"\"")),
        attempt("a module taken out", call(176, 106, "\"x\", 0")),
        attempt("another kernel", call(246, 104, "0, 0, 0, 0")),
        attempt(
            "another kernel by its file",
            call(320, 294, "-1, -1, 0, \"\", 0"),
        ),
        attempt("the clock", call(227, 112, "0, pack(\"qq\", 1, 0)")),
        attempt("the time of day", call(164, 170, "pack(\"qq\", 1, 0), 0")),
        attempt(
            "the host's name",
            "hostname escaped; test \"$(hostname)\" = escaped",
        ),
        attempt(
            "the host's name by its call",
            call(170, 161, "\"escaped\", 7"),
        ),
        attempt("swap", call(167, 224, "\"/tmp\", 0")),
        attempt("swap taken away", call(168, 225, "\"/tmp\"")),
        real(
            "the kernel's messages",
            call(103, 116, "3, \"x\" x 100, 100"),
        ),
        attempt("a reboot", call(169, 142, "0xfee1dead, 672274793, 0, 0")),
        attempt("accounting", call(163, 89, "\"/tmp/x\"")),
        attempt("a terminal hung up", call(153, 58, "0")),
        real("a file in memory", call(319, 279, "\"x\", 0")),
        attempt("secret memory", call(447, 447, "0")),
        real("shared memory of System V", call(29, 194, "0, 4096, 512")),
        real("semaphores of System V", call(64, 190, "0, 1, 512")),
        real("queues of System V", call(68, 186, "0, 512")),
        real(
            "a queue of POSIX",
            call(240, 180, "\"escaped\", 66, 384, 0"),
        ),
        real(
            "a real-time priority",
            call(144, 119, "0, 1, pack(\"i\", 1)"),
        ),
        attempt(
            "a deadline for the scheduler",
            call(
                314,
                274,
                "0, pack(\"LLQlLQQQ\", 48, 6, 0, 0, 0, 1000000, 2000000, 2000000), 0",
            ),
        ),
        attempt("priority of the disk", call(251, 30, "1, 0, 8192")),
        attempt(
            "pages of the first process moved",
            call(279, 239, "1, 0, 0, 0, 0, 0"),
        ),
        real("protections switched off", call(135, 92, "0x40000")),
    ]
}

/// System calls of this architecture only.
fn of_this_architecture() -> Vec<Attempt> {
    match cfg!(target_arch = "x86_64") {
        true => vec![
            attempt("ports of the machine", call(172, 0, "3")),
            attempt("a range of ports of the machine", call(173, 0, "0, 1, 1")),
            attempt(
                "segments of one's own",
                call(154, 0, "1, pack(\"LLLL\", 0, 0, 0, 0), 16"),
            ),
            attempt("a call of the x32 table", call(0x4000_0027, 0, "0")),
            attempt(
                "a trace by the x32 table",
                call(0x4000_0000 + 521, 0, "0, 0, 0, 0"),
            ),
            real("a call of the 32-bit table", "$LIB/int80"),
        ],
        false => vec![],
    }
}

/// A program that asks for its number by the 32-bit table (`int 0x80`), and ends well if it gets an answer.
pub(super) fn old_calls_program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    // mov eax, 20; int 0x80; xor edi, edi; test eax, eax; jg +2; inc edi (2 bytes); mov eax, 60; syscall
    let code = [
        0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0x31, 0xFF, 0x85, 0xC0, 0x7F, 0x02, 0xFF, 0xC7, 0xB8, 60, 0,
        0, 0, 0x0F, 0x05,
    ];
    let size = HEADERS + code.len() as u64;
    let mut all = b"\x7fELF\x02\x01\x01".to_vec();
    all.resize(16, 0);
    for half in [2u16, 62] {
        all.extend(half.to_le_bytes());
    }
    all.extend(1u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        all.extend(word.to_le_bytes());
    }
    all.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        all.extend(half.to_le_bytes());
    }
    for word in [1u32, 5] {
        all.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        all.extend(word.to_le_bytes());
    }
    all.extend(code);
    all
}

fn settings() -> Vec<Attempt> {
    vec![
        attempt(
            "the kernel's settings",
            "echo 1 > /proc/sys/kernel/randomize_va_space",
        ),
        attempt("the magic key", "echo b > /proc/sysrq-trigger"),
        attempt(
            "the core pattern",
            "echo '|/tmp/x' > /proc/sys/kernel/core_pattern",
        ),
        attempt(
            "who is out of memory first",
            "echo -1000 > /proc/self/oom_score_adj",
        ),
        attempt("the map of accounts", "echo '0 0 1' > /proc/self/uid_map"),
        real(
            "keys in /proc",
            "grep -q . /proc/keys || grep -q . /proc/key-users",
        ),
        attempt(
            "physical memory",
            "head -c 1 /proc/kcore || head -c 1 /dev/mem",
        ),
        real(
            "addresses of the kernel",
            "head -c 1 /proc/kallsyms && head -c 1 /proc/iomem",
        ),
        real("the kernel's command line", "grep -q . /proc/cmdline"),
        real("timers of others", "grep -q . /proc/timer_list"),
        real(
            "the disks of the machine",
            "grep -q . /proc/partitions || grep -q . /proc/diskstats",
        ),
        real(
            "devices of the kernel",
            "ls /sys/kernel || ls /sys/class/net",
        ),
        attempt(
            "a device file",
            "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk",
        ),
        attempt("a device file of the kernel's memory", "mknod ~/mem c 1 1"),
        attempt(
            "a disk",
            "ls /dev/sd? /dev/vd? /dev/nvme* /dev/kmsg /dev/mem 2>/dev/null | grep .",
        ),
        attempt(
            "a virtual machine",
            "ls /dev/kvm /dev/vhost-vsock /dev/net/tun",
        ),
        attempt("a control group", "mkdir /sys/fs/cgroup/escaped"),
    ]
}

pub(super) fn privileges() -> Vec<Attempt> {
    vec![
        attempt(
            "characters into a terminal",
            perl(
                "open(my $t, \"+<\", \"/dev/ptmx\") or return 0; my $c = \"x\"; ioctl($t, 0x5412, $c)",
            ),
        ),
        attempt(
            "characters into the terminal of the server",
            perl(
                "open(my $t, \"+<\", \"/dev/tty\") or return 0; my $c = \"x\"; ioctl($t, 0x5412, $c)",
            ),
        ),
        attempt(
            "the selection of a console",
            perl(
                "open(my $t, \"+<\", \"/dev/ptmx\") or return 0; my $c = \"\\x0b\"; ioctl($t, 0x541C, $c)",
            ),
        ),
        attempt(
            "a terminal taken over",
            perl("open(my $t, \"+<\", \"/dev/tty\") or return 0; ioctl($t, 0x540E, 1)"),
        ),
        attempt(
            "a console of the machine",
            "ls /dev/tty[0-9]* /dev/console /dev/vcs* 2>/dev/null | grep -v '^/dev/console$' | grep .",
        ),
        real("root's rights by setuid", perl("$< = $> = 0; $> == 0")),
        attempt("another's group", perl("$( = $) = \"0 0\"; $) eq \"0 0\"")),
        real("sudo", "sudo -n id"),
        real("su", "su -c id root"),
        attempt(
            "a set-uid program",
            "find / -xdev -perm -4000 -type f 2>/dev/null | while read -r p; do timeout 2 \"$p\" -c id root </dev/null 2>/dev/null | grep uid=0; done | grep .",
        ),
        attempt(
            "a loader's library in a set-uid program",
            "LD_PRELOAD=/tmp/x.so LD_AUDIT=/tmp/x.so su -c id root",
        ),
        real(
            "capabilities",
            "grep -E '^Cap(Prm|Eff|Bnd):' /proc/self/status | grep -v 0000000000000000",
        ),
        attempt(
            "new privileges",
            "grep -E '^NoNewPrivs:.*0' /proc/self/status",
        ),
        real(
            "a process without a filter",
            "grep -E '^Seccomp:.*0' /proc/self/status",
        ),
        attempt("the filter taken off", perl("call(157, 22, 0, 0, 0, 0)")),
        attempt(
            "new privileges allowed again",
            perl("call(157, 38, 0, 0, 0, 0)"),
        ),
        attempt("a capability kept", perl("call(157, 47, 2, 21, 0, 0)")),
        attempt("a hard limit raised", "ulimit -Hn 1000000"),
        attempt("more processes", "ulimit -Hu 100000"),
        attempt("a core dump", "ulimit -Hc unlimited"),
        attempt(
            "a core dump of a crash",
            "cd /tmp; ulimit -c unlimited; perl -e 'kill 11, $$'; ls /tmp/core* /var/lib/systemd/coredump",
        ),
    ]
}
