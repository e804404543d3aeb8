//! Python for an [`Agent`](crate::Agent): clients, and a proxy of a sidecar mesh.

/// `dial` connects, `greet` reads the line that a server says first.
pub const DIAL: &str = r#"
def dial(host, port, kind=socket.SOCK_STREAM, bind=None):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    s = socket.socket(family, kind)
    s.settimeout(10)
    if bind:
        s.bind(bind)
    s.connect((host, port))
    return s
def greet(s):
    data = b''
    while not data.endswith(b'\n'):
        more = s.recv(100)
        if not more:
            break
        data += more
    return data.decode().strip()
"#;

/// The user that the proxy runs as.
pub const AS_PROXY: [&str; 4] = [
    "/usr/bin/setpriv",
    "--reuid=1337",
    "--regid=1337",
    "--clear-groups",
];

/// Takes connections, asks where they were to go as Envoy does, notes it in
/// `seen`, and relays. Outbound on port 15001 of loopback, inbound on 15006.
pub const PROXY: &str = r#"
seen = []
def original(conn):
    try:
        raw = conn.getsockopt(socket.SOL_IP, 80, 16)
        return socket.inet_ntoa(raw[4:8]), struct.unpack('!H', raw[2:4])[0]
    except OSError:
        raw = conn.getsockopt(socket.IPPROTO_IPV6, 80, 28)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack('!H', raw[2:4])[0]
def relay(a, b):
    try:
        while True:
            data = a.recv(65536)
            if not data:
                break
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve(conn):
    try:
        to = original(conn)
    except OSError as e:
        seen.append(errno.errorcode[e.errno])
        conn.close()
        return
    seen.append([to[0], to[1]])
    far = socket.create_connection(to, 10)
    far.settimeout(None)
    threading.Thread(target=relay, args=(far, conn), daemon=True).start()
    relay(conn, far)
def listen(host, port):
    s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ':' in host:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((host, port))
    s.listen(4096)
    def run():
        while True:
            conn, _ = s.accept()
            threading.Thread(target=serve, args=(conn,), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()
    return s
out4, out6 = listen('127.0.0.1', 15001), listen('::1', 15001)
in4, in6 = listen('0.0.0.0', 15006), listen('::', 15006)
result = 'listens'
"#;
