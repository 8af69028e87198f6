//! Other processes, and sockets that have a name.

use super::{Attempt, Prey, attempt, call, perl, real};

pub(super) fn processes(prey: &Prey<'_>) -> Vec<Attempt> {
    let (server, neighbour) = (prey.server, prey.neighbour);
    // No limit changes where it works: the soft one alone, to what it is.
    let limits = |of: &str| call(302, 261, &format!("{of}, 7, pack(\"QQ\", 512, 512), 0"));
    let proc = |what: &str| format!("head -c 1 /proc/{server}/{what} | grep -aq .");
    vec![
        attempt("limits of the server", limits(&server.to_string())),
        attempt("limits of a neighbour", limits(&neighbour.to_string())),
        attempt("limits of the first process", limits("1")),
        attempt("limits of one's parent", limits("getppid()")),
        real(
            "the server is there for signals",
            format!("kill -0 {server}"),
        ),
        attempt("the server's end", format!("kill -9 {server}")),
        attempt("the server stopped", format!("kill -STOP {server}")),
        attempt(
            "a signal to the server with a value",
            call(129, 138, &format!("{server}, 10, \"\\0\" x 128")),
        ),
        attempt(
            "a signal by a descriptor",
            perl(&format!("my $p = syscall(434, {server}, 0); $p >= 0")),
        ),
        real(
            "a neighbour is there for signals",
            format!("kill -0 {neighbour}"),
        ),
        attempt("a neighbour's end", format!("kill -9 {neighbour}")),
        attempt(
            "every process of the server's group",
            format!("kill -9 -{server}"),
        ),
        real(
            "processes that are not one's own",
            "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -E '[s]erve --config|[s]leep 4242'",
        ),
        real(
            "the server's status",
            format!("grep -q Name /proc/{server}/status"),
        ),
        real("the server's environment", proc("environ")),
        real("the server's memory map", proc("maps")),
        real(
            "the server's open files",
            format!("ls -l /proc/{server}/fd/ | grep -q socket"),
        ),
        real(
            "the server's root",
            format!("ls /proc/{server}/root/ /proc/{server}/cwd/"),
        ),
        real(
            "a neighbour's environment",
            format!("cat /proc/{neighbour}/environ"),
        ),
        attempt(
            "the server's number in one's own list",
            format!("ls -d /proc/{server}"),
        ),
        attempt(
            "a score of the server for the end of memory",
            format!("echo 1000 > /proc/{server}/oom_score_adj"),
        ),
        attempt("a nicer priority", "renice -n -20 -p $$"),
        attempt(
            "a nicer priority for a neighbour",
            format!("renice -n 19 -p {neighbour}"),
        ),
        attempt(
            "the environment of the first process",
            "tr '\\0' '\\n' < /proc/1/environ",
        ),
        attempt(
            "memory of the first process by its file",
            "head -c 1 /proc/1/mem || head -c 1 /proc/1/maps",
        ),
        attempt(
            "descriptors of the first process",
            "ls -l /proc/1/fd/ | grep -q .",
        ),
        attempt(
            "the handover by its file",
            "for f in $(seq 3 60); do : < /proc/1/fd/$f && exit 0; done 2>/dev/null; echo none; exit 1",
        ),
        attempt(
            "the handover by the newer call",
            perl(
                "my $p = syscall(434, 1, 0); for my $f (3 .. 60) { return 1 if syscall(438, $p, $f, 0) >= 0 } 0",
            ),
        ),
        attempt(
            "a descriptor that was left open",
            "ls -l /proc/self/fd /proc/$PPID/fd | grep -E 'socket:|seqpacket' | grep -v ' [012] ->'",
        ),
        attempt(
            "the first process ended",
            "kill -9 1; kill -SEGV 1; kill -TERM 1; sleep 0.3; test ! -d /proc/1 && echo gone",
        ),
        attempt(
            "the first process stopped",
            "kill -STOP 1; kill -TSTP 1; sleep 0.3; grep -E '^State:.*[Tt] ' /proc/1/status",
        ),
    ]
}

pub(super) fn sockets(prey: &Prey<'_>) -> Vec<Attempt> {
    let (trusting, name) = (prey.trusting.display(), prey.trusting_abstract);
    let data = prey.data.display();
    let connects = |address: &str| perl(&format!("connects(\"{address}\")"));
    vec![
        real("a socket that trusts root", connects(&trusting.to_string())),
        real(
            "an abstract socket that trusts root",
            connects(&format!("\\0{name}")),
        ),
        attempt(
            "a socket that trusts root by a link",
            format!(
                "ln -sf {trusting} ~/linked; {}",
                connects("/home/agent/linked")
            ),
        ),
        attempt("docker's socket", connects("/var/run/docker.sock")),
        attempt(
            "docker's socket by its other name",
            connects("/run/docker.sock"),
        ),
        attempt(
            "containerd's socket",
            connects("/run/containerd/containerd.sock"),
        ),
        attempt("libvirt's socket", connects("/run/libvirt/libvirt-sock")),
        attempt("the system's bus", connects("/run/dbus/system_bus_socket")),
        attempt("systemd's own socket", connects("/run/systemd/private")),
        attempt("the socket of the logs", connects("/dev/log")),
        attempt(
            "sockets below the server's directory",
            format!("find {data} -type s | grep ."),
        ),
        real(
            "sockets of others in the kernel's list",
            format!("grep -E '{trusting}|@{name}' /proc/net/unix"),
        ),
        attempt(
            "an ssh-agent",
            "ls /tmp/ssh-*/* 2>/dev/null | grep . || test -n \"$SSH_AUTH_SOCK\"",
        ),
        attempt(
            "the bastion without ssh's shim",
            "/usr/bin/ssh -F /dev/null -o BatchMode=yes -o ConnectTimeout=3 devvm true",
        ),
        attempt(
            "a machine of another name at the bastion",
            connects("/run/breakglass/sockets/other"),
        ),
        attempt(
            "what listens beside guest and host",
            "ls /run/breakglass/sockets | grep -vE '^(devvm|pve)$'",
        ),
        attempt(
            "the guest's socket taken over",
            perl(
                "unlink \"/run/breakglass/sockets/devvm\"; IO::Socket::UNIX->new(Local => \"/run/breakglass/sockets/devvm\", Listen => 1)",
            ),
        ),
        attempt(
            "the model's port taken over",
            perl(
                "IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => 3128, Listen => 1, ReuseAddr => 1)",
            ),
        ),
        attempt(
            "the model's port shared",
            perl(
                "IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => 3128, Listen => 1, ReusePort => 1)",
            ),
        ),
        attempt(
            "the model's port on every address",
            perl(
                "IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 3128, Listen => 1, ReuseAddr => 1)",
            ),
        ),
        attempt(
            "an abstract socket that others see",
            perl(
                "IO::Socket::UNIX->new(Local => \"\\0escaped\", Listen => 1); open(my $f, \"<\", \"/proc/1/net/unix\") or return 0; grep { /breakglass-test/ } <$f>",
            ),
        ),
    ]
}
