# Forks, pipes, signals, sockets.
use strict;
use warnings;
use IO::Socket::INET;
use Socket;

pipe(my $read, my $write) or die $!;
if (!fork) { close $read; print $write "piped\n"; exit 0 }
close $write;
print "pipe ", scalar <$read>;
wait;
my $got = 0;
$SIG{USR1} = sub { $got = 1 };
kill 'USR1', $$;
print "signal $got\n";
my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
if (!fork) { my $peer = $server->accept; print $peer "served\n"; exit 0 }
my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->sockport) or die $!;
print "server ", scalar <$client>;
wait;
socketpair(my $left, my $right, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
syswrite $left, "pair\n";
print "socketpair ", scalar <$right>;
print "backticks ", `echo \$((6 * 7))`;
