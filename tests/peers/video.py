"""A video of two minutes in which every second shows its number: its file has an index, so that a browser can seek in it."""
import random
import sys

import av
import numpy

path = sys.argv[1]
dice = random.Random(1)
noise = [numpy.frombuffer(dice.randbytes(320 * 240 * 3), numpy.uint8).reshape(240, 320, 3) for _ in range(10)]
with av.open(path, 'w') as file:
    stream = file.add_stream('libvpx', rate=10)
    stream.width, stream.height, stream.pix_fmt = 320, 240, 'yuv420p'
    # Noise, which nothing compresses: the file is longer than what a browser fetches beforehand.
    stream.bit_rate = 4_000_000
    stream.options = {'g': '10', 'deadline': 'realtime', 'cpu-used': '8'}
    for n in range(1200):
        image = noise[n % 10].copy()
        image[:60, : 2 * (n // 10)] = 255
        for packet in stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')):
            file.mux(packet)
    for packet in stream.encode():
        file.mux(packet)
