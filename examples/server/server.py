"""Serves a model that streams to many clients at once, over WebSocket: one stream each, all of them stepped together.

    lstm-rt convert examples/keywords/keyword.onnx
    python examples/server/server.py keyword.lrt --streams 512

A client sends binary messages of float32 rows, one for each step of its stream (little endian, as many features as the
model reads), and gets a message with as many rows of the model's output for each. ``GET /metrics`` says how it goes.
Needs websockets >= 14.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http
import signal
import socket as sockets
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import lstm_rt

WAITING = 64  #: rows of a client that may wait for their step; while there are more, nothing is read from it
UNREAD = 32  #: results that may wait until a client takes them; one that leaves more behind is dropped
MESSAGE = 1 << 16  #: most bytes of a message
PATIENCE = 5.0  #: seconds that clients have for what is left when the server stops
GOODBYE = 2.0  #: seconds that a client has to take the reason why it is dropped
SEND_BUFFER = 1 << 16  #: bytes that the system keeps for a client, so that a slow one shows itself

# Why connections are closed; the numbers are those of RFC 6455 and its registry.
GOING_AWAY, NOT_BINARY, WRONG_ROWS, TOO_SLOW, TRY_LATER = 1001, 1003, 1007, 1008, 1013


@dataclass
class Client:
    """A connection and its stream."""

    socket: ServerConnection
    key: int
    inbox: deque[np.ndarray] = field(default_factory=deque)  # messages that wait; of the first, some rows may be done
    done: int = 0
    waiting: int = 0  # rows in the inbox that are not done
    result: np.ndarray | None = None  # of the first message
    outbox: deque[bytes] = field(default_factory=deque)
    room: asyncio.Event = field(default_factory=asyncio.Event)  # fewer than WAITING rows wait
    results: asyncio.Event = field(default_factory=asyncio.Event)  # there is something in the outbox
    sending: bool = False
    dropped: bool = False


class Server:
    """All streams of one model. Everything happens on one event loop: a step is shorter than a wait for a thread."""

    def __init__(self, model: Any, capacity: int) -> None:
        if not model.can_stream or [p.kind for p in (*model.inputs, *model.outputs)] != ["seq", "seq"]:
            raise SystemExit("the model has to stream, from one sequence to one")
        self.features, self.gives = model.inputs[0].size, model.outputs[0].size
        self.group = model.streams(capacity, threads=1)
        self.clients: dict[int, Client] = {}
        self.x = np.empty((capacity, self.features), np.float32)
        self.y = np.empty((capacity, self.gives), np.float32)
        self.work = asyncio.Event()
        self.stopping = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.counts = dict.fromkeys(("joined", "left", "refused", "dropped", "invalid", "rows", "steps"), 0)
        self.seconds = 0.0

    # -- one client ---------------------------------------------------------------------------------

    async def serve_client(self, socket: ServerConnection) -> None:
        """From joining to leaving."""
        if self.stopping or len(self.clients) == self.group.capacity:
            self.counts["refused"] += 1
            await socket.close(TRY_LATER, "all streams are in use" if not self.stopping else "the server stops")
            return
        raw = socket.transport.get_extra_info("socket")
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, SEND_BUFFER)
        client = Client(socket, self.group.join())
        client.room.set()
        self.clients[client.key] = client
        self.counts["joined"] += 1
        sender = asyncio.create_task(self.send(client))
        try:
            with contextlib.suppress(ConnectionClosed):
                await self.receive(client)
        finally:
            sender.cancel()
            del self.clients[client.key]
            self.group.leave(client.key)
            self.counts["left"] += 1

    async def receive(self, client: Client) -> None:
        """Messages into the inbox. Where that is full nothing is read, so that TCP slows the client down."""
        async for message in client.socket:
            rows = self.rows_of(message)
            if isinstance(rows, str):
                self.counts["invalid"] += 1
                await client.socket.close(NOT_BINARY if isinstance(message, str) else WRONG_ROWS, rows)
                return
            await client.room.wait()
            if client.dropped or self.stopping:
                continue  # until the connection is closed
            client.inbox.append(rows)
            client.waiting += len(rows)
            if client.waiting >= WAITING:
                client.room.clear()
            self.work.set()

    def rows_of(self, message: str | bytes) -> np.ndarray | str:
        """The rows of a message, or what is wrong with it."""
        row = 4 * self.features
        if isinstance(message, str):
            return "expected a binary message"
        if not message or len(message) % row:
            return f"expected float32 rows of {self.features}, so a multiple of {row} bytes; got {len(message)}"
        rows = np.frombuffer(message, "<f4").reshape(-1, self.features)
        return rows if np.isfinite(rows).all() else "expected finite numbers"

    async def send(self, client: Client) -> None:
        """Results from the outbox, as fast as the client takes them."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.results.wait()
                client.sending = True
                while client.outbox:
                    await client.socket.send(client.outbox.popleft())
                client.sending = False
                client.results.clear()

    def drop(self, client: Client) -> None:
        """Say goodbye to a client that does not take its results; what it still waits for is not computed."""
        client.dropped = True
        client.inbox.clear()
        client.outbox.clear()
        client.room.set()
        self.counts["dropped"] += 1
        task = asyncio.create_task(close(client.socket, TOO_SLOW, f"more than {UNREAD} results were not taken"))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # -- all of them --------------------------------------------------------------------------------

    async def step_all(self) -> None:
        """Whoever has a row takes a step, in one batch; again and again."""
        while True:
            await self.work.wait()
            ready = [c for c in self.clients.values() if c.inbox and not c.dropped]
            if ready:
                self.step(ready)
            else:
                self.work.clear()
            await asyncio.sleep(0)  # others may have sent rows meanwhile: they join the next step

    def step(self, ready: list[Client]) -> None:
        n = len(ready)
        for k, client in enumerate(ready):
            self.x[k] = client.inbox[0][client.done]
        start = time.perf_counter()
        self.group.step(self.x[:n], keys=[c.key for c in ready], out=self.y[:n])
        self.seconds += time.perf_counter() - start
        self.counts["steps"] += 1
        self.counts["rows"] += n
        for k, client in enumerate(ready):
            self.put_result(client, self.y[k])

    def put_result(self, client: Client, row: np.ndarray) -> None:
        """One row of the result; the last one of a message sends it off."""
        if client.result is None:
            client.result = np.empty((len(client.inbox[0]), self.gives), "<f4")
        client.result[client.done] = row
        client.done += 1
        client.waiting -= 1
        if client.waiting < WAITING:
            client.room.set()
        if client.done == len(client.result):
            client.inbox.popleft()
            client.outbox.append(client.result.tobytes())
            client.results.set()
            client.result, client.done = None, 0
            if len(client.outbox) > UNREAD:
                self.drop(client)

    # -- from outside -------------------------------------------------------------------------------

    def http(self, socket: ServerConnection, request: Any) -> Any:
        """Answers ``GET /metrics`` in the text format of Prometheus; all else goes on to be a WebSocket."""
        if request.path != "/metrics":
            return None
        waiting = sum(c.waiting for c in self.clients.values())
        lines = [f"lstm_rt_streams {len(self.clients)}", f"lstm_rt_rows_waiting {waiting}"]
        lines += [f"lstm_rt_{name}_total {count}" for name, count in self.counts.items()]
        lines += [f"lstm_rt_step_seconds_total {self.seconds:.6f}"]
        return socket.respond(http.HTTPStatus.OK, "\n".join(lines) + "\n")

    async def finish(self) -> None:
        """Let clients have the results of what they have sent, then close."""
        self.stopping = True
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and any(c.inbox or c.outbox or c.sending for c in self.clients.values()):
            await asyncio.sleep(0.01)
        closing = [close(c.socket, GOING_AWAY, "the server stops") for c in list(self.clients.values())]
        await asyncio.gather(*closing, *self.tasks)


async def close(socket: ServerConnection, code: int, why: str) -> None:
    """Say why, and hang up on a client that does not take even that."""
    try:
        await asyncio.wait_for(socket.close(code, why), GOODBYE)
    except asyncio.TimeoutError:
        socket.transport.abort()


async def run(model: Any, host: str, port: int, streams: int) -> None:
    """Until SIGINT or SIGTERM."""
    server, stop = Server(model, streams), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stepping = asyncio.create_task(server.step_all())
    options = {"process_request": server.http, "max_size": MESSAGE, "max_queue": 4, "compression": None}
    async with serve(server.serve_client, host, port, close_timeout=GOODBYE, **options) as listening:
        print(f"ws://{host}:{listening.sockets[0].getsockname()[1]}", flush=True)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, stepping], return_when=asyncio.FIRST_COMPLETED)
        if stepping.done():
            stepping.result()  # what went wrong
        listening.close(close_connections=False)  # nobody new
        await server.finish()
    stepping.cancel()
    print("stopped: " + ", ".join(f"{count} {name}" for name, count in server.counts.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves a model that streams, over WebSocket.")
    parser.add_argument("model", help="an .lrt file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0: one that is free")
    parser.add_argument("--streams", type=int, default=512, help="most clients at once")
    options = parser.parse_args()
    asyncio.run(run(lstm_rt.load(options.model), options.host, options.port, options.streams))


if __name__ == "__main__":
    main()
