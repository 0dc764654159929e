"""Attempts from within a cgroup: attempts.py CGROUP_PROCS NAME.. prints each name with the errno (0: it worked).

Each attempt has two parts: the first runs outside the cgroup and gives what the second, in a child inside it, uses.
"""
import ctypes, errno, os, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
UNIX, INET = socket.AF_UNIX, socket.AF_INET
STREAM, DGRAM, SEQPACKET, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW
PIDFD_OPEN, PIDFD_GETFD = 434, 438
# By architecture; the other numbers are everywhere the same.
BPF, UNSHARE = (321, 272) if os.uname().machine == "x86_64" else (280, 97)
NEWUSER = 0x10000000


def call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return result


def listening(family=INET, kind=STREAM, address=("127.0.0.1", 0)):
    listener = socket.socket(family, kind)
    listener.bind(address)
    if kind != DGRAM:
        listener.listen()
    return listener


def family(family, kind, protocol=0):
    return lambda: None, lambda _: socket.socket(family, kind, protocol).close()


def connected():
    listener = listening()
    return listener, socket.create_connection(listener.getsockname())


def udp():
    receiver = listening(kind=DGRAM)
    return receiver, socket.socket(INET, DGRAM)


def receive(channel):
    _, fds, flags, _ = socket.recv_fds(channel, 1, 1)
    if not fds:
        assert flags & socket.MSG_CTRUNC
        raise OSError(errno.EPERM, "dropped")


def rights(make):
    def outside():
        ours, theirs = socket.socketpair()
        sent = make()
        socket.send_fds(ours, [b"x"], [sent if isinstance(sent, int) else sent.fileno()])
        return ours, theirs, sent

    return outside, lambda given: receive(given[1])


def getfd(given):
    pidfd = call(PIDFD_OPEN, os.getppid(), 0)
    call(PIDFD_GETFD, pidfd, given.fileno(), 0)


def unix(kind, abstract=False):
    path = ("\0" if abstract else "/tmp/") + "awf-lsm-%d-%d-%d" % (os.getpid(), kind, abstract)

    def outside():
        if not abstract and os.path.exists(path):
            os.unlink(path)
        return listening(UNIX, kind, path)

    return outside, lambda _: socket.socket(UNIX, kind).connect(path)


def send_to_unix(given):
    socket.socket(UNIX, DGRAM).sendto(b"x", given.getsockname())


def user_namespace(_):
    os.setuid(1000)
    call(UNSHARE, NEWUSER)


def own_tcp(given):
    socket.create_connection(given.getsockname()).send(b"x")


def own_accept(_):
    listener = listening()
    client = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    served.send(b"x")
    assert client.recv(1) == b"x"


def own_udp(_):
    receiver = listening(kind=DGRAM)
    sender = socket.socket(INET, DGRAM)
    sender.connect(receiver.getsockname())
    sender.send(b"x")
    assert receiver.recv(1) == b"x"


def own_unix(_):
    listener = listening(UNIX, STREAM, "\0awf-lsm-own-%d" % os.getpid())
    client = socket.socket(UNIX)
    client.connect(listener.getsockname())
    served, _ = listener.accept()
    served.send(b"x")
    assert client.recv(1) == b"x"


def own_datagram(_):
    receiver = listening(UNIX, DGRAM, "\0awf-lsm-dgram-%d" % os.getpid())
    socket.socket(UNIX, DGRAM).sendto(b"x", receiver.getsockname())
    assert receiver.recv(1) == b"x"


def own_pair(_):
    for kind in (STREAM, DGRAM, SEQPACKET):
        ours, theirs = socket.socketpair(UNIX, kind)
        ours.send(b"x")
        assert theirs.recv(1) == b"x"


def own_rights(_):
    ours, theirs = socket.socketpair()
    sent = socket.socket()
    socket.send_fds(ours, [b"x"], [sent.fileno()])
    receive(theirs)


def given(kind):
    def use(pair):
        pair[0].send(b"x")
        assert pair[1].recv(1) == b"x"

    return lambda: socket.socketpair(UNIX, kind), use


ATTEMPTS = {
    "vsock": family(40, STREAM),
    "alg": family(38, SEQPACKET),
    "packet": family(17, RAW),
    "rds": family(21, SEQPACKET),
    "tipc": family(30, SEQPACKET),
    "netlink-generic": family(16, RAW, 16),
    "tcp-connect": (lambda: (listening(), socket.socket()), lambda two: two[1].connect(two[0].getsockname())),
    "tcp-send": (connected, lambda two: two[1].send(b"x")),
    "udp-send": (udp, lambda two: two[1].sendto(b"x", two[0].getsockname())),
    "rights-tcp": rights(lambda: connected()[1]),
    "rights-udp": rights(lambda: socket.socket(INET, DGRAM)),
    "rights-unix": rights(lambda: socket.socket(UNIX, DGRAM)),
    "pidfd-getfd": (lambda: socket.socket(INET, DGRAM), getfd),
    "unix-stream": unix(STREAM),
    "unix-seqpacket": unix(SEQPACKET),
    "unix-abstract": unix(STREAM, abstract=True),
    "unix-connected": unix(DGRAM),
    "unix-datagram": (unix(DGRAM, abstract=True)[0], send_to_unix),
    "user-namespace": (lambda: None, user_namespace),
    "bpf": (lambda: None, lambda _: call(BPF, 11, struct.pack("QQ", 0, 0), 16)),
    "own-tcp": (listening, own_tcp),
    "own-accept": (lambda: None, own_accept),
    "own-udp": (lambda: None, own_udp),
    "own-unix": (lambda: None, own_unix),
    "own-datagram": (lambda: None, own_datagram),
    "own-pair": (lambda: None, own_pair),
    "own-rights": (lambda: None, own_rights),
    "rights-pipe": rights(lambda: os.pipe()[0]),
    "given-stream": given(STREAM),
    "given-datagram": given(DGRAM),
    "routes": (lambda: None, lambda _: socket.if_nameindex()),
    "root-namespace": (lambda: None, lambda _: call(UNSHARE, NEWUSER)),
}


def fire(procs, name):
    outside, inside = ATTEMPTS[name]
    prepared = outside()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "0"
        try:
            with open(procs, "w") as file:
                file.write("0")
            with open("/proc/self/comm", "w") as file:
                file.write(name)
            inside(prepared)
        except OSError as error:
            said = str(error.errno)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    said = os.read(reader, 16).decode()
    os.waitpid(child, 0)
    print(name, said or "-1", flush=True)


for name in sys.argv[2:]:
    fire(sys.argv[1], name)
