"""What cannot be converted is told by name, and by the line of the forward that is in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.torch_modules import Namespace, example, module_of, plain, same_as_module, without_test
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt.errors import ConvertError

# -- what cannot be converted is told by name ---------------------------------------------------------


def test_sources_that_are_no_modules(torch: Any) -> None:
    module = module_of(torch, plain)
    for source, message in (
        (torch.nn.LSTM, r"cannot convert the class LSTM; call it: LSTM\(...\)"),
        (lambda x: x, r"cannot convert the function .*give the module"),
        (module.forward, r"cannot convert the function .*forward: give the module"),
        (torch.ones(3), r"cannot convert a Tensor"),
    ):
        with pytest.raises(ConvertError, match=message):
            from_torch(source, example(torch))
    for source in (module.state_dict(), "model.pt"):
        with pytest.raises(ConvertError, match="example is for a live module"):
            from_torch(source, example(torch))


def test_modules_that_cannot_be_watched(torch: Any) -> None:
    nn, module = torch.nn, module_of(torch, plain)
    mixed = module_of(torch, plain)
    mixed.fc = torch.jit.trace(nn.Linear(7, 3), torch.ones(1, 7))
    program = torch.export.export(nn.Linear(5, 3), (torch.ones(2, 5),))
    for source, message in (
        (torch.jit.trace(module, torch.ones(2, 3, 5)), r"the module is a TorchScript module.*give the original"),
        (mixed, r"module.fc is a TorchScript module"),
        (program, r"cannot convert an ExportedProgram: give the module that it was exported from"),
        (program.module(), r"the module is an exported program; give the module"),
        (torch.ao.quantization.quantize_dynamic(module, {nn.LSTM}), r"module.rec is quantised .*give the float module"),
        (nn.LazyLinear(3), r"weight has no shape yet: the layer is lazy; run the module once"),
        (nn.Linear(5, 3, device="meta"), r"weight is on the meta device"),
    ):
        with pytest.raises(ConvertError, match=message):
            from_torch(source, torch.ones(2, 3, 5))


def test_examples(torch: Any) -> None:
    module, x = module_of(torch, plain), torch.randn(4, 6, 5)
    wanted = without_test(from_torch(module, x))
    for same in (
        x.numpy(),
        x.numpy().astype(np.float64),
        x.numpy().astype(">f4"),
        x.double(),
        [x],
        x.numpy()[::-1][::-1],
        x.transpose(0, 1).contiguous().transpose(0, 1),
    ):
        assert without_test(from_torch(module, same)) == wanted
    for bad, message in (
        ({"x": x}, r"the example holds a dict; .*arguments of forward in their order, as a tuple"),
        ([[1.0, 2.0]], r"holds no tensor or array"),
        ((), r"holds no tensor or array"),
        (x[:0], r"holds an empty tensor of shape \(0, 6, 5\)"),
        (x.to("meta"), r"on the meta device"),
        (np.array([["a"]]), r"holds an array of <U1"),
        (x.to(torch.complex64), r"dtype torch.complex64; expected floats"),
        (torch.nn.utils.rnn.pack_padded_sequence(x, torch.full((4,), 6), True), r"is a PackedSequence"),
        ((x, x), r"fails on the example: TypeError"),
    ):
        with pytest.raises(ConvertError, match=message):
            from_torch(module, bad)


def test_nan_and_zeros_in_the_example(torch: Any) -> None:
    module = module_of(torch, plain)
    for fill in (0.0, float("nan"), float("inf")):
        same_as_module(torch, from_torch(module, torch.full((4, 6, 5), fill)), module)


def test_weights_that_are_not_finite_are_named_and_too_large_ones_refused(torch: Any) -> None:
    module = module_of(torch, plain)
    module.fc.bias.data[1] = float("nan")
    graph = from_torch(module, example(torch))
    assert [n.partition(";")[0] for n in graph.meta["notes"]] == [
        "NaN or infinity in the weights: fc.bias (1 number)"
    ]
    module = module_of(torch, plain).double()
    module.rec.weight_ih_l0.data[2, 1] = 1e300
    with pytest.raises(ConvertError, match=r"rec.weight_ih_l0: holds 1e\+300, which is"):
        from_torch(module, example(torch))


def test_a_state_carried_outside_of_the_module_is_blamed(torch: Any) -> None:
    kept: dict[str, Any] = {}

    def forward(s: Any, x: Any) -> Any:
        y, kept["h"] = s.rec(x, kept.get("h"))
        return s.fc(y)

    with pytest.raises(ConvertError, match=r"differ from call to call: .*carried on outside of the module.*global"):
        from_torch(module_of(torch, forward), example(torch))
    assert kept  # as the docstring says: this is not put back
    kept = {"h": (torch.ones(1, 1, 7), torch.ones(1, 1, 7))}
    fixed = module_of(torch, lambda s, x: s.rec(x, tuple(h.expand(1, len(x), 7) for h in kept["h"]))[0])
    assert from_torch(fixed, example(torch)).selftest is not None
    kept = {"h": (torch.randn(1, 9, 7), torch.ones(1, 9, 7))}
    rows = module_of(torch, lambda s, x: s.rec(x, tuple(h[:, : len(x)] for h in kept["h"]))[0])
    with pytest.raises(ConvertError, match="initial state that differs from row to row"):
        from_torch(rows, example(torch))


def count_up(s: Any) -> None:
    s.n, s.calls = 0, []
    s.register_buffer("ticks", s.fc.bias.detach()[:1] * 0)


COUNTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "number": (lambda s: setattr(s, "n", s.n + 1), "n"),
    "list": (lambda s: s.calls.append(1), "calls"),
    "buffer": (lambda s: s.ticks.add_(1), "ticks"),
    "another buffer": (lambda s: setattr(s, "ticks", s.ticks + 1), "ticks"),
}


@pytest.mark.parametrize("which", COUNTS)
def test_what_counts_the_calls_is_noted(torch: Any, which: str) -> None:
    """A fourth call that differs cannot be found by two."""
    count, name = COUNTS[which]

    def forward(s: Any, x: Any) -> Any:
        count(s)
        y = plain(s, x)
        return y * 2 if s.n > 3 or len(s.calls) > 3 else y

    module = module_of(torch, forward, count_up)
    (note,) = from_torch(module, example(torch)).meta["notes"]
    assert note.startswith(f"the module's forward changes {name}; the converted model gives in every call")
    assert (module.n, module.calls, float(module.ticks)) == (0, [], 0)


@pytest.mark.parametrize("length", [50, 127])
def test_a_branch_on_a_long_length_shows(torch: Any, length: int) -> None:
    module = module_of(torch, lambda s, x: plain(s, x) * (1 if x.shape[1] < length else 2))
    message = r"with \d+ rows? of \d+ steps, output .* differs"
    with pytest.raises(ConvertError, match=message):
        from_torch(module, example(torch))


def test_results_that_are_left_out_are_noted(torch: Any) -> None:
    module = module_of(torch, lambda s, x: {"y": plain(s, x), "n": torch.tensor(3)})
    notes = from_torch(module, example(torch)).meta["notes"]
    assert notes == ["left out of the graph, as they hold no floats: output_n"]
    with pytest.raises(ConvertError, match="returns a Namespace without float tensors"):
        from_torch(module_of(torch, lambda s, x: Namespace(plain(s, x))), example(torch))


# -- errors name the line -----------------------------------------------------------------------------

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.rec = torch.nn.LSTM(5, 7, batch_first=True)
        self.layers = torch.nn.Sequential(torch.nn.Linear(7, 4), torch.nn.FractionalMaxPool2d(2, output_size=2))
        self.inner = inner

    def forward(self, x):
        y = self.rec(x)[0]
        return getattr(self, self.inner)(y)

    def fails(self, y):
        return y + torch.ones(
            3)

    def raises(self, y):
        raise KeyError("what the user says")

    def spectrum(self, y):
        return torch.special.i0(y)  # at net.py

    def second(self, y):
        return self.rec(y[:, :, :5][:, -1])[0]

    def stacked(self, y):
        return self.layers(y)
"""

LINES = {
    "fails": r"forward fails on the example: RuntimeError: .*\(.*net.py:16: return y \+ torch.ones\(\)",
    "raises": r"forward fails on the example: KeyError: 'what the user says' \(.*net.py:20: raise KeyError",
    "spectrum": r"i0: .* not supported \(.*net.py:23: return torch.special.i0\(y\)",
    "second": r"lstm \(rec\): it reads its input as .*\(in rec, a LSTM, .*net.py:26: return self.rec",
    "stacked": r"fractional_max_pool2d \(layers.1\): .* not supported \(in layers.1, .*net.py:29: return self.layers",
}


@pytest.mark.parametrize("which", LINES)
def test_errors_name_the_line_of_the_forward(torch: Any, tmp_path: Path, which: str) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET)
    names: dict[str, Any] = {}
    exec(compile(NET, str(path), "exec"), names)
    with pytest.raises(ConvertError, match=LINES[which]):
        from_torch(names["Net"](which), torch.randn(2, 6, 5))
