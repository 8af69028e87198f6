//! The network: addresses of the machine and of the world, names, and sockets of every kind.

use super::{Attempt, Prey, allowed, attempt, perl, real};

pub(super) fn network(prey: &Prey<'_>) -> Vec<Attempt> {
    let (api, service, address) = (prey.api, prey.service, prey.address);
    let tcp = |host: &str, port: u16| format!("exec 3<>/dev/tcp/{host}/{port}");
    let opens = |family: &str, kind: &str, protocol: &str| {
        perl(&format!("opens({family}, {kind}, {protocol})"))
    };
    let datagram = |to: &str, port: u16| {
        perl(&format!(
            "socket(my $s, AF_INET, SOCK_DGRAM, 0) or return 0; send($s, \"x\", 0, pack_sockaddr_in({port}, inet_aton(\"{to}\")))"
        ))
    };
    vec![
        allowed("the guest by its way", "ssh devvm true"),
        real("the server on loopback", tcp("127.0.0.1", api)),
        attempt(
            "the server with a forged header",
            format!(
                "exec 3<>/dev/tcp/127.0.0.1/{api}; printf 'GET /api/incidents HTTP/1.0\\r\\nX-Authentik-Username: admin\\r\\nX-Forwarded-For: 10.0.0.1\\r\\nRemote-User: admin\\r\\n\\r\\n' >&3; head -n 1 <&3 | grep 200"
            ),
        ),
        attempt("the server on its other address", tcp(address, api)),
        attempt("the server by IPv6", tcp("::1", api)),
        attempt(
            "the server by a mapped address",
            tcp("::ffff:127.0.0.1", api),
        ),
        real("a service on loopback", tcp("127.0.0.1", service)),
        real(
            "a service on loopback's other address",
            tcp("127.0.0.2", service),
        ),
        real("a service by all addresses", tcp("0.0.0.0", service)),
        real(
            "a service on the machine's own address",
            tcp(address, service),
        ),
        attempt(
            "the guest's ssh without the bastion",
            "for p in 22 2222; do exec 3<>/dev/tcp/127.0.0.1/$p && exit 0; done 2>/dev/null; echo refused; exit 1",
        ),
        attempt("metadata of a cloud", tcp("169.254.169.254", 80)),
        attempt("metadata of a cloud by IPv6", tcp("fd00:ec2::254", 80)),
        attempt("metadata of a container", tcp("169.254.170.2", 80)),
        attempt("an address of the world", tcp("192.0.2.1", 443)),
        attempt("an address of the world by IPv6", tcp("2001:db8::1", 443)),
        real("a datagram to the world", datagram("192.0.2.53", 9)),
        real("a name server", datagram("192.0.2.53", 53)),
        attempt(
            "a broadcast",
            perl(
                "socket(my $s, AF_INET, SOCK_DGRAM, 0); setsockopt($s, SOL_SOCKET, SO_BROADCAST, 1); send($s, \"x\", 0, pack_sockaddr_in(9, inet_aton(\"255.255.255.255\")))",
            ),
        ),
        attempt("a multicast", datagram("224.0.0.251", 5353)),
        attempt("a name", "getent ahosts example.com"),
        attempt(
            "a name of the machine's own list",
            "getent hosts ip6-allnodes",
        ),
        real(
            "an interface beside lo",
            "tail -n +3 /proc/net/dev | grep -v '^ *lo:'",
        ),
        real("a route", "tail -n +2 /proc/net/route | grep ."),
        attempt("an address of one's own", "ip addr add 10.9.9.9/32 dev lo"),
        attempt(
            "a socket bound to an interface",
            perl(
                "socket(my $s, AF_INET, SOCK_STREAM, 0); setsockopt($s, SOL_SOCKET, 25, \"eth0\\0\")",
            ),
        ),
        attempt(
            "a port below 1024",
            perl(
                "socket(my $s, AF_INET, SOCK_STREAM, 0); bind($s, pack_sockaddr_in(80, inet_aton(\"127.0.0.1\")))",
            ),
        ),
        attempt(
            "ICMP",
            opens("AF_INET", "SOCK_DGRAM", "1") + " && busybox ping -c 1 -W 1 192.0.2.1",
        ),
        real("raw IP", opens("AF_INET", "SOCK_RAW", "255")),
        real("raw ICMP", opens("AF_INET", "SOCK_RAW", "1")),
        real("raw IPv6", opens("AF_INET6", "SOCK_RAW", "58")),
        real("raw packets", opens("17", "SOCK_RAW", "768")),
        real(
            "packets without their head",
            opens("17", "SOCK_DGRAM", "768"),
        ),
        real("netlink", opens("16", "SOCK_RAW", "0")),
        real("netlink of the audit", opens("16", "SOCK_RAW", "9")),
        real(
            "netlink of the kernel's events",
            opens("16", "SOCK_DGRAM", "15"),
        ),
        attempt(
            "a virtual socket of the hypervisor",
            opens("40", "SOCK_STREAM", "0"),
        ),
        attempt(
            "the kernel's crypto sockets",
            opens("38", "SOCK_SEQPACKET", "0"),
        ),
        attempt("bluetooth", opens("31", "SOCK_RAW", "1")),
        attempt("a bus of a car", opens("29", "SOCK_RAW", "1")),
        attempt("TIPC", opens("30", "SOCK_SEQPACKET", "0")),
        attempt("XDP", opens("44", "SOCK_RAW", "0")),
        attempt("a key socket", opens("15", "SOCK_RAW", "2")),
        attempt("SMC", opens("43", "SOCK_STREAM", "0")),
        attempt("RDS", opens("21", "SOCK_SEQPACKET", "0")),
    ]
}
