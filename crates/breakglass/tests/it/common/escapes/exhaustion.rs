//! Attempts to fill the machine: each succeeds only without limits, or is ended.

use super::{Attempt, List, attempt, call, perl};

pub fn exhaustion() -> List {
    let all: Vec<Attempt> = vec![
        attempt(
            "2,000 processes",
            perl(
                "my @p; for (1 .. 2000) { my $p = fork(); last if !defined $p; if (!$p) { sleep 30; exit } push @p, $p } my $n = @p; kill 9, @p; print \"$n processes: $!\\n\"; $! = 0; $n >= 1000",
            ),
        ),
        attempt(
            "2,000 threads",
            "perl -e 'use threads (stack_size => 65536); my $n = 0; for (1 .. 2000) { my $t = threads->create(sub { sleep 30 }); last unless $t; $t->detach; $n++ } print \"$n threads\\n\"; require POSIX; POSIX::_exit($n >= 1000 ? 0 : 1)' 2>/dev/null",
        ),
        attempt(
            "8 GiB of memory",
            perl("my @m; for (1 .. 128) { push @m, \"x\" x (64 << 20) } 1"),
        ),
        attempt(
            "8 GiB of memory in ten processes",
            "for i in 1 2 3 4 5 6 7 8 9 10; do perl -e 'my $m = \"x\" x (800 << 20); sleep 4; exit 0' & p=\"$p $!\"; done; for i in $p; do wait $i || exit 1; done",
        ),
        attempt(
            "a file in memory without a name",
            call(319, 279, "\"x\", 0"),
        ),
        attempt(
            "memory that is shared and has no file",
            call(9, 222, "0, 1 << 30, 3, 0x21, -1, 0"),
        ),
        attempt(
            "memory that is shared by a device",
            perl("open(my $f, \"+<\", \"/dev/zero\")"),
        ),
        attempt(
            "128 MiB in /dev/shm",
            "dd if=/dev/zero of=/dev/shm/x bs=1M count=128; r=$?; rm -f /dev/shm/x; exit $r",
        ),
        attempt(
            "1 GiB in /tmp",
            "dd if=/dev/zero of=/tmp/x bs=1M count=1024; r=$?; rm -f /tmp/x; exit $r",
        ),
        attempt("2 MiB in /dev", "dd if=/dev/zero of=/dev/x bs=1M count=2"),
        attempt(
            "2 MiB beside the sockets",
            "dd if=/dev/zero of=/run/breakglass/sockets/x bs=1M count=2",
        ),
        attempt(
            "a file of 100 GiB",
            "truncate -s 100G ~/big; r=$?; rm -f ~/big; exit $r",
        ),
        attempt(
            "a file of 2 GiB at once",
            "fallocate -l 2G ~/big; r=$?; rm -f ~/big; exit $r",
        ),
        attempt(
            "5,000 open files",
            perl(
                "my @f; for (1 .. 5000) { open(my $f, \"<\", \"/dev/null\") or last; push @f, $f } print scalar(@f), \" files\\n\"; @f > 2000",
            ),
        ),
        attempt(
            "5,000 pipes",
            perl(
                "my @f; for (1 .. 5000) { pipe(my $r, my $w) or last; push @f, $r, $w } print scalar(@f), \" ends\\n\"; @f > 2000",
            ),
        ),
        attempt(
            "5,000 sockets",
            perl(
                "my @f; for (1 .. 5000) { socketpair(my $r, my $w, AF_UNIX, SOCK_STREAM, 0) or last; push @f, $r, $w } print scalar(@f), \" ends\\n\"; @f > 2000",
            ),
        ),
        attempt(
            "5,000 terminals",
            perl(
                "my @f; for (1 .. 5000) { open(my $f, \"+<\", \"/dev/ptmx\") or last; push @f, $f } print scalar(@f), \" terminals\\n\"; @f > 2000",
            ),
        ),
        attempt(
            "locked memory",
            perl("my $m = \"x\" x (1 << 30); syscall(149, $m, 1 << 30) >= 0"),
        ),
        attempt("every connection to the model", CONNECTIONS),
        attempt("every connection to the guest", GUEST_CONNECTIONS),
        attempt(
            "every core",
            "for i in $(seq 64); do timeout 8 sh -c 'while :; do :; done' & done; wait; echo over; exit 1",
        ),
        attempt(
            "writes without end",
            "timeout 8 dd if=/dev/zero of=$HOME/w bs=1M count=900 oflag=direct; rm -f ~/w; echo over; exit 1",
        ),
    ];
    List::one_by_one("exhaustion", all)
}

/// Six hundred half-open connections for a few seconds, then a word from one more: it is the bound's.
const CONNECTIONS: &str = "perl -MIO::Socket::INET -e 'my @s; for (1 .. 600) { my $s = IO::Socket::INET->new(PeerAddr => \"127.0.0.1\", PeerPort => 3128, Timeout => 2) or last; push @s, $s } \
sleep 4; my $open = 0; for my $s (@s) { $s->blocking(0); my $n = sysread($s, my $b, 1); $open++ if !defined $n } print \"$open of \", scalar(@s), \" stay open\\n\"; exit($open > 100 ? 0 : 1)'";
const GUEST_CONNECTIONS: &str = "perl -MIO::Socket::UNIX -e 'my @s; for (1 .. 600) { my $s = IO::Socket::UNIX->new(Peer => \"/run/breakglass/sockets/devvm\") or last; push @s, $s } \
sleep 4; my $open = 0; for my $s (@s) { $s->blocking(0); my $n; while ($n = sysread($s, my $b, 4096)) {} $open++ if !defined $n } print \"$open of \", scalar(@s), \" stay open\\n\"; exit($open > 300 ? 0 : 1)'";
