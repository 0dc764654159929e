"""The lab's programmable origin: what nginx cannot play. Usage: origin.py PLAN.json (written by servers.rs).

Behind nginx (HTTP on a Unix socket): WebSocket echo /ws, SSE /events?n=5&ms=50, upload sink /upload[?sha256=1],
patterned download /pattern/BYTES, slow answers /slow?ms=1000, a model that says nothing /models /chat/completions, DNS
over HTTPS /dns-query (asks the lab's DNS server).
On its own ports: TCP and UDP echo. A TCP listener looks at the first byte: a TLS ClientHello gets TLS, an HTTP request
gets a page that says who was reached, and everything else comes back unchanged.
"""

import base64
import hashlib
import json
import os
import random
import socket
import ssl
import struct
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

# Repeated block of the patterned download; its length is prime so that a lost or doubled buffer shows in a hash.
PATTERN = random.Random(1).randbytes(1048573)
HTTP_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ")


class Body:
    """A request's body, plain or chunked, read from the bytes left over by the head and then from the socket."""

    def __init__(self, connection, rest, headers):
        self.connection, self.rest = connection, rest
        self.chunked = "chunked" in headers.get("transfer-encoding", "")
        self.length = int(headers.get("content-length", 0))
        self.buffer = memoryview(bytearray(1 << 18))

    def some(self, limit):
        """At most `limit` bytes; raises at the end of the connection."""
        if self.rest:
            part, self.rest = self.rest[:limit], self.rest[limit:]
            return part
        count = self.connection.recv_into(self.buffer, min(limit, len(self.buffer)))
        if count == 0:
            raise EOFError
        return self.buffer[:count]

    def line(self):
        text = b""
        while not text.endswith(b"\r\n"):
            text += bytes(self.some(1))
        return text.strip()

    def parts(self):
        if not self.chunked:
            yield from self.exactly(self.length)
            return
        while size := int(self.line().split(b";")[0], 16):
            yield from self.exactly(size)
            self.line()
        while self.line():
            pass

    def exactly(self, count):
        while count:
            part = self.some(count)
            count -= len(part)
            yield part


def answer(connection, status, content, kind="text/plain"):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + content)


def upload(connection, body, query):
    total, digest = 0, hashlib.sha256() if query.get("sha256") else None
    for part in body.parts():
        total += len(part)
        if digest:
            digest.update(part)
    report = {"bytes": total} | ({"sha256": digest.hexdigest()} if digest else {})
    answer(connection, "200 OK", json.dumps(report).encode() + b"\n", "application/json")


def pattern(connection, total):
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\nConnection: close\r\n\r\n".encode())
    while total > 0:
        connection.sendall(PATTERN[:total] if total < len(PATTERN) else PATTERN)
        total -= len(PATTERN)


def resolve(connection, body):
    question = b"".join(bytes(part) for part in body.parts())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.settimeout(5)
        resolver.sendto(question, ("8.8.8.8", 53))
        answer(connection, "200 OK", resolver.recv(65535), "application/dns-message")


def events(connection, query):
    count, pause = int(query.get("n", ["5"])[0]), int(query.get("ms", ["50"])[0]) / 1000
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n")
    for number in range(count):
        connection.sendall(f"id: {number}\ndata: event {number}\n\n".encode())
        time.sleep(pause)


def model(connection, body):
    """Answers like OpenAI's /chat/completions: 1000 tokens are asked, 100 answered. In a stream it tells so if asked to."""
    asked = json.loads(b"".join(bytes(part) for part in body.parts()))
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    said = {"id": "lab", "model": asked["model"], "choices": []}
    if not asked.get("stream"):
        answer(connection, "200 OK", json.dumps(said | {"usage": usage}).encode(), "application/json")
        return
    told = asked.get("stream_options", {}).get("include_usage")
    events = [json.dumps(said), json.dumps(said | ({"usage": usage} if told else {})), "[DONE]"]
    answer(connection, "200 OK", "".join(f"data: {event}\n\n" for event in events).encode(), "text/event-stream")


def websocket(connection, body, headers):
    key = headers.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())

    def take(count):
        return b"".join(bytes(part) for part in body.exactly(count))

    while True:
        first, second = take(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", take(8))
        mask = take(4) if second & 0x80 else bytes(4)
        data = take(size)
        repeated = (mask * (size // 4 + 1))[:size]
        data = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        opcode = first & 0x0F
        reply = (first & 0xF0) | (0xA if opcode == 0x9 else opcode)
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
        connection.sendall(bytes([reply]) + length + data)
        if opcode == 0x8:
            return


def serve_http(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65536)
        if not part:
            return
        head += part
    head, rest = head.split(b"\r\n\r\n", 1)
    request, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    url = urlsplit(request.split(" ")[1])
    query, body = parse_qs(url.query), Body(connection, rest, headers)
    if url.path == "/ws":
        websocket(connection, body, headers)
    elif url.path == "/events":
        events(connection, query)
    elif url.path == "/dns-query":
        resolve(connection, body)
    elif url.path == "/upload":
        upload(connection, body, query)
    elif url.path.startswith("/pattern/"):
        pattern(connection, int(url.path.removeprefix("/pattern/")))
    elif url.path == "/models":
        names = ("gpt-4o", "gpt-5-mini", "gpt-5.2")
        answer(connection, "200 OK", json.dumps({"data": [{"id": name} for name in names]}).encode(), "application/json")
    elif url.path == "/chat/completions":
        model(connection, body)
    elif url.path == "/slow":
        time.sleep(int(query.get("ms", ["1000"])[0]) / 1000)
        answer(connection, "200 OK", b"lab: slow\n")
    else:
        answer(connection, "404 Not Found", b"lab: no such path\n")


def serve_echo(connection):
    address, port = connection.getsockname()[:2]
    if connection.recv(1, socket.MSG_PEEK) == b"\x16":  # TLS record type handshake, RFC 8446, 5.1
        connection = TLS.wrap_socket(connection, server_side=True)
    data = connection.recv(65536)
    if data.startswith(HTTP_METHODS):
        answer(connection, "200 OK", f"lab: listener {address} port {port} reached\n".encode())
        return
    while data:
        connection.sendall(data)
        data = connection.recv(65536)


def serve_udp(listener):
    while True:
        data, peer = listener.recvfrom(65536)
        listener.sendto(data, peer)


def guarded(serve, connection):
    with connection:
        try:
            serve(connection)
        except (OSError, EOFError, ValueError):
            pass  # The client left or spoke nonsense: its own affair.


def accept_all(listener, serve):
    while True:
        connection, _ = listener.accept()
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=guarded, args=(serve, connection), daemon=True).start()


def bind(kind, address, port):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == socket.SOCK_STREAM:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # Beside nginx's wildcard socket.
    listener.bind((address, port))
    return listener


with open(sys.argv[1], encoding="utf-8") as file:
    PLAN = json.load(file)
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
TLS.load_cert_chain(PLAN["certificate"], PLAN["key"])
TLS.set_alpn_protocols(["http/1.1"])

for at in PLAN["udp"]:
    threading.Thread(target=serve_udp, args=(bind(socket.SOCK_DGRAM, *at),), daemon=True).start()
for at in PLAN["tcp"]:
    tcp = bind(socket.SOCK_STREAM, *at)
    tcp.listen(1024)
    threading.Thread(target=accept_all, args=(tcp, serve_echo), daemon=True).start()
# Last, because the path of this socket tells the lab that everything above listens.
http = socket.socket(socket.AF_UNIX)
http.bind(PLAN["http"] + ".new")
http.listen(1024)
os.rename(PLAN["http"] + ".new", PLAN["http"])
accept_all(http, serve_http)
