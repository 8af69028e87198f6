//! What an attacker would try from inside the agent's sandbox, besides what [`super::attempts`] has. Each
//! prints REACHED if it got somewhere; a perl one prints the kernel's word if it did not.

#![allow(unreachable_pub, reason = "a module of a test")]

use std::path::Path;

/// What an attacker might know about the machine at the worst.
pub struct Prey<'a> {
    /// The server's process.
    pub server: u32,
    /// A process of the same account that is nothing of the agent's.
    pub neighbour: u32,
    /// The server's directory, and a file beside it that only its account reads.
    pub data: &'a Path,
    pub secret: &'a Path,
    /// A unix socket whose server trusts every client that is root, as docker's and libvirt's do.
    pub trusting: &'a Path,
    /// The same under an abstract name.
    pub trusting_abstract: &'a str,
    /// Ports of the server itself, and of another service, on 127.0.0.1.
    pub api: u16,
    pub service: u16,
    /// An address of the machine's that is not loopback.
    pub address: &'a str,
    /// Where the model's API is listed: host and port.
    pub model: &'a str,
    /// A directory in which another incident's sockets are.
    pub sockets: &'a Path,
}

/// Numbers of system calls: on this architecture, and on the other one that is supported.
const fn call(x86_64: u32, aarch64: u32) -> u32 {
    if cfg!(target_arch = "aarch64") {
        aarch64
    } else {
        x86_64
    }
}

/// Name and command of each attempt.
pub fn escapes(prey: &Prey<'_>) -> Vec<(&'static str, String)> {
    let mut all = files(prey);
    all.extend(kernel());
    all.extend(processes(prey));
    all.extend(sockets(prey));
    all.extend(network(prey));
    all.extend(model(prey));
    all
}

fn works(command: &str) -> String {
    format!("({command}) >/dev/null 2>&1 && printf 'REA%s\\n' CHED; true")
}

/// A system call that must not succeed.
fn perl(number: u32, arguments: &str) -> String {
    works(&format!(
        "perl -e 'exit(syscall({number}, {arguments}) >= 0 ? 0 : 1)'"
    ))
}

fn files(prey: &Prey<'_>) -> Vec<(&'static str, String)> {
    let (data, secret) = (prey.data.display(), prey.secret.display());
    let name = prey.secret.file_name().unwrap().to_string_lossy().into_owned();
    vec![
        ("a secret beside the server's directory", works(&format!("cat {secret}"))),
        ("its metadata", works(&format!("stat {secret}"))),
        ("the names in the server's directory", works(&format!("ls {data}/record.db"))),
        ("a secret found by its name", works(&format!("find / -name {name} -not -path '/proc/*' | grep -q ."))),
        ("a secret through the first process's root", works(&format!("cat /proc/1/root{secret}"))),
        ("a secret through one's parent's directory", works(&format!("cat /proc/$PPID/cwd/../../..{secret}"))),
        ("the mode of a secret", works(&format!("chmod 0644 {secret}"))),
        ("the shadow file", works("cat /etc/shadow")),
        ("sudo's rules", works("cat /etc/sudoers")),
        ("the machine's host keys", works("cat /etc/ssh/ssh_host_ed25519_key")),
        ("keys of root", works("ls /root/.ssh/")),
        ("the machine's log", works("ls /var/log/syslog /var/log/auth.log /var/log/journal")),
        ("homes of others", works("ls /root/ || ls /home | grep -v '^agent$'")),
        ("a program of the system", works("touch /usr/bin/escaped")),
        ("a new file at the top", works("touch /escaped")),
        ("a library", works("ln -s /tmp/x /usr/lib/escaped.so")),
        ("the accounts", works("echo 'x::0:0::/:/bin/sh' >> /etc/passwd")),
        ("the shim of ssh", works("printf x >> /run/breakglass/cell/bin/ssh")),
        ("the shim of ssh by its rename", works("mv /run/breakglass/cell/bin /tmp/bin")),
        ("the bastion's key", works("printf x >> /run/breakglass/cell/known_hosts")),
        ("the program itself", works("printf x >> /run/breakglass/program")),
        ("a scheduled job", works("mkdir -p /var/spool/cron && touch /var/spool/cron/root || touch /etc/cron.d/x")),
        ("a unit of systemd", works("mkdir -p /etc/systemd/system && touch /etc/systemd/system/x.service")),
        ("a set-uid program", works("find / -xdev -perm -4000 -type f -exec sh -c '\"$1\" -c id root </dev/null | grep -q uid=0' x {} \\; -print | grep -q .")),
    ]
}

fn kernel() -> Vec<(&'static str, String)> {
    vec![
        ("mount", perl(call(165, 40), "\"none\", \"/tmp\", \"tmpfs\", 0, 0")),
        ("a mount by the newer call", perl(call(428, 428), "-100, \"/\", 1")),
        ("umount", perl(call(166, 39), "\"/proc\", 2")),
        ("pivot_root", perl(call(155, 41), "\"/tmp\", \"/tmp\"")),
        ("chroot", perl(call(161, 51), "\"/tmp\"")),
        ("a new user namespace", perl(call(272, 97), "0x10000000")),
        ("a new mount namespace", perl(call(272, 97), "0x20000")),
        ("a new namespace by clone", works("perl -e '$p = syscall(CLONE, 0x10000011, 0, 0, 0, 0); exit 0 if $p > 0; exit 1'".replace("CLONE", &call(56, 220).to_string()).as_str())),
        ("unshare", works("unshare -Ur true")),
        ("another's namespace", works("nsenter -t 1 -m true")),
        ("a trace of the first process", perl(call(101, 117), "16, 1, 0, 0")),
        ("a trace of oneself", perl(call(101, 117), "0, 0, 0, 0")),
        ("the keyring", perl(call(250, 219), "0, -3, 1, 0, 0")),
        ("a key", perl(call(248, 217), "\"user\", \"x\", \"y\", 1, -3")),
        ("bpf", perl(call(321, 280), "0, \"x\" x 120, 120")),
        ("userfaultfd", perl(call(323, 282), "0")),
        ("perf", perl(call(298, 241), "\"x\" x 120, 0, -1, -1, 0")),
        ("io_uring", perl(call(425, 425), "1, \"\\0\" x 120")),
        ("a file by its handle", perl(call(304, 265), "-100, \"\\0\" x 64, 0")),
        ("a module of the kernel", perl(call(313, 273), "0, \"\", 0")),
        ("another kernel", perl(call(320, 294), "0, 0, 0, 0, 0")),
        ("the clock", perl(call(227, 112), "0, pack(\"qq\", 1, 0)")),
        ("the host's name", works("hostname escaped")),
        ("swap", perl(call(168, 225), "\"/tmp\"")),
        ("the kernel's messages", perl(call(103, 116), "3, \"x\" x 100, 100")),
        ("a reboot", perl(call(169, 142), "0xfee1dead, 672274793, 0, 0")),
        ("accounting", perl(call(163, 89), "\"/tmp/x\"")),
        ("ports of the machine", works("perl -e 'exit(syscall(172, 3) == 0 ? 0 : 1)'")),
        ("protections switched off", works("setarch -R true")),
        ("the 32-bit table of calls", works("perl -e 'exit(syscall(0x40000000 + 101, 0, 0, 0, 0) == 0 ? 0 : 1)'")),
        ("the kernel's settings", works("echo 1 > /proc/sys/kernel/randomize_va_space")),
        ("the magic key", works("echo b > /proc/sysrq-trigger")),
        ("the core pattern", works("echo '|/tmp/x' > /proc/sys/kernel/core_pattern")),
        ("devices of the kernel", works("ls /sys/kernel /sys/class/net")),
        ("a device file", works("mknod /tmp/disk b 8 0")),
        ("a disk", works("ls /dev/sda /dev/vda /dev/nvme0n1 /dev/mem /dev/kmsg")),
        ("a fuse mount", works("ls /dev/fuse")),
        ("a control group", works("mkdir /sys/fs/cgroup/escaped")),
        ("characters into a terminal", works("perl -e 'open(T, \"</dev/ptmx\"); exit(ioctl(T, 0x5412, \"x\") ? 0 : 1)'")),
        ("privileges by setuid", works("perl -e '$< = $> = 0; exit($> == 0 && open(F, \">/etc/escaped\") ? 0 : 1)'")),
        ("capabilities", works("grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):' /proc/self/status | grep -v 0000000000000000")),
        ("new privileges", works("grep -E '^NoNewPrivs:.*0' /proc/self/status")),
        ("a process without a filter", works("grep -E '^Seccomp:.*0' /proc/self/status")),
    ]
}

fn processes(prey: &Prey<'_>) -> Vec<(&'static str, String)> {
    let (server, neighbour) = (prey.server, prey.neighbour);
    let limits = "pack(\"QQ\", 1, 1), 0";
    vec![
        ("limits of the server", perl(call(302, 261), &format!("{server}, 7, {limits}"))),
        ("limits of a neighbour", perl(call(302, 261), &format!("{neighbour}, 7, {limits}"))),
        ("limits of the first process inside", perl(call(302, 261), &format!("1, 7, {limits}"))),
        ("the server's end", works(&format!("kill -0 {server} && grep -aq breakglass /proc/{server}/cmdline && kill -9 {server}"))),
        ("a neighbour's end", works(&format!("grep -aq neighbour /proc/{neighbour}/cmdline && kill -9 {neighbour}"))),
        ("processes that are not one's own", works("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -E 'serve|sshd|neighbour'")),
        ("the server's environment", works(&format!("grep -az BREAKGLASS /proc/{server}/environ"))),
        ("a neighbour's environment", works(&format!("cat /proc/{neighbour}/environ"))),
        ("a descriptor of the first process", works("ls -l /proc/1/fd | grep -q socket")),
        ("a descriptor by the newer call", perl(call(438, 438), "3, 0, 0")),
        ("memory of the first program", works("for p in /proc/[0-9]*; do grep -aq cell-init $p/cmdline && head -c 1 $p/mem; done; false")),
        ("the handover's descriptor", works("for p in /proc/[0-9]*; do grep -aq cell-init $p/cmdline && ls -l $p/fd/ | grep socket; done | grep -q socket")),
        ("a nicer priority", works("renice -n -20 -p $$")),
        ("a real-time priority", works("chrt -f 1 true")),
        ("a higher limit of files", works("ulimit -Hn 1000000")),
        ("a core dump", works("ulimit -Hc unlimited")),
        ("a file of any size", works("truncate -s 100G /tmp/big || truncate -s 100G ~/big")),
        ("memory past the limit of shared memory", works("dd if=/dev/zero of=/dev/shm/x bs=1M count=128")),
        ("a full temporary directory", works("dd if=/dev/zero of=/tmp/x bs=1M count=1024; r=$?; rm -f /tmp/x; exit $r")),
    ]
}

fn sockets(prey: &Prey<'_>) -> Vec<(&'static str, String)> {
    let (trusting, name) = (prey.trusting.display(), prey.trusting_abstract);
    let sockets = prey.sockets.display();
    let connect = |address: &str| {
        works(&format!(
            "perl -e 'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) or exit 1; \
             exit(connect(S, pack_sockaddr_un({address})) ? 0 : 1)'"
        ))
    };
    vec![
        ("a socket that trusts root", connect(&format!("\"{trusting}\""))),
        ("an abstract socket that trusts root", connect(&format!("\"\\0{name}\""))),
        ("docker's socket", works("ls /var/run/docker.sock /run/docker.sock")),
        ("libvirt's socket", works("ls /run/libvirt/libvirt-sock /var/run/libvirt")),
        ("the system's bus", works("ls /run/dbus/system_bus_socket /run/systemd/private")),
        ("another incident's sockets", works(&format!("ls {sockets}"))),
        ("another incident's bastion", works(&format!("for s in {sockets}/*/*; do BREAKGLASS_BASTION=$(dirname $s) ssh devvm true && exit 0; done; exit 1"))),
        ("sockets of others in the kernel's list", works("grep -vE '^Num|/run/breakglass/ways|@$| [0-9]+$' /proc/net/unix | grep -q /")),
        ("an ssh-agent", works("ls /tmp/ssh-*/* ; test -n \"$SSH_AUTH_SOCK\"")),
    ]
}

fn network(prey: &Prey<'_>) -> Vec<(&'static str, String)> {
    let (api, service, address) = (prey.api, prey.service, prey.address);
    let tcp = |host: &str, port: u16| works(&format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{host}/{port}'"));
    let packet = |family: &str, kind: &str, protocol: &str| {
        works(&format!("perl -e 'use Socket; exit(socket(S, {family}, {kind}, {protocol}) ? 0 : 1)'"))
    };
    vec![
        ("the server on loopback", tcp("127.0.0.1", api)),
        ("the server on its other address", tcp(address, api)),
        ("the server by IPv6", tcp("::1", api)),
        ("the server by a mapped address", tcp("::ffff:127.0.0.1", api)),
        ("a service on loopback", tcp("127.0.0.1", service)),
        ("a service by all addresses", tcp("0.0.0.0", service)),
        ("metadata of a cloud", tcp("169.254.169.254", 80)),
        ("metadata of a cloud by IPv6", tcp("fd00:ec2::254", 80)),
        ("an address of the world", tcp("192.0.2.1", 443)),
        ("a name server", works("timeout 5 perl -e 'use Socket; socket(S, AF_INET, SOCK_DGRAM, 0); exit(send(S, \"x\", 0, pack_sockaddr_in(53, inet_aton(\"192.0.2.53\"))) ? 0 : 1)'")),
        ("a name", works("timeout 10 getent ahosts example.com")),
        ("an interface beside lo", works("tail -n +3 /proc/net/dev | grep -v '^ *lo:'")),
        ("a route", works("tail -n +2 /proc/net/route | grep -q .")),
        ("ICMP", works("ping -c 1 -W 1 127.0.0.1")),
        ("ICMP without a raw socket", packet("AF_INET", "SOCK_DGRAM", "1") ),
        ("raw IP", packet("AF_INET", "SOCK_RAW", "255")),
        ("raw packets", packet("17", "SOCK_RAW", "768")),
        ("netlink", packet("16", "SOCK_RAW", "0")),
        ("a virtual socket of the hypervisor", packet("40", "SOCK_STREAM", "0")),
        ("the kernel's crypto sockets", packet("38", "SOCK_SEQPACKET", "0")),
        ("bluetooth", packet("31", "SOCK_RAW", "1")),
    ]
}

/// Ways out over the one that leads to the model.
fn model(prey: &Prey<'_>) -> Vec<(&'static str, String)> {
    let (api, service, model) = (prey.api, prey.service, prey.model);
    let ask = |request: &str| {
        works(&format!(
            "timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128; printf \"{request}\" >&3; \
             head -n 1 <&3 | grep -E \" (200|30.|404|405) \"'"
        ))
    };
    vec![
        ("the proxy to the server", ask(&format!("CONNECT 127.0.0.1:{api} HTTP/1.1\\r\\n\\r\\n"))),
        ("the proxy to a service", ask(&format!("CONNECT localhost:{service} HTTP/1.1\\r\\n\\r\\n"))),
        ("the proxy to the world", ask("CONNECT example.com:443 HTTP/1.1\\r\\n\\r\\n")),
        ("the proxy under the model's Host", ask(&format!("CONNECT example.com:443 HTTP/1.1\\r\\nHost: {model}\\r\\n\\r\\n"))),
        ("a plain request to the world", ask("GET http://example.com/ HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n")),
        ("a user name before the host", ask(&format!("GET http://{model}@127.0.0.1:{api}/health HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n"))),
        ("two targets in one request", ask(&format!("GET http://127.0.0.1:{api}/health#http://{model}/ HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n"))),
        ("an absolute path without a host", ask(&format!("GET /health HTTP/1.1\\r\\nHost: 127.0.0.1:{api}\\r\\nConnection: close\\r\\n\\r\\n"))),
        ("the server with a forged header", ask(&format!("GET http://127.0.0.1:{api}/api/me HTTP/1.1\\r\\nx-authentik-username: admin\\r\\nConnection: close\\r\\n\\r\\n"))),
        ("a listed host at another port", ask(&format!("CONNECT {}:22 HTTP/1.1\\r\\n\\r\\n", model.rsplit_once(':').unwrap().0))),
    ]
}
