"""`loopwork get` on a terminal: get-terminal.py PROGRAM. Prints lines of `ok` or `bad`, a name, and what was seen."""

import os
import pty
import select
import socket
import sys
import tempfile
import threading
import time

SIZE = 1_000_000


def serve(listener, mode):
    """Sends a body in two halves; the second one only when it is to be whole."""
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n'
            try:
                peer.sendall(head.encode() + b'x' * (SIZE // 2))
                time.sleep(0.3)
                if mode['whole']:
                    peer.sendall(b'x' * (SIZE // 2))
                else:
                    peer.recv(1)
            except OSError:
                pass


def run(program, words, typed=None):
    """Its exit code, and all that the terminal showed. `typed` is typed when something is there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(program, [program, 'get', *words])
    shown, end = b'', time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        if typed and b'[' in shown:
            os.write(terminal, typed)
            typed = None
    else:
        os.kill(pid, 9)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown


def main():
    program = sys.argv[1]
    listener = socket.create_server(('127.0.0.1', 0))
    mode = {'whole': True}
    threading.Thread(target=serve, args=(listener, mode), daemon=True).start()
    url = f'http://127.0.0.1:{listener.getsockname()[1]}/'

    def say(name, fine, seen):
        print('ok' if fine else 'bad', name, seen, sep='\t')

    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'out')
        code, shown = run(program, ['-o', out, url])
        size = os.path.getsize(out)
        fine = code == 0 and size == SIZE and b'100% [====' in shown and shown.endswith(b'\n')
        say('a bar', fine, f'{code}, {len(shown)} bytes, {size} in the file')
        code, shown = run(program, ['-#', '-o', out, url])
        say('a plain bar', code == 0 and b'####' in shown and b'[=' not in shown, code)
        for word in ['-s', '--no-progress-meter']:
            code, shown = run(program, [word, '-o', out, url])
            say(f'no bar with {word}', (code, shown) == (0, b''), f'{code}, {len(shown)} bytes')
        code, shown = run(program, [url])
        say('no bar in the body', (code, len(shown)) == (0, SIZE), f'{code}, {len(shown)} bytes')
        code, shown = run(program, ['--timing', '-so', out, url])
        lines = shown.decode().splitlines()
        fine = code == 0 and len(lines) == 5 and '\u2588' in lines[-1] and max(map(len, lines)) <= 80
        say('--timing draws bars', fine, f'{code}, {len(lines)} lines')
        mode['whole'] = False
        code, shown = run(program, ['-o', out, url], b'\x03')
        say('^C', code == 130 and shown.endswith(b'\n'), f'{code}, {shown[-60:]}')


main()
