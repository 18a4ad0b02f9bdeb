"""Python `websockets` as the other side: an echo server, or a client that tries one."""

import asyncio
import os
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

LARGEST = 2 << 20


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def server():
    async with serve(echo, "127.0.0.1", 0, max_size=LARGEST, subprotocols=["echo"]) as running:
        host, port = running.sockets[0].getsockname()
        print(f"listening on ws://{host}:{port}", flush=True)
        await running.serve_forever()


async def client(url):
    print("websockets", websockets.__version__)
    async with connect(url, max_size=LARGEST, compression=None) as socket:
        for size in [0, 1, 125, 126, 127, 65535, 65536, 70000, 1 << 20]:
            for message in ["ü" * (size // 2), os.urandom(size)]:
                await socket.send(message)
                assert await socket.recv() == message, size
        # In fragments, with a Ping between.
        async def parts():
            for part in ["a", "ü", "", "c"]:
                yield part
                await (await socket.ping())
        await socket.send(parts())
        assert await socket.recv() == "aüc"
        await socket.close(4321, "bye")
        print("closed", socket.close_code, repr(socket.close_reason))
        assert socket.close_code == 4321
    # What the peer's compression offer gets: declined, and it works.
    async with connect(url, compression="deflate") as socket:
        assert socket.protocol.extensions == []
        await socket.send("plain")
        assert await socket.recv() == "plain"
    print("an echo of all")


asyncio.run(server() if sys.argv[1] == "server" else client(sys.argv[2]))
