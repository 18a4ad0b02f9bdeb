"""Raw requests to a server on loopback, with what must come back: probe.py PORT [NAME …], or probe.py count.

What is asked is asked of `http-peer mirror` (http_server.rs). Behind each request lies one more, for /behind. Where the
connection goes on it must be answered, and where it does not nothing may come any more, and the connection ends: an answer
too many is smuggling. Each request is sent whole, and again in two parts with a pause between them. Prints a verdict, a name
and what was seen.
"""
import asyncio
import sys

WAIT = 60  # seconds until an answer is given up: nothing here takes long, however busy the machine
PAUSE = 0.02  # seconds between two parts, so that they are read apart as a rule
SILENCE = 0.3  # seconds in which nothing may come to half a request
AT_ONCE = 24  # connections at a time
BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OPEN, CLOSED = True, False

cases = []


def case(name, raw, statuses, then, head=False):
    cases.append((name, raw if isinstance(raw, bytes) else raw.encode("latin-1"), statuses, then, head))


def good(name, raw):
    case(name, raw, [200], OPEN)


def bad(name, raw, status=400):
    case(name, raw, [status], CLOSED)


def line(text):
    return f"{text}\r\nHost: a\r\n\r\n"


def get(lines):
    return f"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"


def post(lines, body):
    return f"POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}"


def chunked(body, more=""):
    return post(f"Transfer-Encoding: chunked{more}", body)


# The first line (RFC 9112 §2.2, §2.3, §3).
good("GET", line("GET / HTTP/1.1"))
bad("no target", line("GET HTTP/1.1"))
bad("no version", line("GET /"))
bad("no version, a space", line("GET / "))
bad("a word behind the version", line("GET / HTTP/1.1 x"))
bad("a word before the method", line("Extra lineGET / HTTP/1.1"))
bad("a method with a comma", line("GE,T / HTTP/1.1"))
bad("CR alone ends the line", "GET / HTTP/1.1\rHost: a\r\n\r\n")
bad("LF alone ends the line", "GET / HTTP/1.1\nHost: a\r\n\r\n")
for version in ("HTTP/1", "HTTP/1.", "HTTP/1.10", "HTTP/ 1.1", "HTTP /1.1", "HTTQ/1.1", "HTTP/1,1", "HTTP/11", "HTTP/a.b"):
    bad(version, line(f"GET / {version}"))
for version in ("HTTP/3.0", "HTTP/9.9", "HTTP/0.9"):
    bad(version, line(f"GET / {version}"), 505)
good("a target of 8,000", line(f"GET /{'a' * 7999} HTTP/1.1"))
bad("a target of 100,000", line(f"GET /{'a' * 99999} HTTP/1.1"), 414)
bad("NUL in the target", line("GET /\0 HTTP/1.1"))
bad("DEL in the target", line("GET /\x7f HTTP/1.1"))
bad("UTF-8 that is too long in the target", line("GET /\xc0\xaf HTTP/1.1"))
good("percent-encoded NUL and CRLF", line("GET /%00%0d%0aX:%20y HTTP/1.1"))
bad("a user in the absolute form", line("GET http://u:p@a/ HTTP/1.1"))
bad("a fragment in the absolute form", line("GET http://a/#x HTTP/1.1"))
bad("an absolute form without a host", line("GET http:///x HTTP/1.1"))
good("an absolute form in capitals", line("GET HTTP://A/ HTTP/1.1"))
bad("a path without its slash", line("GET index.html HTTP/1.1"))
case("OPTIONS of all", line("OPTIONS * HTTP/1.1"), [204], OPEN)
case("OPTIONS with a body", "OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", [204], OPEN)
case("a method nobody knows", line("BREW / HTTP/1.1"), [405], OPEN)
bad("CONNECT without a port", line("CONNECT a HTTP/1.1"))
bad("CONNECT, not asked for", line("CONNECT a:1 HTTP/1.1"), 501)
bad("TRACE, not asked for", line("TRACE / HTTP/1.1"), 501)

# Host (RFC 9112 §3.2).
bad("no Host", "GET / HTTP/1.1\r\n\r\n")
for host in ("u@a", "a/b", "a b", "a, b", "a?b", "a#b", "[::1", "::1", "a:b", "http://a"):
    bad(f"Host: {host}", f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
for host in ("a:1", "[::1]", "[::1]:80", "127.0.0.1", "a%20b", "xn--a"):
    good(f"Host: {host}", f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
bad("two equal Host", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
bad("Host folded", "GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n")
bad("two Host, HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")

# Headers (RFC 9112 §5, RFC 9110 §5.5).
for char in "[]()<>@,;\\\"/?={} \t\x00\x07\x7f\xe9":
    bad(f"a name with {char!r}", get(f"X{char}Y: z\r\n"))
for char in "\x00\x01\x07\x08\x0b\x0c\x0e\x1b\x7f\r":
    bad(f"a value with {char!r}", get(f"X: y{char}z\r\n"))
good("a value with a tab and bytes above 0x7F", get("X: y\tz \xe9\r\n"))
good("a value of nothing", get("X:\r\nY: \r\nZ:\t\r\n"))
good("all that a name may have", get("!#$%&'*+-.^_`|~09aZ: y\r\n"))
bad("a line of spaces", get("X: y\r\n  \r\nZ: y\r\n"))
bad("a line without a colon", get("X y\r\n"))
bad("CR alone between lines", get("X: y\rZ: y\r\n"))
bad("CR alone at the end", get("X: y\r\n\rZ: y\r\n"))
good("100 lines", get("X: y\r\n" * 99))
bad("101 lines", get("X: y\r\n" * 100), 431)
bad("a name of 20,000", get(f"{'x' * 20000}: y\r\n"), 431)

# Lengths (RFC 9112 §6.2, §6.3).
for value in ("5a", "a", "5 5", "5,5", "5, 6", "-0", "-5", "+5", "5.0", "1e1", "0x5", "", '"5"', "５".encode().decode("latin-1")):
    bad(f"Content-Length: {value}", post(f"Content-Length: {value}", "hello"))
bad("a length of 100 digits", post(f"Content-Length: {'9' * 100}", ""))
bad("a length below zero that is too large", post(f"Content-Length: -{'9' * 30}", ""))
for value in ("5", "05", "5 ", "\t5", "  5\t"):
    good(f"Content-Length: {value!r}", post(f"Content-Length:{value}", "hello"))
good("a length of 00", post("Content-Length: 00", ""))
good("neither length nor coding", post("X: y", ""))
good("Content_Length is another name", post("Content-Length: 5\r\nContent_Length: 99", "hello"))
bad("two lengths", post("Content-Length: 5\r\nContent-Length: 6", "hello"))
bad("two lengths in other letters", post("Content-Length: 5\r\ncontent-LENGTH: 5", "hello"))
good("a body of GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
bad("more than is taken, told before", post("Content-Length: 99999999999", ""), 413)

# Transfer-Encoding (RFC 9112 §6.1).
whole = "5\r\nhello\r\n0\r\n\r\n"
good("Chunked", post("Transfer-Encoding: Chunked", whole))
good("a tab before chunked", post("Transfer-Encoding:\tchunked", whole))
good("chunked and a space", post("Transfer-Encoding: chunked ", whole))
good("Transfer_Encoding is another name", post("Content-Length: 5\r\nTransfer_Encoding: chunked", "hello"))
for value in ("chunked;q=1", "chunked, gzip", "chunked, identity", "chunked, chunked", "identity", "chunkedx", "'chunked'",
              "\x0bchunked", "\x0cchunked", "chunked\x00", "chu nked"):
    bad(f"Transfer-Encoding: {value!r}", post(f"Transfer-Encoding: {value}", whole))
bad("Transfer-Encoding folded", post("Transfer-Encoding:\r\n chunked", whole))
bad("gzip before chunked", post("Transfer-Encoding: gzip, chunked", whole), 501)
bad("two Transfer-Encoding", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", whole))
bad("in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + whole)

# Chunks (RFC 9112 §7.1).
for size in ("+5", "-5", "0x5", "5_0", " 5", "5 ", "\t5", "", "g", "5g", "5,", "5.", "FFFFFFFFFFFFFFFF0", "5;\x00", "5;a\rb", "5;a[=b"):
    bad(f"a chunk of {size!r}", chunked(f"{size}\r\nhello\r\n0\r\n\r\n"))
for size in ("5", "05", "0005", "5;a", "5;a=b", '5;a="b c"', "5;a=b;c=d"):
    good(f"a chunk of {size!r}", chunked(f"{size}\r\nhello\r\n0\r\n\r\n"))
good("chunks of A and a", chunked("A\r\nhellohello\r\na\r\nhellohello\r\n0\r\n\r\n"))
good("nothing but the last chunk", chunked("0\r\n\r\n"))
good("a last chunk of 000", chunked("000\r\n\r\n"))
bad("a chunk longer than its size", chunked("5\r\nhello!\r\n0\r\n\r\n"))
bad("a chunk without its end", chunked("5\r\nhello0\r\n\r\n"))
bad("a chunk that ends with LF", chunked("5\r\nhello\n0\r\n\r\n"))
bad("a size that ends with LF", chunked("5\nhello\r\n0\r\n\r\n"))
bad("a size that ends with CR", chunked("5\rhello\r\n0\r\n\r\n"))
bad("an end of LF", chunked("5\r\nhello\r\n0\r\n\n"))
bad("more than is taken, in a chunk", chunked("7FFFFFFF\r\nhello"), 413)
good("trailers", chunked("0\r\nX: y\r\nZ: y\r\n\r\n"))
good("trailers that would frame", chunked("0\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: b\r\n\r\n"))
bad("a trailer without a name", chunked("0\r\n: y\r\n\r\n"))
bad("a trailer that is folded", chunked("0\r\nX: y\r\n z\r\n\r\n"))
bad("a trailer that ends with LF", chunked("0\r\nX: y\n\r\n"))
bad("trailers of 5,000", chunked(f"0\r\nX: {'y' * 5000}\r\n\r\n"), 431)

# What could be read in two ways: one answer, and the end (RFC 9112 §11.2).
inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
for coding in ("chunked", " chunked", "chunked ", "Chunked", ",chunked", "chunked,", "xchunked", "identity", "chunked, chunked"):
    bad(f"a length and {coding!r}", post(f"Content-Length: {len(inner) + 5}\r\nTransfer-Encoding: {coding}", "0\r\n\r\n" + inner))
bad("a coding and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 4", f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"))
bad("two lengths and a request", post(f"Content-Length: {len(inner)}\r\nContent-Length: 0", inner))
bad("a length with a space before its colon", post(f"Content-Length : {len(inner)}", inner))
bad("a coding with a space before its colon", post("Transfer-Encoding : chunked", "0\r\n\r\n" + inner))
good("a request in a body", post(f"Content-Length: {len(inner)}", inner))
good("a request in a chunk", chunked(f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"))
case("a request behind a body", post("Content-Length: 0", inner), [200, 200], OPEN)
bad("a head that a body looks like", post(f"Content-Length: {len(inner)}x", inner))

# Connections, and what is asked of them (RFC 9112 §9, RFC 9110 §7.8, §9.3.2, §10.1.1).
case("three at once", line("GET /1 HTTP/1.1") * 3, [200, 200, 200], OPEN)
case("close", get("Connection: close\r\n"), [200], CLOSED)
case("close among others", get("Connection: TE, Close\r\n"), [200], CLOSED)
case("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", [200], CLOSED)
case("HTTP/1.0 that stays", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", [200], OPEN)
case("HTTP/1.0 that cannot upgrade", "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n", [200], CLOSED)
case("HEAD", line("HEAD / HTTP/1.1"), [200], OPEN, head=True)
good("an upgrade to the unknown", get("Connection: upgrade\r\nUpgrade: unknown/1\r\n"))
good("an upgrade to h2c", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"))
case("100-continue", post("Expect: 100-continue\r\nContent-Length: 5", ""), [100], OPEN)
bad("an expectation nobody knows", get("Expect: the-best\r\n"), 417)
good("an expectation without a body", get("Expect: 100-continue\r\n"))
bad("the beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
bad("the beginning of TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(256)) + b"\r\n\r\n")
good("an empty line before", "\r\n" + line("GET / HTTP/1.1"))
bad("a space before", " " + line("GET / HTTP/1.1"))


async def answers(reader, head):
    """The statuses of all answers until the end, each read by its length or its chunks."""
    statuses = []
    while first := await reader.readline():
        status, length, coding = int(first.split(b" ")[1]), 0, False
        while (text := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = text.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            coding |= name.lower() == b"transfer-encoding"
        statuses.append(status)
        if head and len(statuses) == 1:
            continue
        while coding and (size := int(await reader.readline(), 16)):
            await reader.readexactly(size + 2)
        await reader.readexactly(2 if coding else length)
    return statuses


async def meet(port, parts, head):
    """What comes back to these parts, sent with pauses between them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for i, part in enumerate(parts):
            if i:
                await asyncio.sleep(PAUSE)
            writer.write(part)
            try:
                await writer.drain()
            except ConnectionError:
                pass  # It has seen enough; what it answered is read all the same.
        return await answers(reader, head)
    finally:
        writer.close()


async def one(port, name, raw, statuses, then, head):
    behind = BEHIND
    want = statuses + [200] if then is OPEN else statuses
    if statuses == [100]:
        behind, want = b"hello" + BEHIND, [100, 200, 200]
    seen = []
    cut = len(raw) // 2
    for parts in ([raw + behind], [raw[:cut], raw[cut:] + behind]):
        if statuses == [100]:  # It is sent when it was asked for, so not together with the head.
            parts = [raw, behind]
        try:
            seen.append(await asyncio.wait_for(meet(port, parts, head), WAIT))
        except (asyncio.TimeoutError, OSError, EOFError, ValueError, IndexError) as error:
            seen.append(repr(error))
    tell(name, seen[0] if seen[0] != want else seen[1], want)


async def waits(port, raw, cut):
    """Half a request is answered by nothing, and goes on when the rest comes."""
    seen = "nothing was answered"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw[:cut])
        try:
            seen = await asyncio.wait_for(reader.read(1), SILENCE)
        except asyncio.TimeoutError:
            writer.write(raw[cut:] + BEHIND)
            seen = await asyncio.wait_for(answers(reader, False), WAIT)
    except (asyncio.TimeoutError, OSError, EOFError, ValueError, IndexError) as error:
        seen = repr(error)
    finally:
        writer.close()
    tell(f"the first {cut} bytes wait", seen, [200, 200])


def tell(name, seen, want):
    text = " ".join(map(str, seen)) if isinstance(seen, list) else str(seen)
    verdict = "ok" if seen == want else "bad"
    more = "" if seen == want else f", wanted {' '.join(map(str, want))}"
    print(verdict, name.encode("unicode_escape").decode(), text + more, sep="\t")


async def main(port, names):
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(work):
        async with gate:
            await work

    works = [one(port, *row) for row in cases if not names or row[0] in names]
    if not names:
        works += [waits(port, half, cut) for cut in range(1, len(half))]
    await asyncio.gather(*map(gated, works))


half = post("Content-Length: 5", "hello").encode()
if sys.argv[1] == "count":
    print(len(cases) + len(half) - 1)
else:
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
