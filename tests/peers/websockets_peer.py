"""Python's websockets: `client URL HOW…` against our echo server, or `server HOW`, which prints its port and ends after a
minute. HOW is plain or deflate."""
import asyncio
import sys

import websockets


def tell(name, seen, wanted):
    print("ok" if seen == wanted else "bad", name, seen, sep="\t", flush=True)


async def client(url, compression):
    kind = compression or "plain"
    async with websockets.connect(url, compression=compression, max_size=None) as socket:
        agreed = [type(extension).__name__ for extension in socket.protocol.extensions]
        tell(f"websockets, {kind}, extensions", str(agreed), "['PerMessageDeflate']" if compression else "[]")
        for message in ["hello", "你好", b"\x01" * 200, "x" * 70_000, b"\x02" * (1 << 20)]:
            await socket.send(message)
            same = await asyncio.wait_for(socket.recv(), 10) == message
            tell(f"websockets, {kind}, {type(message).__name__} of {len(message)}", str(same), "True")
        await socket.send(["in ", "three ", "fragments"])
        tell(f"websockets, {kind}, fragments", await socket.recv(), "in three fragments")
        await asyncio.wait_for(await socket.ping(b"p"), 10)
        tell(f"websockets, {kind}, pong", "came", "came")
        await socket.close(1000, "done")
        tell(f"websockets, {kind}, close", f"{socket.close_code} {socket.close_reason}", "1000 done")


async def server(compression):
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, compression=compression) as listener:
        print(listener.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(60)


if sys.argv[1] == "client":
    for how in sys.argv[3:]:
        asyncio.run(client(sys.argv[2], None if how == "plain" else how))
else:
    asyncio.run(server(None if sys.argv[2] == "plain" else sys.argv[2]))
