"""Requests that two servers could read in two ways, through a front end to our server.

frontends_peer.py nginx|haproxy PORT FOLDER: PORT is our echo server on loopback, FOLDER is for the front end's files.
Between the two stands a relay that notes what our server answers. No request that the front end passes as one may be
answered as two, and a request of another client behind each attack must be answered with its own body. Prints lines for
the runner: verdict, name, what was seen.
"""
import pathlib, re, signal, socket, subprocess, sys, threading, time

PATIENCE = 5.0
EVIL = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Relay:
    """Passes connections on, and keeps what the server says on each."""

    def __init__(self, to):
        self.to, self.answers = to, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            front, _ = self.listener.accept()
            back = socket.create_connection(("127.0.0.1", self.to))
            said = bytearray()
            self.answers.append(said)
            for come, go, keep in ((front, back, None), (back, front, said)):
                threading.Thread(target=self.copy, args=(come, go, keep), daemon=True).start()

    def copy(self, come, go, keep):
        try:
            while data := come.recv(65536):
                if keep is not None:
                    keep += data
                go.sendall(data)
            go.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (come, go):
                s.close()

    def count(self):
        """Final answers so far; ours have a length or chunks, and bodies without this line."""
        text = b"".join(bytes(said) for said in self.answers)
        return len(re.findall(rb"HTTP/1\.1 [2-5]\d\d ", text))


class Nginx:
    def __init__(self, folder, to):
        self.folder, self.port, self.log = folder, free_port(), folder / "access.log"
        (folder / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
            events {{ worker_connections 256; }}
            http {{
                log_format short '$upstream_status'; access_log {self.log} short;
                {" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))}
                upstream ours {{ server 127.0.0.1:{to}; keepalive 1; }}
                server {{
                    listen 127.0.0.1:{self.port};
                    ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;
                    location / {{
                        proxy_pass http://ours; proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_request_buffering off; proxy_next_upstream off;
                    }}
                }}
            }}""")
        self.command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]

    def passed(self):
        """Requests that it passed on, by its own log."""
        return sum(line.strip() != "-" for line in self.log.read_text().splitlines())


class Haproxy:
    def __init__(self, folder, to):
        self.port, self.lines = free_port(), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        config = folder / "haproxy.cfg"
        config.write_text(f"""
global
    log 127.0.0.1:{self.socket.getsockname()[1]} format raw local0
defaults
    mode http
    log global
    timeout connect 2s
    timeout client 3s
    timeout server 3s
    retries 0
    option accept-invalid-http-request
    http-reuse always
frontend front
    bind 127.0.0.1:{self.port}
    log-format "server=%s"
    default_backend back
backend back
    server ours 127.0.0.1:{to}
""")
        self.command = ["haproxy", "-db", "-q", "-f", str(config)]
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        while True:
            self.lines.append(self.socket.recv(4096))

    def passed(self):
        return sum(b"server=ours" in line for line in self.lines)


def attacks():
    post = "POST / HTTP/1.1\r\nHost: a\r\n"
    zero = f"0\r\n\r\n{EVIL}"
    length = f"Content-Length: {len(zero)}\r\n"
    for name, coding in [
        ("plain", "Transfer-Encoding: chunked"), ("no space", "Transfer-Encoding:chunked"),
        ("tab", "Transfer-Encoding:\tchunked"), ("VT", "Transfer-Encoding: \x0bchunked"),
        ("FF behind", "Transfer-Encoding: chunked\x0c"), ("NUL", "Transfer-Encoding: chunked\0"),
        ("x", "Transfer-Encoding: xchunked"), ("quoted", 'Transfer-Encoding: "chunked"'),
        ("identity behind", "Transfer-Encoding: chunked, identity"), ("identity", "Transfer-Encoding: identity"),
        ("identity before", "Transfer-Encoding: identity, chunked"), ("comma", "Transfer-Encoding: ,chunked"),
        ("twice", "Transfer-Encoding: chunked, chunked"), ("parameter", "Transfer-Encoding: chunked;a=b"),
        ("two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
        ("two lines, other first", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
        ("space before the colon", "Transfer-Encoding : chunked"), ("folded", "Transfer-Encoding:\r\n chunked"),
        ("hidden by a fold", "X: a\r\n Transfer-Encoding: chunked"), ("underscore", "Transfer_Encoding: chunked"),
        ("LF before", "X: a\nTransfer-Encoding: chunked"), ("CR before", "X: a\rTransfer-Encoding: chunked"),
        ("space first", " Transfer-Encoding: chunked"), ("case", "tRANSFER-eNCODING: CHUNKED"),
    ]:
        yield f"coding {name}, with a length", f"{post}{coding}\r\n{length}\r\n{zero}"
        yield f"coding {name}, before it a length", f"{post}{length}{coding}\r\n\r\n{zero}"
        yield f"coding {name}", f"{post}{coding}\r\n\r\n{zero}"
    for value in ["+{}", "-{}", "0{}", "0x{:x}", "{} ", "{}, {}", "{},", "{} {}", '"{}"', "{}\r\nContent-Length: 0",
                  "0\r\nContent-Length: {}", "{}\r\n {}", "\x0b{}", "{}\0", "18446744073709551616", ""]:
        value = value.replace("{}", str(len(EVIL))).replace("{:x}", f"{len(EVIL):x}")
        yield f"length {value!r}", f"{post}Content-Length: {value}\r\n\r\n{EVIL}"
        yield f"length {value!r} of a GET", f"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\n{EVIL}"
    chunked = f"{post}Transfer-Encoding: chunked\r\n\r\n"
    size = f"{len(EVIL):x}"
    for body in [f"0x{size}\r\n{EVIL}\r\n0\r\n\r\n", f"+{size}\r\n{EVIL}\r\n0\r\n\r\n", f" {size}\r\n{EVIL}\r\n0\r\n\r\n",
                 f"{size} \r\n{EVIL}\r\n0\r\n\r\n", f"{size}\n{EVIL}\n0\n\n", f"{size};\n{EVIL}\r\n0\r\n\r\n",
                 f"{size};a\rb\r\n{EVIL}\r\n0\r\n\r\n", f"10000000000000000{size}\r\n{EVIL}\r\n0\r\n\r\n",
                 f"00000000000000000{size}\r\n{EVIL}\r\n0\r\n\r\n", f"0;a=\"\r\n\r\n{EVIL}\"\r\n\r\n",
                 f"0;a=b\n\r\n{EVIL}", f"0\r\nContent-Length: 9\r\n\r\n{EVIL}", f"0\r\nX: a\n\n{EVIL}", f"0\r\n\n{EVIL}",
                 f"0\r\rx{EVIL}", f"5\r\nhello0\r\n\r\n{EVIL}", f"5\r\nhelloXX0\r\n\r\n{EVIL}", f"1_0\r\n{EVIL}"]:
        yield f"chunks {body[:24]!r}", chunked + body
    for head in ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\n\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                 "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
                 f"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n{length}\r\n",
                 f"{post}Expect: 100-continue\r\n{length}\r\n", f"{post}Connection: Content-Length\r\n{length}\r\n",
                 f"{post}Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n",
                 "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
                 "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\rGET /x HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
                 "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "GET / x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\r\nHost: a\r\n\r\n"]:
        yield f"head {head[:40]!r}", head + zero


def send(port, data):
    """Sends, and reads until nothing comes for a while."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        got = b""
        try:
            s.sendall(data)
            s.settimeout(0.1)
            while part := s.recv(65536):
                got += part
        except OSError:
            pass
        return got


def probe(port, n):
    """Another client's request, on a connection of its own: is it answered with its own body?"""
    body = b"probe %d" % n
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        s.sendall(b"POST /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        got = b""
        try:
            while part := s.recv(65536):
                got += part
        except OSError:
            pass
        return got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"\r\n\r\n" + body)


def wait(port):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise SystemExit("bad\tfront end\tit does not listen")


def run(name, front, relay):
    wait(front.port)
    stolen, count = [], 0
    for attack, data in attacks():
        count += 1
        send(front.port, data.encode("latin-1"))
        if not probe(front.port, count):
            stolen.append(attack)
    until = time.monotonic() + PATIENCE
    while front.passed() != relay.count() and time.monotonic() < until:
        time.sleep(0.1)
    passed, answered = front.passed(), relay.count()
    verdict = "ok" if passed == answered and passed >= count else "bad"
    print(f"{verdict}\t{name} before us\tof {count} attacks and as many probes it passed {passed} requests, answered were {answered}")
    print(f"{'bad' if stolen else 'ok'}\t{name}, other clients\t{'; '.join(stolen) or 'each got its own answer'}")


def main():
    name, port, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    folder.mkdir(exist_ok=True)
    # Who is told to end takes the front end along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    relay = Relay(port)
    front = {"nginx": Nginx, "haproxy": Haproxy}[name](folder, relay.port)
    process = subprocess.Popen(front.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        run(name, front, relay)
    finally:
        process.terminate()
        process.wait(PATIENCE)


main()
