"""TorchScript archives: traced and scripted models, their numbers, their sizes, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_programs import check_numbers, leaves, numbers, script_source, scripted, traced
from helpers.torch_zoo import zoo
from lstm_rt_tools import from_torch
from lstm_rt_tools.torch_program.fit import fit

from lstm_rt import Model
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

pytestmark = pytest.mark.usefixtures("quiet")
torch = pytest.importorskip("torch")
nn = torch.nn
ZOO = zoo(torch)
#: Loops over steps that a trace unrolls: it keeps the number of steps that it was made with.
UNROLLED = ("cell_loop", "gru_cells")
#: What the program gives is right, and a graph of it is not made yet, or not for every number of steps.
NO_GRAPH = ("cell_loop", "gru_cells", "step")
STEPS = 9


def archive(name: str, kind: str) -> tuple[Any, bytes]:
    model = ZOO[name]()
    model.module.eval()
    data = scripted(torch, model.module) if kind == "scripted" else traced(torch, model.module, model.inputs(2, STEPS))
    return model, data


@pytest.mark.parametrize("kind", ["traced", "scripted"])
@pytest.mark.parametrize("name", ZOO)
def test_the_numbers_are_those_of_torch(name: str, kind: str) -> None:
    model, data = archive(name, kind)
    source = script_source(data)
    for rows, steps in ((2, STEPS), (1, STEPS), (5, STEPS if kind == "traced" and name in UNROLLED else 14)):
        check_numbers(source, model.module, model.inputs(rows, steps))


@pytest.mark.parametrize("kind", ["traced", "scripted"])
@pytest.mark.parametrize("name", ZOO)
def test_sizes_of_the_inputs_are_found(name: str, kind: str) -> None:
    """Features are numbers, rows and steps are free, and are one where several inputs share them."""
    model, data = archive(name, kind)
    source = script_source(data)
    fit(source)
    sizes = [np.asarray(t).shape for t in leaves(model.inputs(3, 7))]
    assert [a.name for a in source.inputs] == ["x", "h", "c"][: len(sizes)] or source.inputs[1].name == "lengths"
    rows = set()
    for argument, shape, letters in zip(source.inputs, sizes, model.dims, strict=True):
        assert len(argument.dims) == len(shape)
        for dim, size, letter in zip(argument.dims, shape, letters, strict=True):
            if letter == ".":
                assert dim == size or (name == "image" and size == 8), "rounded down, 9 rows of pixels act as 8"
            elif letter == "t" and kind == "traced" and name in UNROLLED:
                assert dim == STEPS
            else:
                assert not isinstance(dim, int)
            if letter == "n":
                rows.add(dim)
    assert len(rows) == 1
    assert (None in rows) == (len(sizes) == 1)


@pytest.mark.parametrize("kind", ["traced", "scripted"])
@pytest.mark.parametrize("name", [n for n in ZOO if n not in NO_GRAPH])
def test_the_converted_model_gives_the_same(name: str, kind: str, tmp_path: Path) -> None:
    model, data = archive(name, kind)
    path = tmp_path / "m.pt"
    path.write_bytes(data)
    graph = from_torch(path)
    runtime = Model(dumps(graph))
    sizes = [(5, 6), (1, 13)] if name != "image" or kind == "traced" else []
    for rows, steps in sizes:
        args = model.inputs(rows, steps)
        ours = runtime(*(as_given(t) for t in leaves(args)))
        theirs = [t.detach().numpy() for t in leaves(model.module(*args))]
        for mine, want in zip(ours if isinstance(ours, tuple) else (ours,), theirs, strict=True):
            assert mine.shape == want.shape
            np.testing.assert_allclose(mine, want, rtol=1e-5, atol=1e-5)
    assert graph.meta["source"]["framework"] == "pytorch"
    assert graph.meta["source"]["file"] == "m.pt"


def as_given(tensor: Any) -> np.ndarray:
    array = np.ascontiguousarray(tensor.detach().numpy())
    return array.astype(np.int32) if array.dtype == np.int64 else array


# -- arguments and results ---------------------------------------------------------------------------------


class Options(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(
        self,
        x: torch.Tensor,
        hx: tuple[torch.Tensor, torch.Tensor] | None = None,
        scale: float = 2.0,
        last: bool = True,
    ) -> dict[str, torch.Tensor]:
        y, (h, _) = self.lstm(x, hx)
        if last:
            y = y[:, -1]
        return {"y": y * scale, "h": h}


def test_defaults_stay_and_are_told() -> None:
    module = Options().eval()
    source = script_source(scripted(torch, module))
    fit(source)
    assert [a.name for a in source.inputs] == ["x"]
    check_numbers(source, module, (torch.randn(2, 5, 3),))
    assert list(source.outputs) == ["y", "h"]
    assert source.notes == [
        "the argument hx is left at its default, None",
        "the argument scale is left at its default, 2.0",
        "the argument last is left at its default, True",
    ]


def test_tuples_of_tensors_are_inputs() -> None:
    def forward(self: Any, x: Any, state: Any) -> Any:
        return self.lstm(x, state)

    module = Options()
    module.forward = forward.__get__(module)
    args = (torch.randn(2, 5, 3), (torch.randn(1, 2, 4), torch.randn(1, 2, 4)))
    source = script_source(traced(torch, module, args))
    fit(source)
    assert [a.name for a in source.inputs] == ["x", "state_0", "state_1"]
    assert [a.dims for a in source.inputs] == [("x.0", None, 3), (1, "x.0", 4), (1, "x.0", 4)]
    check_numbers(source, module, args)
    assert list(source.outputs) == ["output_0", "output_1_0", "output_1_1"]


class Refused(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
        return x * rate


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_layer_alone(kind: str, tmp_path: Path) -> None:
    """Its ``forward`` has a second form, for packed sequences."""
    module = getattr(torch.nn, kind)(3, 4, 2, bidirectional=True).eval()
    (tmp_path / "m.pt").write_bytes(scripted(torch, module))
    x = torch.randn(7, 5, 3)
    y = Model(dumps(from_torch(tmp_path / "m.pt")))(x.numpy())
    np.testing.assert_allclose(y[0], module(x)[0].detach(), atol=1e-6)


def test_an_argument_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(ConvertError, match=r"forward takes rate, a whole number.*--set rate="):
        script_source(scripted(torch, Refused()))


class Rated(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
        return self.fc(x) * rate


def test_a_whole_number_is_set(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.script(Rated()).save(path)
    graph = from_torch(path, settings={"rate": 3})
    assert graph.meta["settings"] == {"rate": 3}
    assert [graph.values[v].name for v in graph.inputs] == ["x"]
    with pytest.raises(ConvertError, match="no whole number speed"):
        from_torch(path, settings={"rate": 3, "speed": 1})


class Keeps(nn.Module):  # type: ignore[misc, name-defined]
    """Keeps its state, as streaming models do."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.state = torch.zeros(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.state.numel() == 0:
            self.state = torch.zeros(1, x.size(0), 4)
        y, h = self.gru(x, self.state)
        self.state = h
        return y


def test_a_state_that_is_kept_is_told() -> None:
    module = Keeps().eval()
    data = scripted(torch, module)
    source = script_source(data)
    args = (torch.randn(2, 5, 3),)
    first, again = numbers(source, args), numbers(source, args)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_allclose(first[0], module(*args).detach().numpy(), atol=1e-6)
    assert source.notes == [
        "the module keeps state from call to call; the converted model begins each call with the value in the file"
    ]


class Branches(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return x
        return -x


def test_a_condition_on_the_numbers_of_an_input_is_refused() -> None:
    source = script_source(scripted(torch, Branches()))
    with pytest.raises(ConvertError, match="depends on the numbers of an input"):
        numbers(source, (torch.randn(2, 3),))


def test_sorted_rows_must_be_put_back(tmp_path: Path) -> None:
    class Sorted(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Any, lengths: Any) -> Any:
            lengths, order = lengths.sort(descending=True)
            _, h = self.gru(nn.utils.rnn.pack_padded_sequence(x[order], lengths, batch_first=True))
            return h[0] if self.keep else h[0][order.argsort()]

    args = (torch.randn(3, 6, 3), torch.tensor([2, 6, 4]))
    module = Sorted().eval()
    for keep in (False, True):
        module.keep = keep
        source = script_source(traced(torch, module, args))
        if keep:
            with pytest.raises(ConvertError, match="in the order of a sorted batch"):
                numbers(source, args)
        else:
            check_numbers(source, module, args)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_become_float32(dtype: str) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).eval()
    kind = getattr(torch, dtype)
    args = (torch.randn(2, 3, dtype=kind),)
    data = traced(torch, module.to(kind), args)
    source = script_source(data)
    fit(source)
    assert source.inputs[0].dtype == np.float32
    assert source.notes == [
        f"{dtype} inputs are float32 in the converted model",
        f"{dtype} weights are converted in float32",
    ]
    (ours,) = numbers(source, (args[0].float(),))
    np.testing.assert_allclose(ours, module.float()(args[0].float()).detach().numpy(), atol=1e-6)


def test_an_operation_that_is_not_known_is_named(tmp_path: Path) -> None:
    class Fourier(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return torch.linalg.pinv(x)

    (tmp_path / "m.pt").write_bytes(traced(torch, Fourier(), (torch.randn(2, 8),)))
    with pytest.raises(ConvertError, match=r"m\.pt: linalg_pinv: this operation of PyTorch is not supported"):
        from_torch(tmp_path / "m.pt")


def test_a_buffer_that_is_written_to_is_told() -> None:
    class Writes(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("h", torch.zeros(2, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.h[:, 1] += x[:, 1]
            return x + self.h

    source = script_source(scripted(torch, Writes()))
    check_numbers(source, Writes(), (torch.randn(2, 3),))
    assert [n.split(" from ")[0] for n in source.notes] == ["the module keeps h"]


def test_sizes_of_what_is_picked_by_number_are_as_small_as_that() -> None:
    """Two states in one tensor: the code takes the first and the second, and asks for no more."""

    class Both(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(3, 4)

        def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            return torch.stack(self.cell(x, (state[0], state[1])))

    source = script_source(scripted(torch, Both()))
    fit(source)
    assert [a.dims for a in source.inputs] == [("x.0", 3), (2, "x.0", 4)]
