"""Files in and out: only regular files are read, and what is written appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import BinaryIO, NamedTuple, TypeAlias

PathLike: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Buffer: TypeAlias = "bytes | memoryview"

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a disk"),
)


class ReadFile(NamedTuple):
    """A file that :func:`open_regular` has opened."""

    name: str
    status: os.stat_result


_record: ContextVar[list[ReadFile] | None] = ContextVar("_record", default=None)


@contextlib.contextmanager
def record_reads() -> Iterator[list[ReadFile]]:
    """The list of the files that :func:`open_regular` opens inside the block, in order, each once."""
    reads: list[ReadFile] = []
    token = _record.set(reads)
    try:
        yield reads
    finally:
        _record.reset(token)


# -- reading ----------------------------------------------------------------------------------------


class Limit(NamedTuple):
    """The most bytes that a kind of file may have, and the words for it in messages."""

    bytes: int
    why: str


def open_regular(path: PathLike, limit: Limit | None = None) -> BinaryIO:
    """Open a regular file for reading, in binary.

    Anything else could be waited for without end (a pipe that nobody writes to), be endless, or do
    something by being opened.

    Raises:
        OSError: there is no such file, it cannot be read, it is a folder, pipe, device or socket, or
            larger than ``limit``.
    """
    name = os.fsdecode(path)
    _check_regular(os.stat(name), name)  # before opening, which is an act for some devices
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    fd = os.open(name, flags)  # never waits, whatever has come into the file's place since
    try:
        status = os.fstat(fd)
        _check_regular(status, name)
        if limit is not None and status.st_size > limit.bytes:
            most = f"has {status.st_size:,} bytes, expected at most {limit.bytes:,}: {limit.why}"
            raise OSError(errno.EFBIG, most, name)
        file = os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise
    reads = _record.get()
    if reads is not None and not any(os.path.samestat(r.status, status) for r in reads):
        reads.append(ReadFile(name, status))
    return file


def read_regular(path: PathLike, limit: Limit | None = None) -> bytes:
    """All bytes of a regular file; errors as :func:`open_regular`."""
    with open_regular(path, limit) as f:
        return f.read(os.fstat(f.fileno()).st_size)


def _check_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    raise OSError(errno.EINVAL, f"is {_kind(status)}, expected a regular file", name)


def _kind(status: os.stat_result) -> str:
    return next((text for is_kind, text in _KINDS if is_kind(status.st_mode)), "no regular file")


# -- writing ----------------------------------------------------------------------------------------


def write_atomically(
    path: PathLike, data: Buffer | Iterable[Buffer], waits: Callable[[], None] | None = None
) -> None:
    """``path`` holds ``data`` afterwards, or is as it was and an OSError is raised.

    Symbolic links are followed: the file that they lead to is replaced, in its own folder. A file that
    was there keeps its mode and attributes, and its owner and group where the system allows it; other
    hard links to it keep its old content. A new file has the mode that the umask leaves. Pipes and
    character devices, such as ``/dev/null``, are written to and stay what they are.

    Args:
        path: the file.
        data: its new content, or pieces of it.
        waits: called before a pipe is waited for that nobody reads from yet.

    Raises:
        OSError: it cannot be written, or is a folder, disk or socket.
    """
    name = os.fsdecode(path)
    pieces = [data] if isinstance(data, (bytes, memoryview)) else data
    try:
        old = status_to_write(name)
        target = os.path.realpath(name)
        if old is None or (stat.S_ISREG(old.st_mode) and _is(target, old)):
            _replace(target, pieces, old)
        else:
            with os.fdopen(_open_special(name, old, waits), "wb") as f:
                f.writelines(pieces)
    except OSError as e:
        raise OSError(e.errno, e.strerror, name) from None


def status_to_write(path: PathLike) -> os.stat_result | None:
    """What ``os.stat`` says of a file that :func:`write_atomically` could write; None for a new one.

    Raises:
        OSError: it is a folder, disk or socket, or a file that must not be written.
    """
    name = os.fsdecode(path)
    try:
        status = os.stat(name)
    except FileNotFoundError:
        return None
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise OSError(errno.EINVAL, f"is {_kind(status)}, which is never written to", name)
    if not os.access(name, os.W_OK):  # a folder that may be written would let it be replaced all the same
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    return status


def _open_special(name: str, status: os.stat_result, waits: Callable[[], None] | None) -> int:
    if waits is not None and stat.S_ISFIFO(status.st_mode):
        try:
            fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as e:
            if e.errno != errno.ENXIO:
                raise
            waits()
        else:  # kept: a reader would take the closing of a first descriptor for the end
            os.set_blocking(fd, True)
            return fd
    return os.open(name, os.O_WRONLY)


def _is(name: str, status: os.stat_result) -> bool:
    """Does the name lead to that file? What is open as /dev/fd/N may have no name."""
    try:
        return os.path.samestat(os.stat(name), status)
    except OSError:
        return False


def _replace(target: str, pieces: Iterable[Buffer], old: os.stat_result | None) -> None:
    temporary = os.path.join(os.path.dirname(target), f".lstm-rt-{os.urandom(8).hex()}.part")
    # What replaces a private file is private from the beginning.
    mode = 0o666 if old is None else 0o600
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(fd, "wb") as f:
            f.writelines(pieces)
            if old is not None:  # a crash of the system must not leave an empty file in its place
                f.flush()
                os.fsync(f.fileno())
        if old is not None:
            _keep_attributes(temporary, target, old)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _keep_attributes(temporary: str, target: str, old: os.stat_result) -> None:
    """Owner, group, mode, access lists and extended attributes of ``target``, as far as allowed."""
    import shutil

    new = os.stat(temporary)
    if new.st_uid != old.st_uid:
        with contextlib.suppress(OSError):
            os.chown(temporary, old.st_uid, -1)
    if new.st_gid != old.st_gid:
        with contextlib.suppress(OSError):
            os.chown(temporary, -1, old.st_gid)
    shutil.copystat(target, temporary)
    if os.stat(temporary).st_gid != old.st_gid:  # what that group could do, another must not
        os.chmod(temporary, stat.S_IMODE(old.st_mode) & ~0o2070)
    os.utime(temporary)
