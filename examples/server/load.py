"""Many clients on one server: how long they wait, and that each gets the bits that a stream alone would give.

    python examples/server/load.py keyword.lrt --clients 500 --seconds 20

Each client sends chunks of rows as fast as sound comes, and waits for the results. Some leave early, and others join in
their place; some send without ever reading, and have to be dropped. Then the server is asked to stop.
Needs websockets >= 14.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket as sockets
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import lstm_rt

SERVER = Path(__file__).resolve().parent / "server.py"
ROWS, RATE = 6, 62.5  #: rows of a chunk; rows that a client has in a second


@dataclass
class Tally:
    """What the clients have seen."""

    waits: list[float] = field(default_factory=list)  # seconds from a chunk to its result
    compared: int = 0
    different: int = 0
    dropped: int = 0


async def client(url: str, model: Any, seed: int, chunks: int, tally: Tally) -> None:
    """One stream of ``chunks`` chunks; at the end its results are compared with a stream of this process."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(chunks * ROWS, model.inputs[0].size)).astype(np.float32)
    got = []
    async with connect(url, compression=None) as socket:
        start = time.perf_counter()
        for k, chunk in enumerate(np.split(rows, chunks)):
            await asyncio.sleep(start + k * ROWS / RATE - time.perf_counter())
            sent = time.perf_counter()
            await socket.send(chunk.tobytes())
            got.append(await socket.recv())
            tally.waits.append(time.perf_counter() - sent)
    tally.compared += 1
    tally.different += model.stream().feed(rows).tobytes() != b"".join(got)


async def place(url: str, model: Any, seed: int, chunks: int, tally: Tally) -> None:
    """A place that is always taken: by one client, or by two that follow one another."""
    rng = np.random.default_rng(seed)
    await asyncio.sleep(rng.uniform(0, ROWS / RATE))  # clients do not beat in time
    first = int(rng.integers(1, chunks)) if seed % 2 else chunks
    for part, n in enumerate((first, chunks - first)):
        if n:
            await client(url, model, 2 * seed + part, n, tally)


async def deaf(url: str, model: Any, tally: Tally) -> None:
    """Sends and sends, and reads nothing."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    where = urlsplit(url)
    await asyncio.get_running_loop().sock_connect(raw, (where.hostname, where.port))
    chunk = np.zeros((32, model.inputs[0].size), np.float32).tobytes()
    async with connect(url, sock=raw, compression=None, max_queue=1, ping_interval=None) as socket:
        try:
            while True:
                await socket.send(chunk)
        except ConnectionClosed:
            pass
    tally.dropped += 1


async def run(path: str, clients: int, seconds: float, deafs: int) -> int:
    model = lstm_rt.load(path, threads=1)
    command = [sys.executable, str(SERVER), path, "--port", "0", "--streams", str(clients + deafs)]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    url = (await server.stdout.readline()).decode().strip()
    tally = Tally()
    slow = [asyncio.create_task(deaf(url, model, tally)) for _ in range(deafs)]
    chunks = max(2, round(seconds * RATE / ROWS))
    await asyncio.gather(*(place(url, model, seed, chunks, tally) for seed in range(clients)))
    await asyncio.wait_for(asyncio.gather(*slow), 60)
    metrics = await asyncio.to_thread(urllib.request.urlopen, url.replace("ws:", "http:") + "/metrics")
    print(metrics.read().decode(), end="")

    last = asyncio.create_task(client(url, model, 0, 10_000, Tally()))  # one that is there when the server stops
    await asyncio.sleep(0.5)
    server.send_signal(signal.SIGTERM)
    said, code = (await server.stdout.read()).decode().strip(), await server.wait()
    goodbye = (await asyncio.gather(last, return_exceptions=True))[0]
    polite = isinstance(goodbye, ConnectionClosed) and goodbye.rcvd is not None and goodbye.rcvd.code == 1001
    print(said)

    waits = np.sort(tally.waits) * 1000
    shown = ", ".join(f"{name} {waits[int(share * (len(waits) - 1))]:.1f}" for name, share in SHARES.items())
    print(f"{clients} clients at once, {tally.compared} in all")
    print(f"{len(waits)} chunks of {ROWS} rows; milliseconds from chunk to result: {shown}")
    print(f"{tally.compared - tally.different} of {tally.compared} clients got the bits of a stream alone")
    print(f"{tally.dropped} of {deafs} clients that do not read were dropped; the server stopped with code {code}")
    return int(tally.different > 0 or tally.dropped != deafs or code != 0 or not polite)


SHARES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "most": 1.0}


def main() -> int:
    """Returns 1 if a result differs, a client that does not read was kept, or the server did not stop well."""
    parser = argparse.ArgumentParser(description="Puts load on the example server.")
    parser.add_argument("model", help="an .lrt file")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--deaf", type=int, default=3, help="clients that never read")
    options = parser.parse_args()
    return asyncio.run(run(options.model, options.clients, options.seconds, options.deaf))


if __name__ == "__main__":
    sys.exit(main())
