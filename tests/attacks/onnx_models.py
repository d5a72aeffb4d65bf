"""Attacks by ONNX files, written byte by byte as protocol buffers: no library makes most of them."""

from __future__ import annotations

import struct
from pathlib import Path

from .build import MB, attack

# -- protocol buffers --------------------------------------------------------------------------------


def varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def number(field: int, n: int) -> bytes:
    return varint(field << 3) + varint(n)


def piece(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def integer(name: str, n: int) -> bytes:
    return piece(5, piece(1, name) + number(3, n) + number(20, 2))


def inner(name: str, graph: bytes) -> bytes:
    """An attribute that holds a graph."""
    return piece(5, piece(1, name) + piece(6, graph) + number(20, 5))


def node(op: str, inputs: list[str], outputs: list[str], *attributes: bytes, domain: str = "") -> bytes:
    return (
        b"".join(piece(1, i) for i in inputs) + b"".join(piece(2, o) for o in outputs) + piece(4, op)
        + b"".join(attributes) + (piece(7, domain) if domain else b"")
    )  # fmt: skip


def value(name: str, dims: list[int | str], code: int = 1) -> bytes:
    shape = b"".join(piece(1, piece(2, d) if isinstance(d, str) else number(1, d)) for d in dims)
    return piece(1, name) + piece(2, piece(1, number(1, code) + piece(2, shape)))


def tensor(name: str, dims: list[int], raw: bytes, code: int = 1) -> bytes:
    return b"".join(number(1, d) for d in dims) + number(2, code) + piece(8, name) + piece(9, raw)


def ints(name: str, *values: int) -> bytes:
    return tensor(name, [len(values)], struct.pack(f"<{len(values)}q", *values), 7)


def graph(nodes: list[bytes], inputs: list[bytes], outputs: list[str], stored: list[bytes] = []) -> bytes:  # noqa: B006
    return (
        b"".join(piece(1, n) for n in nodes) + piece(2, "g") + b"".join(piece(5, t) for t in stored)
        + b"".join(piece(11, i) for i in inputs) + b"".join(piece(12, piece(1, o)) for o in outputs)
    )  # fmt: skip


def model(g: bytes, version: int = 17, functions: list[bytes] = []) -> bytes:  # noqa: B006
    head = number(1, 8) + piece(2, "x") + piece(7, g) + piece(8, number(2, version))
    return head + piece(8, piece(1, "me") + number(2, 1)) + b"".join(piece(25, f) for f in functions)


X = value("x", ["N", 3])
SEQ = value("x", ["T", "N", 3])
RELU = graph([node("Relu", ["x"], ["y"])], [X], ["y"])
LSTM_STORED = [tensor("W", [1, 8, 3], bytes(96)), tensor("R", [1, 8, 2], bytes(64))]
LSTM = model(graph([node("LSTM", ["x", "W", "R"], ["Y", "H"], integer("hidden_size", 2))], [SEQ], ["H"], LSTM_STORED))
#: Shape arithmetic, a product and a softmax.
RESHAPING = [
    node("Shape", ["x"], ["s"]), node("Gather", ["s", "two"], ["f"]),
    node("Concat", ["minus", "f"], ["to"], integer("axis", 0)), node("Reshape", ["x", "to"], ["r"]),
    node("MatMul", ["r", "w"], ["p"]), node("Softmax", ["p"], ["y"], integer("axis", 1)),
]  # fmt: skip
RESHAPING_STORED = [ints("two", 2), ints("minus", -1), tensor("w", [3, 2], bytes(24))]

# -- bytes -------------------------------------------------------------------------------------------


@attack("m.onnx")
def onnx_of_nothing() -> bytes:
    """A version, and no more."""
    return b"\x08\x08"


@attack("m.onnx")
def onnx_of_empty_nodes() -> bytes:
    """5 MB of nodes of no bytes."""
    return model(piece(1, b"") * (5 * MB // 2))


@attack("m.onnx")
def onnx_of_empty_names() -> bytes:
    """A node with 2,500,000 inputs without names."""
    return model(graph([piece(1, b"") * (5 * MB // 2) + piece(2, "y") + piece(4, "Sum")], [X], ["y"]))


@attack("m.onnx")
def onnx_of_unknown_fields() -> bytes:
    """900 KB of fields that no message has."""
    return number(1, 8) + piece(2, "x") + number(99, 0) * 300_000


@attack("m.onnx")
def onnx_truncated() -> bytes:
    """A good file without its last bytes."""
    return LSTM[:-40]


@attack("m.onnx")
def onnx_length_of_an_exabyte() -> bytes:
    """A graph that says it is larger than all files."""
    return number(1, 8) + piece(2, "x") + varint(7 << 3 | 2) + varint(1 << 60) + RELU


@attack("m.onnx")
def onnx_number_without_end() -> bytes:
    """A number of a thousand bytes."""
    return number(1, 8) + piece(2, "x") + b"\x40" + b"\xff" * 1000


@attack("m.onnx")
def onnx_nested_graphs() -> bytes:
    """60,000 graphs in each other."""
    g = RELU
    for _ in range(400):
        g = graph([node("If", ["x"], ["y"], inner("then_branch", g), inner("else_branch", b""))], [], ["y"])
    return model(g)


@attack("m.onnx")
def onnx_unpacked_numbers() -> bytes:
    """A tensor of 200,000 floats, each a field of its own."""
    stored = number(1, 200_000) + number(2, 1) + piece(8, "w") + (varint(4 << 3 | 5) + bytes(4)) * 200_000
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], ["y"], [stored]))


@attack("m.onnx")
def onnx_names_that_act() -> bytes:
    """Names that would act upon a terminal."""
    name = "\x1b[2J\nevil\u202e"
    return model(graph([node(name, ["x"], ["y"], domain=name)], [X], ["y"]))


@attack("m.onnx")
def onnx_names_of_no_text() -> bytes:
    """A name that is no UTF-8."""
    return model(graph([piece(1, b"\xff\xfe") + piece(2, "y") + piece(4, "Relu")], [X], ["y"]))


# -- graphs ------------------------------------------------------------------------------------------


@attack("m.onnx")
def onnx_circle() -> bytes:
    """Nodes that need each other."""
    return model(graph([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])], [X], ["b"]))


@attack("m.onnx")
def onnx_long_chain_backwards() -> bytes:
    """20,000 nodes, the last one first."""
    nodes = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in reversed(range(20_000))]
    return model(graph(nodes, [value("v0", ["N", 3])], ["v20000", "nothing"]))


@attack("m.onnx")
def onnx_names_twice() -> bytes:
    """Two nodes that give one name."""
    return model(graph([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])], [X], ["y"]))


@attack("m.onnx")
def onnx_doubling() -> bytes:
    """A known tensor, joined to itself 60 times."""
    nodes = [node("Concat", [f"v{i}"] * 2, [f"v{i + 1}"], integer("axis", 0)) for i in range(60)]
    return model(graph([*nodes, node("Add", ["x", "v60"], ["y"])], [X], ["y"], [tensor("v0", [1024], bytes(4096))]))


@attack("m.onnx")
def onnx_expand_to_much() -> bytes:
    """A number spread to 2^60 numbers."""
    nodes = [node("Expand", ["one", "sizes"], ["big"]), node("Add", ["x", "big"], ["y"])]
    return model(graph(nodes, [X], ["y"], [tensor("one", [1], bytes(4)), ints("sizes", 1 << 30, 1 << 30)]))


@attack("m.onnx")
def onnx_expand_to_a_gigabyte() -> bytes:
    """A number spread to as many numbers as one value may have, then changed ten times."""
    nodes = [node("Expand", ["one", "sizes"], ["v0"])]
    nodes += [node("Abs", [f"v{i}"], [f"v{i + 1}"]) for i in range(10)]
    stored = [tensor("one", [1], bytes(4)), ints("sizes", 1 << 27)]
    return model(graph([*nodes, node("Add", ["x", "v10"], ["y"])], [X], ["y"], stored))


@attack("m.onnx")
def onnx_range_of_much() -> bytes:
    """A range to 10^15."""
    nodes = [node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"])]
    ends = (("a", 0), ("b", 10**15), ("c", 1))
    stored = [number(2, 7) + piece(8, n) + piece(9, struct.pack("<q", v)) for n, v in ends]
    return model(graph(nodes, [X], ["y"], stored))


@attack("m.onnx")
def onnx_tile_of_much() -> bytes:
    """An input repeated 2^40 times."""
    return model(graph([node("Tile", ["x", "r"], ["y"])], [X], ["y"], [ints("r", 1, 1 << 40)]))


@attack("m.onnx")
def onnx_resize_to_much() -> bytes:
    """Steps made 10,000,000 times as many."""
    scales = tensor("s", [3], struct.pack("<3f", 1, 1e7, 1))
    return model(graph([node("Resize", ["x", "", "s"], ["y"])], [value("x", ["N", "T", 3])], ["y"], [scales]))


@attack("m.onnx")
def onnx_transposed_convolution_of_much() -> bytes:
    """3,000,000 zeros between the steps."""
    strides = piece(5, piece(1, "strides") + number(8, 3_000_000) + number(20, 7))
    nodes = [node("ConvTranspose", ["x", "w"], ["y"], strides)]
    return model(graph(nodes, [value("x", ["N", 3, "T"])], ["y"], [tensor("w", [3, 2, 3], bytes(72))]))


@attack("m.onnx")
def onnx_asks_for_many_steps() -> bytes:
    """A shape that fits if there are 10,000,000 steps."""
    nodes = [node("Reshape", ["x", "to"], ["y"])]
    return model(graph(nodes, [value("x", ["N", "T", 3])], ["y"], [ints("to", -1, 10_000_000, 3)]))


@attack("m.onnx")
def onnx_input_of_much() -> bytes:
    """An input of 2^40 features."""
    return model(graph([node("Relu", ["x"], ["y"])], [value("x", ["N", 1 << 40])], ["y"]))


@attack("m.onnx")
def onnx_input_of_many_dimensions() -> bytes:
    """An input of 5,000 dimensions."""
    return model(graph([node("Relu", ["x"], ["y"])], [value("x", ["N"] * 5000)], ["y"]))


@attack("m.onnx")
def onnx_many_inputs() -> bytes:
    """3,000 inputs of free dimensions, which may be read in many ways."""
    names = [f"x{i}" for i in range(3000)]
    return model(graph([node("Sum", names, ["y"])], [value(n, [f"a{n}", f"b{n}", 3]) for n in names], ["y"]))


@attack("m.onnx")
def onnx_loop_without_end() -> bytes:
    """A loop whose condition stays true."""
    body = graph([node("Identity", ["c"], ["c2"]), node("Abs", ["v"], ["v2"])],
                 [value("i", [], 7), value("c", [], 9), value("v", ["N", 3])], ["c2", "v2"])  # fmt: skip
    return model(graph([node("Loop", ["", "t", "x"], ["y"], inner("body", body))], [X], ["y"],
                       [number(2, 9) + piece(8, "t") + piece(9, b"\1")]))  # fmt: skip


@attack("m.onnx")
def onnx_loops_in_loops() -> bytes:
    """Loops of 1,000 turns in each other, four deep."""
    body = graph([node("Identity", ["c"], ["c2"]), node("Abs", ["v"], ["v2"])],
                 [value("i", [], 7), value("c", [], 9), value("v", ["N", 3])], ["c2", "v2"])  # fmt: skip
    for _ in range(3):
        body = graph([node("Identity", ["c"], ["c2"]), node("Loop", ["n", "", "v"], ["v2"], inner("body", body))],
                     [value("i", [], 7), value("c", [], 9), value("v", ["N", 3])], ["c2", "v2"])  # fmt: skip
    return model(graph([node("Loop", ["n", "", "x"], ["y"], inner("body", body))], [X], ["y"],
                       [number(2, 7) + piece(8, "n") + piece(9, struct.pack("<q", 1000))]))  # fmt: skip


def function(name: str, nodes: list[bytes]) -> bytes:
    return (
        piece(1, name) + piece(4, "a") + piece(5, "b") + b"".join(piece(7, n) for n in nodes)
        + piece(9, number(2, 17)) + piece(9, piece(1, "me") + number(2, 1)) + piece(10, "me")
    )  # fmt: skip


@attack("m.onnx")
def onnx_function_that_calls_itself() -> bytes:
    """A function whose body is a call of it."""
    f = function("f", [node("f", ["a"], ["b"], domain="me")])
    return model(graph([node("f", ["x"], ["y"], domain="me")], [X], ["y"]), functions=[f])


@attack("m.onnx")
def onnx_functions_that_double() -> bytes:
    """Thirty functions, each of which calls the next one twice."""
    functions = [function("f30", [node("Abs", ["a"], ["b"])])]
    for i in range(30):
        calls = [node(f"f{i + 1}", ["a"], ["m"], domain="me"), node(f"f{i + 1}", ["m"], ["b"], domain="me")]
        functions.append(function(f"f{i}", calls))
    return model(graph([node("f0", ["x"], ["y"], domain="me")], [X], ["y"]), functions=functions)


# -- tensors -----------------------------------------------------------------------------------------


@attack("m.onnx")
def onnx_tensor_of_much() -> bytes:
    """A tensor of 2^50 numbers, and none of them."""
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], ["y"], [tensor("w", [1 << 25, 1 << 25], b"")]))


@attack("m.onnx")
def onnx_tensor_of_negative_size() -> bytes:
    """A size below 0."""
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], ["y"], [tensor("w", [-1, -3], bytes(12))]))


@attack("m.onnx")
def onnx_tensor_of_many_dimensions() -> bytes:
    """10,000 dimensions."""
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], ["y"], [tensor("w", [1] * 10_000, bytes(4))]))


@attack("m.onnx")
def onnx_tensor_of_strings() -> bytes:
    """Texts where numbers are expected."""
    stored = number(1, 1) + number(2, 8) + piece(8, "w") + piece(6, "text")
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], ["y"], [stored]))


@attack("m.onnx")
def onnx_sparse_tensor_of_much() -> bytes:
    """A sparse tensor of 2^40 zeros."""
    sparse = piece(1, tensor("w", [1], bytes(4))) + piece(2, ints("", 5)) + number(3, 1 << 40)
    g = graph([node("Add", ["x", "w"], ["y"])], [X], ["y"]) + piece(15, sparse)
    return model(g)


def beside(location: str, offset: str = "0") -> bytes:
    """A model whose numbers lie in another file."""
    entries = [("location", location), ("offset", offset), ("length", "12")]
    stored = number(1, 3) + number(2, 1) + piece(8, "w") + number(14, 1)
    stored += b"".join(piece(13, piece(1, k) + piece(2, v)) for k, v in entries)
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], ["y"], [stored]))


@attack("m.onnx")
def onnx_numbers_of_the_system() -> bytes:
    """Numbers in /etc/passwd."""
    return beside("/etc/passwd")


@attack("m.onnx")
def onnx_numbers_of_a_folder_above() -> bytes:
    """Numbers in a folder above."""
    return beside("a/../../../../../../../etc/passwd")


@attack("m.onnx")
def onnx_numbers_behind_a_link(folder: Path) -> bytes:
    """Numbers behind a link that leads out of the folder."""
    (folder / "w.bin").symlink_to("/etc/passwd")
    return beside("w.bin")


@attack("m.onnx")
def onnx_numbers_in_a_pipe(folder: Path) -> bytes:
    """Numbers in a pipe that nobody writes to."""
    import os

    os.mkfifo(folder / "w.bin")
    return beside("w.bin")


@attack("m.onnx")
def onnx_numbers_missing() -> bytes:
    """Numbers in a file that is not there."""
    return beside("gone.bin")


@attack("m.onnx")
def onnx_numbers_beyond_the_end(folder: Path) -> bytes:
    """Numbers behind the end of a file."""
    (folder / "w.bin").write_bytes(bytes(12))
    return beside("w.bin", "99999999999999999")


# -- recurrent layers --------------------------------------------------------------------------------


@attack("m.onnx")
def onnx_lstm_of_wrong_gates() -> bytes:
    """An LSTM whose matrices have rows for three gates."""
    stored = [tensor("W", [1, 6, 3], bytes(72)), tensor("R", [1, 6, 2], bytes(48))]
    return model(graph([node("LSTM", ["x", "W", "R"], ["Y", "H"], integer("hidden_size", 2))], [SEQ], ["H"], stored))


@attack("m.onnx")
def onnx_lstm_of_nan() -> bytes:
    """Weights that are not numbers: nothing that comes out could be compared."""
    stored = [tensor("W", [1, 8, 3], b"\0\0\xc0\x7f" * 24), LSTM_STORED[1]]
    return model(graph([node("LSTM", ["x", "W", "R"], ["Y", "H"], integer("hidden_size", 2))], [SEQ], ["H"], stored))
