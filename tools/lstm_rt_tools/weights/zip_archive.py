"""Zip archives read without trusting what they say of themselves."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from .budget import Budget

#: How an archive begins that is not empty.
ZIP_MAGIC = b"PK\x03\x04"
#: What Python's zipfile raises on damaged archives.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    ValueError,
    OSError,
    OverflowError,
    struct.error,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
)
_LOCAL = struct.Struct("<4s22xHH")  #: magic, lengths of the name and of the extra field behind the header
_ENCRYPTED = 1
_BYTES_PER_STEP = 250  #: that are inflated and summed up


class ZipArchive:
    """The entries of a zip archive in memory.

    Args:
        data: the whole archive.
        what: its name, for messages.
        budget: of the file; inflated entries and checksums are charged to it.

    Raises:
        ConvertError: damaged or truncated.
    """

    def __init__(self, data: bytes | memoryview, what: str, budget: Budget) -> None:
        self.what = what
        self._data = memoryview(data)
        self._budget = budget
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                self._entries = {i.filename: i for i in archive.infolist()}
        except ZIP_ERRORS as e:
            raise ConvertError(
                f"{what}: damaged or truncated zip archive ({shown(str(e))}); expected a complete one"
            ) from None

    @property
    def names(self) -> list[str]:
        """Names of the entries, in the archive's order."""
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> memoryview:
        """The bytes of an entry: of one that is stored a view, of one that is compressed a copy.

        Raises:
            ConvertError: missing, damaged, encrypted, not as long as it claims, larger than the budget
                allows, or compressed by a method other than deflate.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise ConvertError(f"{self.what}: {shown(name)} is missing from the archive; it has {listed(self.names)}")
        raw = self._raw(entry)
        self._budget.steps(max(len(raw), entry.file_size) // _BYTES_PER_STEP)
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            raw = self._inflated(entry, raw)
        elif entry.compress_type != zipfile.ZIP_STORED:
            raise self._damage(entry, f"is compressed by method {entry.compress_type}, only deflate is read")
        if len(raw) != entry.file_size or zlib.crc32(raw) != entry.CRC:
            raise self._damage(entry, "is damaged (its length or checksum is wrong)")
        return raw

    def _raw(self, entry: zipfile.ZipInfo) -> memoryview:
        """The bytes as they lie in the archive."""
        if entry.flag_bits & _ENCRYPTED:
            raise self._damage(entry, "is encrypted")
        at = entry.header_offset
        if not 0 <= at <= len(self._data) - _LOCAL.size:
            raise self._damage(entry, "lies outside the archive")
        magic, name_size, extra_size = _LOCAL.unpack_from(self._data, at)
        start = at + _LOCAL.size + name_size + extra_size
        if magic != b"PK\x03\x04" or entry.compress_size > len(self._data) - start:
            raise self._damage(entry, "is damaged (it does not lie where the archive says)")
        return self._data[start : start + entry.compress_size]

    def _inflated(self, entry: zipfile.ZipInfo, raw: memoryview) -> memoryview:
        # The claim is charged first and bounds what is inflated: neither needs to be true.
        self._budget.memory(2 * entry.file_size, f"inflating {shown(entry.filename)}")
        try:
            return memoryview(zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, entry.file_size + 1))
        except zlib.error as e:
            raise self._damage(entry, f"is damaged ({e})") from None

    def _damage(self, entry: zipfile.ZipInfo, text: str) -> ConvertError:
        return ConvertError(f"{self.what}: {shown(entry.filename)} in the archive {text}")
