"""Python's websockets: `client URL` against our echo server, or `server`, which prints its port and ends after a minute."""
import asyncio
import sys

import websockets


def tell(name, seen, wanted):
    print("ok" if seen == wanted else "bad", name, seen, sep="\t", flush=True)


async def client(url):
    async with websockets.connect(url, compression=None, max_size=None) as socket:
        for message in ["hello", "你好", b"\x01" * 200, "x" * 70_000, b"\x02" * (1 << 20)]:
            await socket.send(message)
            same = await asyncio.wait_for(socket.recv(), 10) == message
            tell(f"websockets, {type(message).__name__} of {len(message)}", str(same), "True")
        await socket.send(["in ", "three ", "fragments"])
        tell("websockets, fragments", await socket.recv(), "in three fragments")
        await asyncio.wait_for(await socket.ping(b"p"), 10)
        tell("websockets, pong", "came", "came")
        await socket.close(1000, "done")
        tell("websockets, close", f"{socket.close_code} {socket.close_reason}", "1000 done")


async def server():
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, compression=None) as listener:
        print(listener.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(60)


asyncio.run(client(sys.argv[2]) if sys.argv[1] == "client" else server())
