# An echo server by socketify, whose server is uWebSockets: prints its port, and runs until it is ended.
import os
import socket
import sys

from socketify import App, CompressOptions

MOST = 64 * 1024 * 1024


def port():
    """One that nobody has just now: the server says its own only behind our back."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def told(config):
    os.write(1, f"{config.port}\n".encode())


app = App()
app.ws("/*", {
    "compression": CompressOptions.DISABLED,
    "max_payload_length": MOST,
    "max_backpressure": MOST,
    "message": lambda ws, message, opcode: ws.send(message, opcode),
})
app.listen({"host": "127.0.0.1", "port": port()}, told)
sys.stdout = open(os.devnull, "w")
app.run()
