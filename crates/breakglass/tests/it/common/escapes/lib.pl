# What the attempts share. An attempt is true if it got somewhere; if not, the kernel's word is said.
use strict;
use warnings;
use Socket;
use IO::Socket::INET;
use IO::Socket::UNIX;
$SIG{PIPE} = 'IGNORE';
$SIG{SYS} = sub { print "a system call that is not there\n"; exit 9 };

sub got {
    my ($attempt) = @_;
    $! = 0;
    my $got = eval { $attempt->() };
    print "$@" if $@;
    print "$!\n" if !$got && $!;
    exit($got ? 0 : 1);
}

# A system call; true if the kernel did it. Strings that the kernel writes to have room.
sub call {
    my ($number, @arguments) = @_;
    return syscall($number, @arguments) >= 0;
}

sub connects {
    my ($address) = @_;
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or return 0;
    return connect($s, pack_sockaddr_un($address));
}

sub opens {
    my ($family, $kind, $protocol) = @_;
    return socket(my $s, $family, $kind, $protocol);
}

# Sends bytes to the proxy and reads all that comes back.
sub proxied {
    my ($bytes, $more) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 3128, Timeout => 5) or die "no proxy: $!\n";
    $s->autoflush(1);
    local $SIG{ALRM} = sub { die "no answer\n" };
    alarm 5;
    print $s $bytes;
    my $all = '';
    if (defined $more) {
        sysread($s, $all, 4096);
        return $all if $all !~ m{^HTTP/1.1 200};
        $all = '';
        print $s $more;
    }
    while (sysread($s, my $part, 4096)) { $all .= $part }
    return $all;
}

# Whether the proxy's answer to a request says that it went somewhere; the first line is said.
sub passes {
    my ($bytes) = @_;
    my ($line) = proxied($bytes) =~ /^([^\r\n]*)/;
    print "$line\n";
    $! = 0;
    return $line =~ m{^HTTP/1\.. (2|3|401|404|405|421)};
}

# The first message of TLS, which asks for a host by its name, if there is one.
sub hello {
    my ($name) = @_;
    my $list = pack('C n/a*', 0, $name // '');
    my $server_name = defined $name ? pack('n n n/a*', 0, length($list) + 2, $list) : '';
    my $body = "\x03\x03" . ('r' x 32) . "\0" . pack('n', 2) . "\x13\x01" . "\x01\0" . pack('n/a*', $server_name);
    my $message = "\x01" . substr(pack('N', length $body), 1) . $body;
    return "\x16\x03\x01" . pack('n/a*', $message);
}

# Whether bytes get through the tunnel to the listed service, which sends back what it was sent.
sub tunnelled {
    my ($target, $bytes) = @_;
    my $back = proxied("CONNECT $target HTTP/1.1\r\nHost: $target\r\n\r\n", $bytes);
    $! = 0;
    print length($back), " bytes came back\n";
    return $back =~ /ECHO/;
}
1;
