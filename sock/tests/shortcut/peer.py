"""One end of a connection, for the tests of the shortcut.

peer.py <role> <host> <port> [arguments]; what a role finds out is one line of
JSON on standard output, and it exits with 0 only if all was as it should be.
"""
import hashlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time

PATIENCE = 60
WINDOW = 200000


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def say(**what):
    print(json.dumps(what), flush=True)


def listen(host, port):
    server = socket.socket(family(host), socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    server.listen(4096)
    say(listening=server.getsockname()[1])
    return server


def dial(host, port):
    sock = socket.socket(family(host), socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect((host, port))
    return sock


def receive(sock, count):
    parts = []
    while count:
        part = sock.recv(min(count, 1 << 17))
        if not part:
            raise EOFError("%d bytes are missing" % count)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def pattern(size, seed):
    return random.Random(seed).randbytes(size)


def each_client(host, port, work):
    server = listen(host, port)
    while True:
        sock, _ = server.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=work, args=(sock,), daemon=True).start()


def quietly(work):
    def run(sock):
        try:
            with sock:
                work(sock)
        except OSError:
            pass

    return run


def echo(host, port):
    """Sends everything back, and ends when the client has ended."""

    def work(sock):
        while True:
            part = sock.recv(1 << 16)
            if not part:
                break
            sock.sendall(part)

    each_client(host, port, quietly(work))


def sink(host, port):
    """Answers with the SHA-256 of everything up to the client's end."""

    def work(sock):
        digest = hashlib.sha256()
        while True:
            part = sock.recv(1 << 17)
            if not part:
                break
            digest.update(part)
        sock.sendall(digest.hexdigest().encode())

    each_client(host, port, quietly(work))


def ledger(host, port):
    """Acknowledges every WINDOW bytes; the SHA-256 of all at the end."""

    def work(sock):
        digest, count = hashlib.sha256(), 0
        while True:
            part = sock.recv(1 << 17)
            if not part:
                break
            digest.update(part)
            acks = (count + len(part)) // WINDOW - count // WINDOW
            count += len(part)
            sock.sendall(b"k" * acks)
        sock.sendall(digest.hexdigest().encode())

    each_client(host, port, quietly(work))


def hold(host, port):
    """Reads two messages, answers them, then reads no more until told to on
    standard input; then answers with the SHA-256 of the rest."""
    server = listen(host, port)
    sock, _ = server.accept()
    for _ in range(2):
        sock.sendall(receive(sock, 4))
    for line in sys.stdin:
        digest, count = hashlib.sha256(), 0
        if line.strip() == "read":
            sock.settimeout(PATIENCE)
            while True:
                part = sock.recv(1 << 17)
                if not part:
                    break
                digest.update(part)
                count += len(part)
            say(count=count, digest=digest.hexdigest())
            return
        if line.strip() == "close":
            sock.close()
            say(closed=True)
            return


def warm(sock):
    """Until messages of both directions may take the shortcut."""
    for _ in range(2):
        sock.sendall(b"warm")
        if receive(sock, 4) != b"warm":
            raise ValueError("the echo differs")


def sizes(host, port):
    """Messages of many sizes, each echoed."""
    sock = dial(host, port)
    warm(sock)
    total = 0
    for seed, size in enumerate([1, 2, 3, 63, 64, 512, 1000, 4096, 16384, 16385, 65535, 65536]):
        sent = pattern(size, seed)
        sock.sendall(sent)
        if receive(sock, size) != sent:
            raise ValueError("%d bytes came back as others" % size)
        total += size
    say(bytes=total)


def upload(host, port, total):
    """One long transfer, compared by SHA-256."""
    total = int(total)
    sock = dial(host, port)
    block = pattern(1 << 20, total)
    digest, left = hashlib.sha256(), total
    while left:
        part = block[: min(left, len(block))]
        sock.sendall(part)
        digest.update(part)
        left -= len(part)
    sock.shutdown(socket.SHUT_WR)
    answer = receive(sock, 64).decode()
    if answer != digest.hexdigest():
        raise ValueError("another digest arrived")
    say(bytes=total)


def windows(host, port, total):
    """Like upload, never more than a window ahead of the reader."""
    sock = dial(host, port)
    digest, block, count = hashlib.sha256(), pattern(WINDOW, 8), int(total) // WINDOW
    for _ in range(count):
        for at in range(0, WINDOW, 20000):
            sock.sendall(block[at : at + 20000])
        digest.update(block)
        if receive(sock, 1) != b"k":
            raise ValueError("no acknowledgement")
    sock.shutdown(socket.SHUT_WR)
    if receive(sock, 64).decode() != digest.hexdigest():
        raise ValueError("another digest arrived")
    say(bytes=count * WINDOW)


def duplex(host, port, total):
    """Writes and reads at once through an echo."""
    total = int(total)
    sock = dial(host, port)
    warm(sock)
    sent = pattern(total, 1)
    writer = threading.Thread(target=sock.sendall, args=(sent,))
    writer.start()
    got = receive(sock, total)
    writer.join()
    if got != sent:
        raise ValueError("other bytes came back")
    say(bytes=total)


def many(host, port, count, rounds):
    """Connections at once, each with small messages."""
    socks = [dial(host, port) for _ in range(int(count))]
    for turn in range(int(rounds)):
        for i, sock in enumerate(socks):
            sock.sendall(struct.pack("!II", turn, i))
        for i, sock in enumerate(socks):
            if receive(sock, 8) != struct.pack("!II", turn, i):
                raise ValueError("connection %d got another's bytes" % i)
    say(connections=len(socks))


def short(host, port, count):
    """Connections one after the other."""
    for i in range(int(count)):
        with dial(host, port) as sock:
            warm(sock)
            sock.shutdown(socket.SHUT_WR)
            if sock.recv(1):
                raise ValueError("a byte too many")
    say(connections=int(count))


def fill(host, port, limit):
    """Writes without being read until the kernel takes no more, then ends."""
    sock = dial(host, port)
    warm(sock)
    sock.setblocking(False)
    digest, count, block = hashlib.sha256(), 0, pattern(4096, 9)
    idle = time.monotonic()
    while count < int(limit) and time.monotonic() - idle < 1:
        try:
            n = sock.send(block)
        except BlockingIOError:
            time.sleep(0.01)
            continue
        idle = time.monotonic()
        digest.update(block[:n])
        count += n
    sock.setblocking(True)
    say(count=count, digest=digest.hexdigest())
    sys.stdin.readline()
    sock.close()


def unread(host, port):
    """Leaves some bytes with a reader that does not read."""
    sock = dial(host, port)
    warm(sock)
    sock.sendall(b"0123456789")
    say(sent=10, digest=hashlib.sha256(b"0123456789").hexdigest())
    sys.stdin.readline()
    sock.close()


def halves(host, port):
    """Ends its own direction; the echo of everything still arrives."""
    sock = dial(host, port)
    warm(sock)
    sent = pattern(200000, 4)
    writer = threading.Thread(
        target=lambda: (sock.sendall(sent), sock.shutdown(socket.SHUT_WR))
    )
    writer.start()
    got = receive(sock, len(sent))
    writer.join()
    if got != sent or sock.recv(1) != b"":
        raise ValueError("the rest did not arrive, or no end")
    say(bytes=len(got))


def reset(host, port):
    """Ends with a reset."""
    sock = dial(host, port)
    warm(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    say(reset=True)


def notice(host, port):
    """A server that says how its client ended."""
    server = listen(host, port)
    sock, _ = server.accept()
    sock.settimeout(PATIENCE)
    try:
        while True:
            part = sock.recv(100)
            if not part:
                say(end="closed")
                return
            sock.sendall(part)
    except ConnectionResetError:
        say(end="reset")


def load(host, port):
    """Numbered messages of changing sizes until standard input ends."""
    sock = dial(host, port)
    warm(sock)
    stop = threading.Event()
    threading.Thread(
        target=lambda: (sys.stdin.readline(), stop.set()), daemon=True
    ).start()
    count, total = 0, 0
    say(started=True)
    while not stop.is_set():
        size = 4 + (count * 7919) % 20000
        sent = struct.pack("!I", count) * (size // 4)
        sock.sendall(sent)
        if receive(sock, len(sent)) != sent:
            raise ValueError("message %d came back as another" % count)
        count += 1
        total += len(sent)
    sock.close()
    say(messages=count, bytes=total)


def stream(host, port):
    """One way, numbered, until standard input ends; the sink checks it all."""
    sock = dial(host, port)
    stop = threading.Event()
    threading.Thread(
        target=lambda: (sys.stdin.readline(), stop.set()), daemon=True
    ).start()
    digest, count = hashlib.sha256(), 0
    say(started=True)
    while not stop.is_set():
        size = 1 + (count * 7919) % 9000
        part = struct.pack("!Q", count) * (1 + size // 8)
        sock.sendall(part)
        digest.update(part)
        count += 1
        if count % 8 == 0:
            time.sleep(0.0005)
    sock.shutdown(socket.SHUT_WR)
    if receive(sock, 64).decode() != digest.hexdigest():
        raise ValueError("another digest arrived")
    say(messages=count)


if __name__ == "__main__":
    name, host, port = sys.argv[1:4]
    globals()[name](host, int(port), *sys.argv[4:])
