"""Small good files changed at random, in a way that keeps their structure: opcodes, trees of JSON, words of tables."""

from __future__ import annotations

import io
import json
import lzma
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress

Rng = random.Random

SHORT_OPCODES = [bytes([op]) for op in b"20(tRb\x81eus\x85\x94Q"]
NUMBERS = (0, 1, -1, 2, 255, 256, 65535, 1 << 20, 1 << 31, (1 << 31) - 1, (1 << 63) - 1)


def change_bytes(data: bytes, rng: Rng) -> bytes:
    """Some bytes changed, dropped or repeated."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(out) or 1)
        kind = rng.randrange(4)
        if kind == 0 and out:
            out[at] = rng.randrange(256)
        elif kind == 1:
            del out[at : at + rng.choice((1, 4, 30))]
        elif kind == 2:
            out[at:at] = out[at : at + rng.choice((1, 4, 30))] * rng.choice((1, 3, 50))
        else:
            out[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS) & 0xFFFFFFFF)
    return bytes(out)


def change_pickle(data: bytes, rng: Rng) -> bytes:
    """Some opcodes dropped, repeated, swapped, or replaced by others of the file."""
    ops = _opcodes(data)
    for _ in range(rng.choice((1, 2, 4))):
        at, other = rng.randrange(len(ops)), rng.randrange(len(ops))
        kind = rng.randrange(6)
        if kind == 0:
            del ops[at]
        elif kind == 1:
            ops[at:at] = ops[at : at + rng.randrange(1, 12)] * rng.choice((1, 2, 40))
        elif kind == 2:
            ops[at], ops[other] = ops[other], ops[at]
        elif kind == 3:
            ops.insert(at, ops[other])
        elif kind == 4:
            ops.insert(at, rng.choice(SHORT_OPCODES))
        elif len(ops[at]) > 1:
            ops[at] = change_bytes(ops[at], rng)
    return b"".join(ops)


def _opcodes(data: bytes) -> list[bytes]:
    starts = [at for _, _, at in pickletools.genops(data)]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def change_json(value: object, rng: Rng) -> object:
    """Some values of a tree replaced by others, or by what is not expected there."""
    places = list(_places(value))
    for _ in range(rng.choice((1, 1, 2, 4))):
        holder, key = rng.choice(places)
        if (isinstance(holder, list) and key >= len(holder)) or (isinstance(holder, dict) and key not in holder):
            continue  # went with another change
        kind = rng.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = rng.choice([None, True, "", "x", -1, 0, 2, 1e308, 1 << 31, 10**30, [], {}, [[]], "\x1b"])
        elif kind == 2:
            other, name = rng.choice(places)
            if not isinstance(other, list) or name < len(other):
                holder[key] = json.loads(json.dumps(other[name])) if isinstance(other, list) or name in other else 0
        elif kind == 3 and isinstance(holder, list):
            holder.append(json.loads(json.dumps(holder[key])))
        elif kind == 4 and isinstance(holder, dict):
            holder[rng.choice(("x", "weights", "module", "layer", key + "_"))] = json.loads(json.dumps(holder[key]))
    return value


def _places(value: object) -> list[tuple[object, object]]:
    out: list[tuple[object, object]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        out += [(value, key), *_places(below)]
    return out


def change_words(data: bytes, rng: Rng) -> bytes:
    """Some words, as sizes and addresses are, changed, or replaced by others of the file or by places in it."""
    out = bytearray(data)
    words = [at for at in range(0, len(data) - 8, 8) if any(data[at : at + 8])]
    for _ in range(rng.choice((1, 2, 3))):
        at, other = rng.choice(words), rng.choice(words)
        kind = rng.randrange(3)
        if kind == 0:
            out[at + rng.randrange(8)] = rng.randrange(256)
        elif kind == 1:
            out[at : at + 8] = data[other : other + 8]
        else:
            out[at : at + 8] = other.to_bytes(8, "little")
    return bytes(out)


def change_text(text: str, rng: Rng) -> str:
    """Some lines or words of a program dropped, repeated, or replaced by others of it."""
    parts = re.split(r"(\n)" if rng.random() < 0.3 else r"(\W)", text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind = rng.randrange(4)
        if kind == 0:
            parts[at] = ""
        elif kind == 1:
            parts[at] *= rng.choice((2, 30))
        elif kind == 2:
            parts[at] = parts[other]
        else:
            parts[at] = rng.choice(("0", "-1", "9223372036854775807", "x", "None", "[", ")", "inf", "\0"))
    return "".join(parts)


def change_protobuf(data: bytes, rng: Rng) -> bytes:
    """A field of a message, or of one in it, dropped, repeated, swapped, or with another number.

    Raises:
        ValueError: these bytes are no message.
    """
    fields = list(_fields(data))
    if not fields:
        raise ValueError("no fields")
    at, other = rng.randrange(len(fields)), rng.randrange(len(fields))
    tag, value = fields[at]
    if tag & 7 == 2 and rng.random() < 0.75:
        try:
            value = change_protobuf(value, rng)
        except ValueError:
            value = change_bytes(value, rng)
        fields[at] = (tag, value)
    else:
        kind = rng.randrange(5)
        if kind == 0:
            del fields[at]
        elif kind == 1:
            fields[at:at] = [fields[at]] * rng.choice((1, 2, 40))
        elif kind == 2:
            fields[at], fields[other] = fields[other], fields[at]
        elif kind == 3:
            fields[at] = (tag, fields[other][1]) if tag & 7 == fields[other][0] & 7 else fields[other]
        elif tag & 7 == 0:
            fields[at] = (tag, _varint(rng.choice(NUMBERS) & 0xFFFFFFFFFFFFFFFF))
    return b"".join(_varint(t) + (_varint(len(v)) if t & 7 == 2 else b"") + v for t, v in fields)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and values of a message; varints as they stand."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind, start = tag & 7, at
        if kind == 0:
            at = _read_varint(data, at)[1]
        elif kind == 2:
            size, start = _read_varint(data, at)
            at = start + size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("an unknown kind of field")
        if at > len(data) or not tag >> 3:
            raise ValueError("no message")
        yield tag, data[start:at]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    n = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        n |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return n, at
    raise ValueError("no number")


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def change_archive(data: bytes, rng: Rng, sound: tuple[str, ...] = ()) -> bytes:
    """An entry of a zip archive changed as its kind is, dropped, or called as another is; checksums are right.

    Args:
        sound: ends of the names of entries whose bytes stay.

    Raises:
        ValueError, zipfile.BadZipFile: no such archive.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > 1 << 20:
            raise ValueError("far more than it was")
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at, kind = rng.randrange(len(entries)), rng.randrange(12)
    name, content = entries[at]
    if kind == 0:
        del entries[at]
    elif kind == 1:
        entries[at] = (rng.choice(entries)[0], content)
    elif not name.endswith(sound):
        entries[at] = (name, change_file(content, rng))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def change_safetensors(data: bytes, rng: Rng) -> bytes:
    """The header of a safetensors file changed as JSON is.

    Raises:
        ValueError, struct.error: it has none.
    """
    (size,) = struct.unpack_from("<Q", data)
    header = json.dumps(change_json(json.loads(data[8 : 8 + size]), rng)).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def change_file(data: bytes, rng: Rng, sound: tuple[str, ...] = ()) -> bytes:
    """A file changed as what it looks like, or else byte by byte; ``sound`` as in :func:`change_archive`."""
    if rng.random() < 0.9:
        with suppress(ValueError, LookupError, OverflowError, struct.error, *_ZIP_ERRORS):
            return change_archive(data, rng, sound) if data.startswith(b"PK") else _change_alike(data, rng)
    return change_bytes(data, rng)


_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error, lzma.LZMAError)


def _change_alike(data: bytes, rng: Rng) -> bytes:
    if data.startswith(b"\x80\x02"):
        return change_pickle(data, rng)
    if data.lstrip()[:1] in (b"{", b"["):
        return json.dumps(change_json(json.loads(data), rng)).encode()
    if data[8:9] == b"{":
        return change_safetensors(data, rng)
    if b"class " in data:
        return change_text(data.decode(), rng).encode()
    return change_protobuf(data, rng) if data[:1] == b"\x08" else change_bytes(data, rng)
