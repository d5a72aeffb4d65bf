"""Attacks by files that hold a program: TorchScript archives and ``.pt2``."""

from __future__ import annotations

import json
from typing import Any

from .build import MB, SIX, attack, call, obj, table, tensor, zipped

HEAD = "class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n"
FORWARD = "  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n"


def script_zip(code: str, attrs: bytes = b"}", storages: dict[str, bytes] | None = None, **more: bytes) -> bytes:
    """A TorchScript archive of one module ``__torch__.M`` with this code and these attributes."""
    entries = {
        "m/data.pkl": b"\x80\x02c__torch__\nM\n)\x81" + attrs + b"b.",
        "m/constants.pkl": b"\x80\x02).",
        "m/version": b"3\n",
        "m/code/__torch__.py": code.encode(),
    }
    entries |= {f"m/data/{k}": v for k, v in (storages or {}).items()}
    return zipped(entries | {f"m/{k}": v for k, v in more.items()})


def forward(*lines: str, result: str = "x") -> str:
    """The code of a module whose forward has these lines."""
    return HEAD + FORWARD + "".join(f"    {line}\n" for line in lines) + f"    return {result}\n"


WEIGHT = tensor("0", 6, (2, 3), (3, 1))
WEIGHTS = table(w=WEIGHT)


@attack("m.pt")
def script_loop_without_end() -> bytes:
    """``while True``."""
    return script_zip(forward("a = True", "while a:", "  y = torch.neg(1)"))


@attack("m.pt")
def script_long_loop() -> bytes:
    """A loop of 2^62 turns."""
    return script_zip(forward("for i in range(4611686018427387904):", "  y = torch.neg(1)"))


@attack("m.pt")
def script_loops_in_loops() -> bytes:
    """Ten loops of a thousand turns in each other."""
    lines = [f"{'  ' * i}for i{i} in range(1000):" for i in range(10)]
    return script_zip(forward(*lines, "  " * 10 + "y = torch.relu(x)"))


@attack("m.pt")
def script_that_calls_itself() -> bytes:
    """A method that calls itself."""
    return script_zip(HEAD + FORWARD + "    return (self).forward(x, )\n")


@attack("m.pt")
def script_that_doubles_a_list() -> bytes:
    """A list that is joined to itself 40 times."""
    lines = ["a = [1]", "for i in range(40):", "  b = torch.add(a, a)", "  a = b"]
    return script_zip(forward(*lines))


@attack("m.pt")
def script_that_doubles_a_string() -> bytes:
    """A string that is joined to itself 40 times."""
    return script_zip(forward('a = "abc"', "for i in range(40):", "  b = torch.add(a, a)", "  a = b"))


@attack("m.pt")
def script_that_doubles_a_number() -> bytes:
    """A number that is squared 60 times."""
    return script_zip(forward("a = 3", "for i in range(60):", "  b = torch.mul(a, a)", "  a = b"))


@attack("m.pt")
def script_power() -> bytes:
    """A power of a thousand digits, again and again."""
    return script_zip(forward("a = torch.pow(9, 999999999)"))


@attack("m.pt")
def script_that_doubles_a_tensor() -> bytes:
    """A tensor that is joined to itself 40 times."""
    return script_zip(forward("y = x", "for i in range(40):", "  z = torch.cat([y, y], -1)", "  y = z", result="y"))


@attack("m.pt")
def script_of_huge_zeros() -> bytes:
    """Zeros of 2^40 elements, and of 2^20 again and again."""
    return script_zip(forward("y = torch.zeros([1048576, 1048576])", result="y"))


@attack("m.pt")
def script_of_many_zeros() -> bytes:
    """A list of a thousand tensors of 32 MB."""
    lines = ["a = annotate(List[Tensor], [])", "for i in range(1000):"]
    lines.append("  b = torch.append(a, torch.ones([8388608]))")
    return script_zip(forward(*lines, result="torch.add(x, torch.sum(a[0]))"))


@attack("m.pt")
def script_expanded() -> bytes:
    """A number that is expanded to 2^50."""
    return script_zip(forward("y = torch.expand(torch.ones([1, 1]), [33554432, 33554432])", result="y"))


@attack("m.pt")
def script_of_brackets() -> bytes:
    """900,000 brackets in each other."""
    return script_zip(HEAD + FORWARD + "    return " + "[" * 900_000 + "\n")


@attack("m.pt")
def script_of_calls() -> bytes:
    """A call of a call of a call, 300,000 times."""
    return script_zip(HEAD + FORWARD + "    return x" + ".y()" * 300_000 + "\n")


@attack("m.pt")
def script_of_signs() -> bytes:
    """900,000 signs before a number."""
    return script_zip(HEAD + FORWARD + "    return " + "-" * 900_000 + "1\n")


@attack("m.pt")
def script_of_ifs() -> bytes:
    """Five hundred conditions in each other."""
    lines = [f"{' ' * i}if True:" for i in range(500)]
    return script_zip(forward(*lines, " " * 500 + "y = x"))


@attack("m.pt")
def script_bomb() -> bytes:
    """300 MB of code in a small archive."""
    return script_zip(HEAD + FORWARD + "    return [" + "1, " * (100 * MB) + "]\n")


@attack("m.pt")
def script_of_a_long_list() -> bytes:
    """A list of a million numbers, whose trees are larger than the text."""
    return script_zip(HEAD + FORWARD + "    return [" + "1, " * MB + "]\n")


@attack("m.pt")
def script_that_asks_for_python() -> bytes:
    """Names of Python's in the place of TorchScript's."""
    return script_zip(forward('y = __import__("os").system("echo hello > canary")'))


@attack("m.pt")
def script_that_evaluates() -> bytes:
    """``eval`` of a string."""
    return script_zip(forward("y = eval(\"open('canary', 'w')\")"))


@attack("m.pt")
def script_that_saves() -> bytes:
    """Operations of TorchScript's that write and read files."""
    return script_zip(forward('y = torch.save(x, "canary")', 'z = torch.from_file("/etc/passwd", True, 10)'))


@attack("m.pt")
def script_of_an_own_operator() -> bytes:
    """An operator whose library would be loaded."""
    return script_zip(forward("y = ops.evil.run(x)", result="y"))


@attack("m.pt")
def script_pickle_that_calls() -> bytes:
    """A call in the pickle of the attributes."""
    return script_zip(forward(result="torch.add(x, self.w)"), table(w=call("os.system", obj("echo hello > canary"))))


@attack("m.pt", exits=(0,))
def script_pickle_that_calls_beside() -> bytes:
    """The same where the code does not read it: what is made of the code alone."""
    return script_zip(forward(), table(w=call("os.system", obj("echo hello > canary"))))


@attack("m.pt")
def script_view_of_nothing() -> bytes:
    """A weight that is one number, seen as 2^40 of them."""
    huge = table(w=tensor("0", 1, (1 << 20, 1 << 20), (0, 0)))
    return script_zip(forward("w = self.w", result="torch.add(x, w)"), huge, {"0": bytes(4)})


@attack("m.pt")
def script_constant_that_is_missing() -> bytes:
    """A constant that the file does not have."""
    return script_zip(forward(result="torch.add(x, CONSTANTS.c99999999999999999999)"))


@attack("m.pt", exits=(0,))
def script_without_a_graph() -> bytes:
    """A weight that nothing reads: the model gives what it is given."""
    return script_zip(forward(), WEIGHTS, {"0": SIX})


# -- .pt2 --------------------------------------------------------------------------------------------------


def exported_zip(nodes: Any, outputs: Any = None, config: Any = None, **entries: bytes) -> bytes:
    """A ``.pt2`` of one input x (2, 3) and a weight w, with these nodes."""
    size = [{"as_int": 2}, {"as_int": 3}]
    meta = {"dtype": 7, "sizes": size, "strides": size, "storage_offset": {"as_int": 0}, "layout": 7}
    x = {"as_tensor": {"name": "x"}}
    program = {
        "graph_module": {
            "graph": {"inputs": [x], "outputs": [], "nodes": nodes, "tensor_values": {"x": meta}},
            "signature": {
                "input_specs": [
                    {"user_input": {"arg": x}},
                    {"parameter": {"arg": {"name": "w"}, "parameter_name": "w"}},
                ][: 2 if config else 1],
                "output_specs": outputs or [{"user_output": {"arg": x}}],
            },
        },
        "range_constraints": {},
        "schema_version": {"major": 8, "minor": 1},
    }
    text = json.dumps(program)
    if isinstance(nodes, str):  # JSON already: deeper than Python writes it
        text = text.replace(json.dumps(nodes), f"[{nodes}]")
    files = {"m/archive_format": b"pt2", "m/models/model.json": text.encode()}
    files["m/data/weights/model_weights_config.json"] = json.dumps({"config": config or {}}).encode()
    return zipped(files | {f"m/{k}": v for k, v in entries.items()})


def node(target: str, *inputs: Any, out: str = "y") -> dict[str, Any]:
    args = [{"name": "", "arg": i, "kind": 1} for i in inputs]
    return {"target": target, "inputs": args, "outputs": [{"as_tensor": {"name": out}}], "metadata": {}}


X = {"as_tensor": {"name": "x"}}
W = {"as_tensor": {"name": "w"}}
Y = [{"user_output": {"arg": {"as_tensor": {"name": "y"}}}}]


@attack("m.pt2")
def exported_call_of_python() -> bytes:
    """A node that calls a function of Python's."""
    return exported_zip([node("os.system", {"as_string": "echo hello > canary"})], Y)


@attack("m.pt2")
def exported_power() -> bytes:
    """A power of a number that has a billion digits."""
    big = {"as_int": 1 << 62}
    step = {**node("_operator.pow", big, big), "outputs": [{"as_sym_int": {"as_name": "y"}}]}
    return exported_zip([step], Y)


@attack("m.pt2")
def exported_huge_zeros() -> bytes:
    """Zeros of 2^60 elements."""
    return exported_zip([node("torch.ops.aten.zeros.default", {"as_ints": [1 << 30, 1 << 30]})], Y)


@attack("m.pt2")
def exported_doubled() -> bytes:
    """A tensor that is joined to itself 40 times."""
    nodes = [node("torch.ops.aten.neg.default", X)]
    y = {"as_tensors": [{"name": "y"}, {"name": "y"}]}
    return exported_zip(nodes + [node("torch.ops.aten.cat.default", y)] * 40, Y)


@attack("m.pt2")
def exported_graphs_in_graphs() -> bytes:
    """Sixty graphs in each other."""
    text = ""
    for _ in range(60):
        inner = json.dumps(node("torch.ops.higher_order.cond", {"as_graph": {"name": "g", "graph": "HERE"}}))
        text = inner.replace('"HERE"', '{"inputs": [], "outputs": [], "nodes": [' + text + "]}")
    return exported_zip(text, Y)


@attack("m.pt2")
def exported_weight_that_lies() -> bytes:
    """A weight of 2^40 numbers in a file of one."""
    size = [{"as_int": 1 << 20}, {"as_int": 1 << 20}]
    meta = {"dtype": 7, "sizes": size, "strides": [{"as_int": 0}] * 2, "storage_offset": {"as_int": 0}, "layout": 7}
    config = {"w": {"path_name": "w0", "tensor_meta": meta}}
    return exported_zip([node("torch.ops.aten.mul.Tensor", X, W)], Y, config, **{"data/weights/w0": bytes(4)})


@attack("m.pt2")
def exported_weight_of_odd_bytes() -> bytes:
    """A weight whose bytes are no whole number of floats."""
    meta = {"dtype": 7, "sizes": [{"as_int": 1}], "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}}
    config = {"w": {"path_name": "w0", "tensor_meta": meta}}
    return exported_zip([node("torch.ops.aten.mul.Tensor", X, W)], Y, config, **{"data/weights/w0": bytes(7)})


@attack("m.pt2")
def exported_not_json() -> bytes:
    """A program that is no table, and weights of no kind."""
    return zipped({"m/archive_format": b"pt2", "m/models/model.json": b"[" * 100_000})
