"""The example server: what clients get, who is dropped or refused, and how it stops."""

from __future__ import annotations

import asyncio
import importlib
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import EXAMPLES

import lstm_rt

pytest.importorskip("websockets")
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

ROW = 5
SERVER = str(EXAMPLES / "server" / "server.py")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.lrt"
    rng = np.random.default_rng(0)
    w = [rng.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in ((21, ROW), (21, 7), (21,), (21,))]
    lstm_rt.GRU(*w).save(str(path))
    return str(path)


Stop = Callable[[], None]


def serving(model: str, streams: int, use: Callable[[str, Stop], Awaitable[None]]) -> str:
    """Starts a server, lets ``use`` talk to it, stops it if ``use`` has not; returns what it said."""

    async def all_of_it() -> str:
        command = [sys.executable, SERVER, model, "--port", "0", "--streams", str(streams)]
        server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert server.stdout is not None
        try:
            url = (await server.stdout.readline()).decode().strip()
            stopped = []

            def stop() -> None:
                stopped.append(server.send_signal(signal.SIGTERM))

            await use(url, stop)
            if not stopped:
                stop()
            said = (await server.stdout.read()).decode()
            assert await server.wait() == 0
            return said
        finally:
            if server.returncode is None:
                server.kill()
                await server.wait()

    return asyncio.run(asyncio.wait_for(all_of_it(), 120))


def rows(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, ROW)).astype(np.float32)


async def code_of(socket: Any, got: list[bytes] | None = None) -> tuple[int, str]:
    """How the server closes the connection, behind the results that are put into ``got``."""
    try:
        while True:
            result = await socket.recv()
            if got is not None:
                got.append(result)
    except ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason


def test_load(model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Clients that come and go get the bits of single streams, some that do not read are dropped, it stops politely."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "server"))
    load = importlib.import_module("load")
    code = asyncio.run(load.run(model, clients=12, seconds=0.5, deafs=1))
    said = capsys.readouterr().out
    assert code == 0, said
    assert "lstm_rt_dropped_total 1\n" in said
    assert "18 of 18 clients got the bits" in said


def test_a_message_of_many_rows(model: str) -> None:
    """However rows come in messages."""
    x = rows(500)
    got: list[bytes] = []

    async def use(url: str, stop: Stop) -> None:
        async with connect(url) as socket:
            for first, last in ((0, 1), (1, 300), (300, 302), (302, 500)):
                await socket.send(x[first:last].tobytes())
            got.extend([await socket.recv() for _ in range(4)])

    serving(model, 4, use)
    assert [len(part) // 28 for part in got] == [1, 299, 2, 198]
    assert b"".join(got) == lstm_rt.load(model).stream().feed(x).tobytes()


@pytest.mark.parametrize(
    ("message", "code", "why"),
    [
        ("text", 1003, "expected a binary message"),
        (b"", 1007, "multiple of 20 bytes; got 0"),
        (b"1234567890", 1007, "multiple of 20 bytes; got 10"),
        (np.full((2, ROW), np.nan, np.float32).tobytes(), 1007, "expected finite numbers"),
        (bytes(1 << 17), 1009, ""),
    ],
)
def test_wrong_messages(model: str, message: str | bytes, code: int, why: str) -> None:
    """Close the connection that they came on, with a reason; others go on."""

    async def use(url: str, stop: Stop) -> None:
        async with connect(url) as good, connect(url) as bad:
            await bad.send(message)
            closed, said = await code_of(bad)
            assert (closed, why in said) == (code, True), said
            await good.send(rows(3).tobytes())
            assert await good.recv() == lstm_rt.load(model).stream().feed(rows(3)).tobytes()

    said = serving(model, 4, use)
    assert "2 joined, 2 left" in said


def test_full(model: str) -> None:
    """One client too many is told so; when another has left there is room."""

    async def use(url: str, stop: Stop) -> None:
        async with connect(url) as first:
            await first.send(rows(1).tobytes())
            await first.recv()
            async with connect(url) as second:
                assert await code_of(second) == (1013, "all streams are in use")
        async with connect(url) as third:
            await third.send(rows(1).tobytes())
            await third.recv()
        metrics = await asyncio.to_thread(urllib.request.urlopen, url.replace("ws:", "http:") + "/metrics")
        assert "lstm_rt_refused_total 1\n" in metrics.read().decode()

    assert "2 joined, 2 left, 1 refused" in serving(model, 1, use)


def test_stops_behind_the_last_result(model: str) -> None:
    """What it has read before it stops is answered, then the connection is closed with the reason."""
    x = rows(30)
    got: list[bytes] = []

    async def use(url: str, stop: Stop) -> None:
        async with connect(url) as socket:
            for part in np.split(x, 10):
                await socket.send(part.tobytes())
            got.append(await socket.recv())
            stop()
            assert await code_of(socket, got) == (1001, "the server stops")

    said = serving(model, 4, use)
    assert f"{3 * len(got)} rows" in said
    assert lstm_rt.load(model).stream().feed(x).tobytes().startswith(b"".join(got))


def test_a_model_that_cannot_stream(tmp_path: Path) -> None:
    def u(*shape: int) -> np.ndarray:
        return np.ones(shape, np.float32)

    path = str(tmp_path / "model.lrt")
    lstm_rt.LSTM([u(8, 3)] * 2, [u(8, 2)] * 2, bidirectional=True).save(path)
    command = [sys.executable, SERVER, path, "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "the model has to stream, from one sequence to one\n")
