"""``.pt2`` files: the newest layout and that before torch 2.8, their numbers, names and free sizes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import check_numbers, exported, exported_source, leaves
from helpers.torch_zoo import zoo
from lstm_rt_tools import from_torch

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

pytestmark = pytest.mark.usefixtures("quiet")
torch = pytest.importorskip("torch")
nn = torch.nn
ZOO = zoo(torch)
ROWS = torch.export.Dim("rows", min=1, max=64)


def free_rows(dims: tuple[str, ...]) -> tuple[dict[int, Any], ...]:
    return tuple({d.index("n"): ROWS} if "n" in d else {} for d in dims)


def program(name: str, decompose: bool = False) -> tuple[Any, bytes]:
    model = ZOO[name]()
    return model, exported(torch, model.module, model.inputs(3, 9), free_rows(model.dims), decompose)


@pytest.mark.parametrize("name", ["tagger", "states", "image", "self_attention", "cell_loop", "step"])
def test_the_numbers_are_those_of_torch(name: str) -> None:
    """Exporting takes long: these have what differs from what a trace has."""
    model, data = program(name)
    source = exported_source(data)
    for rows in (3, 1, 5):
        check_numbers(source, model.module, model.inputs(rows, 9))
    free = {d for a in source.inputs for d, letter in zip(a.dims, model.dims[0], strict=False) if isinstance(d, str)}
    assert len(free) == 1


def test_a_core_program_has_the_same_numbers() -> None:
    model, data = program("attention", decompose=True)
    check_numbers(exported_source(data), model.module, model.inputs(5, 9))


def test_the_converted_model_gives_the_same(tmp_path: Path) -> None:
    model, data = program("states")
    path = tmp_path / "m.pt2"
    path.write_bytes(data)
    graph = from_torch(path)
    runtime = Model(dumps(graph))
    for rows in (1, 5):
        args = model.inputs(rows, 9)
        ours = runtime(*(np.ascontiguousarray(t.detach().numpy()) for t in leaves(args)))
        theirs = [t.detach().numpy() for t in leaves(model.module(*args))]
        for mine, want in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, want, rtol=1e-5, atol=1e-5)
    assert graph.meta["source"]["version"] == torch.__version__
    assert [graph.values[v].name for v in graph.inputs] == ["x", "h", "c"]
    assert [graph.values[v].name for v in graph.outputs] == ["output_0", "output_1", "output_2"]


# -- other layouts -----------------------------------------------------------------------------------------


class Small(nn.Module):  # type: ignore[misc, name-defined]
    """Names of outputs, a constant, a buffer that is written to, and code without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.register_buffer("calls", torch.zeros(()))
        self.scale = torch.tensor([1.0, 2.0, 0.5])

    def forward(self, x: Any) -> Any:
        self.calls.add_(1)
        with torch.no_grad():
            y, h = self.gru(x * self.scale)
        return {"y": y, "more": (h, y.mean(1))}


@pytest.fixture(scope="module")
def small() -> tuple[Any, tuple[Any, ...], Any, bytes]:
    torch.manual_seed(5)
    module, args = Small().eval(), (torch.randn(3, 6, 3),)
    made = torch.export.export(module, args, dynamic_shapes=({0: ROWS},))
    buffer = io.BytesIO()
    torch.export.save(made, buffer)
    return module, args, made, buffer.getvalue()


def rezipped(data: bytes, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in change(entries).items():
            archive.writestr(name, content)
    return out.getvalue()


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def test_names_and_notes(small: Any) -> None:
    module, args, _, data = small
    source = exported_source(data)
    check_numbers(source, module, args)
    assert list(source.outputs) == ["y", "more_0", "more_1"]
    assert source.notes == [
        "the module keeps calls from call to call; the converted model begins each call with the value in the file"
    ]
    assert source.inputs[0].name == "x"
    assert source.inputs[0].dims[1:] == (6, 3)
    assert isinstance(source.inputs[0].dims[0], str)


@pytest.mark.parametrize("suffix", [".pt", ".json"])
@pytest.mark.parametrize("kinds", [True, False], ids=["with kinds", "without kinds"])
def test_files_before_torch_2_8(small: Any, suffix: str, kinds: bool) -> None:
    """The JSON beside two pickles; before torch 2.6 arguments do not say whether they are given by name."""
    module, args, made, data = small

    def old(entries: dict[str, bytes]) -> dict[str, bytes]:
        text = json.loads(next(v for n, v in entries.items() if n.endswith("models/model.json")))
        text["schema_version"] = {"major": 5, "minor": 1}
        for step in text["graph_module"]["graph"]["nodes"]:
            for given in step["inputs"] if not kinds else []:
                del given["kind"]
        return {
            "serialized_exported_program.json": json.dumps(text).encode(),
            f"serialized_state_dict{suffix}": saved(dict(made.state_dict)),
            f"serialized_constants{suffix}": saved(dict(made.constants)),
            "serialized_example_inputs.pt": b"",
            "version": b"5.1",
        }

    check_numbers(exported_source(rezipped(data, old)), module, args)


def test_weights_in_one_pickle(small: Any) -> None:
    """torch 2.7 and 2.8 had the new folders with a pickle in each."""
    module, args, made, data = small

    def change(entries: dict[str, bytes]) -> dict[str, bytes]:
        root = next(iter(entries)).partition("/")[0]
        kept = {n: v for n, v in entries.items() if "/weights/" not in n and "/constants/" not in n}
        kept[f"{root}/data/weights/model.pt"] = saved(dict(made.state_dict))
        kept[f"{root}/data/constants/model.pt"] = saved(dict(made.constants))
        return kept

    check_numbers(exported_source(rezipped(data, change)), module, args)


class Line(nn.Module):  # type: ignore[misc, name-defined]
    """As models that read a line of text: columns become steps, which are joined with the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 6, bidirectional=True)
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Any) -> Any:
        y, _ = self.rnn(torch.max_pool1d(x, 2).permute(2, 0, 1))
        steps, rows, features = y.size()
        return self.fc(y.view(steps * rows, features)).view(steps, rows, -1)


def test_a_size_that_is_free_by_name_alone(tmp_path: Path) -> None:
    """torch puts the number of steps after a layer in a program whose input it says is free, and tells what it was."""
    module, x = Line().eval(), torch.randn(3, 5, 34)
    data = exported(torch, module, (x,), ({0: ROWS},))

    def free(text: Any) -> None:
        sizes = text["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        assert sizes[2] == {"as_int": 34}
        sizes[2] = {"as_expr": {"expr_str": "Symbol('s0', integer=True)", "hint": {"as_int": 34}}}

    (tmp_path / "line.pt2").write_bytes(edited(data, free))
    graph = from_torch(tmp_path / "line.pt2")
    assert any("made for 34 steps" in note for note in graph.meta["notes"])
    for x in (torch.randn(1, 5, 34), torch.randn(4, 5, 22)):
        with torch.no_grad():
            want = module(x).numpy()
        np.testing.assert_allclose(Model(dumps(graph))(x.numpy()), want, atol=1e-5)


# -- damage ------------------------------------------------------------------------------------------------


def edited(data: bytes, edit: Callable[[Any], None]) -> bytes:
    def change(entries: dict[str, bytes]) -> dict[str, bytes]:
        name = next(n for n in entries if n.endswith("models/model.json"))
        text = json.loads(entries[name])
        edit(text)
        return {**entries, name: json.dumps(text).encode()}

    return rezipped(data, change)


def without(entries: dict[str, bytes], end: str) -> dict[str, bytes]:
    return {n: v for n, v in entries.items() if not n.endswith(end)}


def test_damaged_programs_are_refused(small: Any) -> None:
    _, args, _, data = small

    def refused(data: bytes, why: str) -> None:
        with pytest.raises(ConvertError, match=why) as caught:
            check_numbers(exported_source(data), small[0], args)
        assert "\n" not in str(caught.value)

    def graph(text: Any) -> Any:
        return text["graph_module"]["graph"]

    refused(edited(data, lambda t: t["schema_version"].update(major=99)), "torch.export's format 99, known are 5 to 8")
    refused(edited(data, lambda t: t.pop("graph_module")), r"the exported program is damaged \(KeyError")
    refused(edited(data, lambda t: graph(t)["nodes"][0].update(target="os.system")), "none of PyTorch's own")
    refused(edited(data, lambda t: graph(t)["nodes"][0].update(target="torch.ops.my.op.default")), "none of PyTorch's")
    refused(edited(data, lambda t: graph(t)["nodes"][0]["inputs"].clear()), "its arguments")
    refused(edited(data, lambda t: graph(t)["nodes"].pop(0)), "which nothing has given|is no tensor")
    refused(edited(data, lambda t: graph(t)["nodes"][0].update(inputs=3)), "the exported program is damaged")
    refused(rezipped(data, lambda e: without(e, "models/model.json")), "the archive has no program")
    refused(
        rezipped(data, lambda e: without(e, "weights_config.json")), "the weight gru.weight_ih_l0 is not in the file"
    )
    refused(rezipped(data, lambda e: without(e, "weight_0")), "weight_0 is missing from the archive")
    refused(data[: len(data) // 2], "damaged or truncated zip archive")
