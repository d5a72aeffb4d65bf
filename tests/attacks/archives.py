"""Attacks by zip archives: sizes that lie, entries that overlap, archives in archives."""

from __future__ import annotations

import zipfile

from .build import (  # isort: skip
    BOMB, DENSE, KB, MB, RUN, SIX, WEIGHT, Entry, attack, call, deflated, lying_zip, npy, obj, stored, table, tensor,
    torch_zip, zipped,
)  # fmt: skip


@attack("m.pt")
def entry_claims_little() -> bytes:
    """data.pkl claims 1,000 bytes and inflates to 300 MB."""
    raw, crc = deflated(b"N", BOMB)
    return lying_zip([Entry("m/data.pkl", raw, 1000, crc)])


@attack("m.pt")
def entry_is_large() -> bytes:
    """data.pkl says truly that it inflates to 300 MB."""
    raw, crc = deflated(b"N", BOMB)
    return lying_zip([Entry("m/data.pkl", raw, BOMB, crc)])


@attack("m.pt")
def entry_of_dictionaries() -> bytes:
    """40 MB of empty dictionaries in 40 KB."""
    return zipped({"m/data.pkl": b"\x80\x02](" + b"}" * (40 * MB) + b"e."})


@attack("m.pt", arch=DENSE)
def storage_claims_little() -> bytes:
    """A storage of 24 bytes that inflates to 300 MB."""
    raw, crc = deflated(b"\0", BOMB)
    tree = b"\x80\x02" + table(**{"w.weight": WEIGHT}) + b"."
    return lying_zip([stored("m/data.pkl", tree), Entry("m/data/0", raw, 24, crc)])


@attack("m.pt")
def entries_that_overlap() -> bytes:
    """2,000 storages that are all the same 0.8 MB of the file."""
    numel = 200_000

    def weight(i: int) -> bytes:
        return obj(f"w{i}") + tensor(str(i), numel, (numel,), (1,))

    tree = b"\x80\x02}(" + b"".join(weight(i) for i in range(2000)) + b"u."
    first = stored("m/data/0", bytes(4 * numel))
    tree_entry = stored("m/data.pkl", tree)
    crc = first.crc
    rest = [Entry(f"m/data/{i}", b"", 4 * numel, crc, zipfile.ZIP_STORED, at=0) for i in range(1, 2000)]
    # Only the central directory tells the length; what it says is what is read.
    return _with_size(lying_zip([first, *rest, tree_entry]), 4 * numel)


def _with_size(data: bytes, size: int) -> bytes:
    """Let every entry without bytes of its own claim ``size`` compressed bytes."""
    out, at = bytearray(data), int.from_bytes(data[-6:-2], "little")
    while data[at : at + 4] == b"PK\1\2":
        if data[at + 20 : at + 24] == bytes(4):
            out[at + 20 : at + 24] = size.to_bytes(4, "little")
        name = int.from_bytes(data[at + 28 : at + 30], "little")
        at += 46 + name
    return bytes(out)


@attack("m.pt")
def many_entries() -> bytes:
    """15,000 empty entries."""
    return lying_zip([stored(str(i), b"") for i in range(9_000)])


@attack("m.pt")
def names_of_entries() -> bytes:
    """Entries with names of 60 KB, control characters in them."""
    return lying_zip([stored(f"\x1b[2J{i}" + "n" * (60 * KB), b"") for i in range(7)])


@attack("m.pt")
def entry_outside_the_archive() -> bytes:
    """A local header that should lie behind the end."""
    return lying_zip([Entry("m/data.pkl", b"", 10, 0, zipfile.ZIP_STORED, at=0xFFFFFFF0), stored("x", b"x")])


@attack("m.pt")
def encrypted_entry() -> bytes:
    """An entry that asks for a password."""
    return lying_zip([Entry("m/data.pkl", b"x" * 20, 8, 0, zipfile.ZIP_STORED, flags=1)])


@attack("m.pt")
def exotic_compression() -> bytes:
    """A bomb by bzip2, of which no size is known before it is inflated."""
    return zipped({"m/data.pkl": b"\x80\x02" + b"N" * (30 * MB) + b"."}, zipfile.ZIP_BZIP2)


@attack("m.pt")
def a_directory_that_lies() -> bytes:
    """The central directory claims to be longer than the file."""
    data = bytearray(torch_zip(table(w=WEIGHT), {"0": SIX}))
    data[-10:-6] = b"\xff\xff\xff\x7f"
    return bytes(data)


@attack("m.pt")
def archives_in_archives() -> bytes:
    """20 archives in each other, each a .pth file."""
    data = torch_zip(table(w=WEIGHT), {"0": SIX})
    for _ in range(20):
        data = zipped({"m.pth": data}, zipfile.ZIP_STORED)
    return data


@attack("m.pt")
def many_models_in_an_archive() -> bytes:
    """5,000 .pth files that are all the same 200 KB of the file, a dictionary in every byte."""
    model = torch_zip(b"](" + b"}" * (200 * KB) + b"e", {})
    first = stored("0.pth", model)
    rest = [Entry(f"{i}.pth", b"", len(model), first.crc, zipfile.ZIP_STORED, at=0) for i in range(1, 5000)]
    return _with_size(lying_zip([first, *rest]), len(model))


@attack("policy.zip", arch=DENSE, exits=(0,))
def hostile_neighbour_in_an_archive() -> bytes:
    """A model in an archive, with a call beside its weights."""
    tree = table(**{"w.weight": WEIGHT, "evil": call("os.system", obj(RUN))})
    return zipped({"policy.pth": torch_zip(tree, {"0": SIX}), "data": b"{"}, zipfile.ZIP_STORED)


@attack("m.keras")
def keras_config_claims_little() -> bytes:
    """config.json of a .keras file claims 1,000 bytes and inflates to 300 MB."""
    raw, crc = deflated(b"[", BOMB)
    rest = [stored("metadata.json", b"{}"), stored("model.weights.h5", b"")]
    return lying_zip([Entry("config.json", raw, 1000, crc), *rest])


@attack("m.keras")
def keras_config_of_tables() -> bytes:
    """config.json is 100 MB of empty tables: seven gigabytes of objects."""
    text = b"[" + b"{}," * (33 * MB) + b"{}]"
    return zipped({"config.json": text, "metadata.json": b"{}", "model.weights.h5": b""})


@attack("m.keras")
def keras_config_of_small_tables() -> bytes:
    """The same, small enough to be inflated."""
    text = b"[" + b'{"a":0},' * MB + b"{}]"
    return zipped({"config.json": text, "metadata.json": b"{}", "model.weights.h5": b""})


@attack("m.keras")
def keras_weights_claim_little() -> bytes:
    """model.weights.h5 claims 1,000 bytes and inflates to 300 MB."""
    raw, crc = deflated(b"\0", BOMB)
    return lying_zip([stored("config.json", b"{}"), stored("metadata.json", b'{"keras_version": "3.0.0"}'),
                      Entry("model.weights.h5", raw, 1000, crc)])  # fmt: skip


@attack("m.npz", arch=DENSE)
def npz_of_a_terabyte() -> bytes:
    """An array that says it has 2^40 numbers, and has six."""
    return zipped({"w.weight.npy": npy(SIX, (1 << 20, 1 << 20))})


@attack("m.npz", arch=DENSE)
def npz_that_inflates() -> bytes:
    """An array of 300 MB in 300 KB."""
    raw, crc = deflated(b"\0", BOMB)
    return lying_zip([Entry("w.weight.npy", raw, BOMB, crc)])


@attack("m.npz")
def npz_of_many_arrays() -> bytes:
    """9,000 arrays of one number, and a draft of their wiring is asked for."""
    return zipped({f"l{i}.weight.npy": npy(SIX[:4], (1, 1)) for i in range(9_000)})


@attack("m.npz", arch=DENSE, exits=(0,))
def npz_with_a_pickle() -> bytes:
    """An array of objects whose pickle runs a command, beside good weights."""
    evil = npy(b"\x80\x02" + call("os.system", obj(RUN)) + b".", (1,), "|O")
    return zipped({"w.weight.npy": npy(SIX, (2, 3)), "num_batches_tracked.npy": evil})


@attack("m.npz", arch=DENSE)
def npz_header_of_code() -> bytes:
    """A header that a careless reader would evaluate."""
    header = f"__import__('os').system('{RUN}')".encode()
    return zipped({"w.weight.npy": b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header})


@attack("m.npz", arch=DENSE)
def npz_header_that_goes_back_and_forth() -> bytes:
    """A shape for which a regular expression would try much."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1, " * 3000 + b"x"
    return zipped({"w.weight.npy": b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header})
