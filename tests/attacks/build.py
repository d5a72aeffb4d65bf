"""What hostile files are built of, and the list of them (:data:`ATTACKS`).

An attack is a function that gives the bytes of a file, or writes files into the folder it is given:

    @attack("m.pt")
    def name() -> bytes:
        \"\"\"What the file does.\"\"\"
        return torch_zip(table(w=tensor("0", 6, (2, 3), (3, 1))), {"0": bytes(24)})
"""

from __future__ import annotations

import functools
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#: What hostile code would leave behind, in the folder in which the command runs.
RUN = "echo hello > canary"
KB, MB = 1 << 10, 1 << 20
#: What bombs inflate to: several times of what any file may take.
BOMB = 300 * MB


@dataclass(frozen=True)
class Attack:
    """A file called ``file``, what it does, and how ``lstm-rt convert`` is to end (0 or 2)."""

    file: str
    about: str
    write: Callable[[Path], None]
    arch: str = ""
    exits: tuple[int, ...] = (2,)


ATTACKS: dict[str, Attack] = {}


def attack(file: str, arch: str = "", exits: tuple[int, ...] = (2,)) -> Callable[[Callable[..., Any]], Any]:
    """Add a function to the list; ``exits`` where the file is to be read in spite of what it holds."""

    def add(build: Callable[..., Any]) -> Callable[..., Any]:
        def write(folder: Path) -> None:
            data = build(folder) if build.__code__.co_argcount else build()
            if data is not None:
                (folder / file).write_bytes(data)

        assert build.__name__ not in ATTACKS
        ATTACKS[build.__name__] = Attack(file, build.__doc__ or "", write, arch, exits)
        return build

    return add


# -- arrays ----------------------------------------------------------------------------------------


def npy(data: bytes, shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """An array as NumPy writes it; the shape may lie."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


# -- pickles -----------------------------------------------------------------------------------------


def obj(value: Any) -> bytes:
    """Opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def call(name: str, *args: bytes) -> bytes:
    """Opcodes that call a global."""
    module, _, function = name.rpartition(".")
    return b"c" + f"{module}\n{function}\n".encode() + b"(" + b"".join(args) + b"tR"


def table(**items: bytes) -> bytes:
    """Opcodes that push a dictionary."""
    return b"}(" + b"".join(obj(k) + v for k, v in items.items()) + b"u"


def memo(n: int) -> tuple[bytes, bytes]:
    """Opcodes that remember the top of the stack, and push it again."""
    return b"r" + struct.pack("<I", n), b"j" + struct.pack("<I", n)


def storage(key: str, numel: Any, kind: str = "FloatStorage") -> bytes:
    return b"(" + obj("storage") + f"ctorch\n{kind}\n".encode() + obj(key) + obj("cuda:0") + obj(numel) + b"tQ"


def tensor(key: str, numel: Any, shape: Any, stride: Any, offset: Any = 0, kind: str = "FloatStorage") -> bytes:
    args = (storage(key, numel, kind), obj(offset), obj(shape), obj(stride), obj(False), obj({}))
    return call("torch._utils._rebuild_tensor_v2", *args)


def pickled_tensor() -> bytes:
    """Opcodes that push a tensor as ``pickle.dump`` writes it: its storage is a file of its own."""
    inner = torch_legacy(storage("0", 6), {"0": (6, SIX)})
    numbers = call("torch.storage._load_from_bytes", b"B" + struct.pack("<I", len(inner)) + inner)
    rest = (obj(0), obj((2, 3)), obj((3, 1)), obj(False), obj({}))
    return call("torch._utils._rebuild_tensor_v2", numbers, *rest)


def module(cls: str, parameters: bytes = b"}", modules: bytes = b"}", **attrs: bytes) -> bytes:
    """Opcodes that push a pickled ``torch.nn.Module``."""
    path, _, name = cls.rpartition(".")
    state = table(_parameters=parameters, _buffers=b"}", _modules=modules, **attrs)
    return b"c" + f"{path}\n{name}\n".encode() + b")\x81" + state + b"b"


LINEAR = "torch.nn.modules.linear.Linear"
SEQUENTIAL = "torch.nn.modules.container.Sequential"


def torch_zip(body: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """What ``torch.save`` writes."""
    return zipped({"m/data.pkl": b"\x80\x02" + body + b".", "m/byteorder": b"little"}
                  | {f"m/data/{k}": v for k, v in (storages or {}).items()}, method)  # fmt: skip


def torch_legacy(body: bytes, storages: dict[str, tuple[int, bytes]] | None = None) -> bytes:
    """What ``torch.save`` wrote before version 1.6."""
    storages = storages or {}
    head = LEGACY_MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    tail = b"".join(struct.pack("<q", n) + data for n, data in storages.values())
    return head + b"\x80\x02" + body + b"." + pickle.dumps(list(storages), 2) + tail


SIX = struct.pack("<6f", *range(6))
WEIGHT = tensor("0", 6, (2, 3), (3, 1))
#: An architecture that fits ``WEIGHT`` called w.weight.
DENSE = '[[input]]\nname = "x"\nkind = "vec"\n[[layer]]\nop = "dense"\nweights = "w"\n'


# -- zip archives ------------------------------------------------------------------------------------


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in entries.items():
            z.writestr(name, data)
    return out.getvalue()


@functools.cache
def deflated(byte: bytes, count: int) -> tuple[bytes, int]:
    """``byte * count`` deflated, without making it, and its checksum."""
    packer, crc, block = zlib.compressobj(9, zlib.DEFLATED, -15), 0, byte * MB
    parts = []
    for _ in range(count // MB):
        parts.append(packer.compress(block))
        crc = zlib.crc32(block, crc)
    return b"".join([*parts, packer.flush()]), crc


@dataclass(frozen=True)
class Entry:
    """An entry of an archive, free to lie: about its size, its checksum, and where it lies."""

    name: str
    raw: bytes
    size: int
    crc: int = 0
    method: int = zipfile.ZIP_DEFLATED
    at: int | None = None  #: of another entry's local header
    flags: int = 0


def lying_zip(entries: list[Entry]) -> bytes:
    body, central = b"", b""
    for e in entries:
        name, at = e.name.encode(), e.at
        common = struct.pack("<HHHHHIIIHH", 20, e.flags, e.method, 0, 33, e.crc, len(e.raw), e.size, len(name), 0)
        if at is None:
            at = len(body)
            body += b"PK\3\4" + common + name + e.raw
        central += b"PK\1\2\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, at) + name
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(central), len(body), 0)
    return body + central + b"PK\5\6" + end


def stored(name: str, data: bytes, at: int | None = None) -> Entry:
    return Entry(name, data, len(data), zlib.crc32(data), zipfile.ZIP_STORED, at)


# -- JSON and safetensors ----------------------------------------------------------------------------


def safetensors(header: Any, body: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}
