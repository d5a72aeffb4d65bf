"""Live modules: the self-test, and nothing silently wrong: they are compared thoroughly."""

from __future__ import annotations

import random
import re
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.programs import python
from helpers.torch_modules import (
    FORWARDS,
    check_selftest,
    example,
    module_of,
    plain,
    same_as_module,
    user_module,
    without_test,
)
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

# -- the self-test ------------------------------------------------------------------------------------


def test_the_file_holds_nothing_of_the_example(torch: Any) -> None:
    x = torch.full((512, 200, 5), 1234.5)
    graph = from_torch(module_of(torch, plain), x)
    test = graph.selftest
    assert test is not None
    assert sum(a.nbytes for a in (*test.inputs, *test.outputs)) < 1000
    assert max(float(np.abs(a).max()) for a in (*test.inputs, *test.outputs)) < 10
    assert len(dumps(graph)) < 5000
    check_selftest(graph)
    assert graph.meta["selftest"] == "the module's own outputs for random inputs"


@pytest.mark.parametrize("which", FORWARDS)
def test_user_modules_with_long_examples(torch: Any, which: str) -> None:
    """Each is cut down, states and lengths rightly, and compared at many sizes."""
    forward, options, inputs = FORWARDS[which]
    made = {
        "x": torch.randn(20, 60, 5),
        "y": torch.randn(20, 40, 5),
        "n": torch.linspace(60, 1, 20).long(),
        "ids": torch.randint(0, 11, (20, 60)),
        "hc": (torch.randn(4, 20, 7), torch.randn(4, 20, 7)),
    }
    graph = from_torch(user_module(torch, forward, **options), tuple(made[i] for i in inputs.split()))
    check_selftest(graph)
    assert "compared with the module's own numbers" in graph.meta["checked"]
    assert graph.selftest is not None
    assert set(graph.selftest.inputs[0].shape[:2]) == {2, 4}


def test_ids_of_the_selftest_are_in_the_table(torch: Any) -> None:
    module = module_of(torch, lambda s, i: s.fc(s.rec(s.emb(i))[0]))
    check_selftest(from_torch(module, torch.zeros(20, 60, dtype=torch.long)))


FROZEN: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "steps": (lambda s, x: plain(s, x.view(-1, 30, 5)), r"made for 30 steps; .* could not be compared"),
    "rows": (lambda s, x: plain(s, x.view(20, -1, 5)), r"made for a batch of 20; .* could not be compared"),
    "both": (lambda s, x: plain(s, x.view(20, 30, 5)), r"made for (a batch of 20|30 steps); .* could not be compared"),
    "state": (
        lambda s, x: s.fc(s.rec(x, (x.new_zeros(1, 20, 7), x.new_zeros(1, 20, 7)))[0]),
        r"made for a batch of 20; .* could not be compared",
    ),
}


@pytest.mark.parametrize("which", FROZEN)
def test_modules_made_for_one_size(torch: Any, which: str) -> None:
    forward, note = FROZEN[which]
    graph = from_torch(module_of(torch, forward), example(torch))
    check_selftest(graph)
    assert any(re.search(note, found) for found in graph.meta["notes"])


def test_a_huge_example_is_not_copied(torch: Any) -> None:
    code = """
    import resource, numpy as np, torch
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    from lstm_rt_tools.torch_reader.from_torch import from_torch
    module = torch.nn.GRU(8, 16, batch_first=True)
    from_torch(module, torch.randn(2, 3, 8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    from_torch(module, torch.zeros(1).expand(1 << 14, 1 << 13, 8))
    from_torch(module, np.broadcast_to(np.float32(1), (1 << 14, 1 << 13, 8)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = python("-c", textwrap.dedent(code), check=True)
    assert int(run.stdout) < 64 << 10  # KiB; the example would be 4 GiB


# -- nothing silently wrong ---------------------------------------------------------------------------


def branch_on(size: Callable[[Any], bool]) -> Callable[[Any, Any], Any]:
    return lambda s, x: plain(s, x) * (2 if size(x) else 1)


WRONG: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "torch random": (lambda s, x: plain(s, x) * rand(1), r"two runs .*it calls torch.rand \(.*return torch.rand"),
    "python random": (lambda s, x: plain(s, x) * random.random(), r"two runs .* differ .* random numbers, or"),
    "numpy random": (lambda s, x: plain(s, x) * float(np.random.rand()), r"two runs .* differ .* random numbers, or"),
    "functional dropout": (lambda s, x: dropout(plain(s, x)), r"dropout.*random in eval mode, too.*return F.dropout"),
    "monte carlo dropout": (lambda s, x: s.drop.train()(plain(s, x)), r"drop \(Dropout\).*stays in training mode"),
    "batch statistics": (
        lambda s, x: plain(s, s.bn.train()(x.transpose(1, 2)).transpose(1, 2)),
        r"bn \(BatchNorm1d\).*stays in training mode",
    ),
    "branch on many steps": (
        branch_on(lambda x: x.shape[1] > 25),
        r"with \d+ rows? of (40|51|128) steps, output .* differs",
    ),
    "branch on many rows": (branch_on(lambda x: x.shape[0] > 15), r"with 24 rows of 2 steps, output .* differs"),
    "branch on one row": (branch_on(lambda x: x.shape[0] == 1), r"with 1 row of \d+ steps, output .* differs"),
    "small numbers": (
        lambda s, x: plain(s, x) * 1e-6 * (2 if x.shape[1] > 25 else 1),
        r"with \d+ rows? of (40|51|128) steps, output .* differs",
    ),
    "short floats": (lambda s, x: plain(s, x).bfloat16().float(), r"bfloat16.*the graph computes in float32"),
    "autocast": (lambda s, x: autocast(s, x), r"it computes in torch.bfloat16.*\(in rec, a LSTM"),
    "softplus threshold": (lambda s, x: softplus(plain(s, x)), r"softplus: threshold=1 is not supported"),
    "numpy": (lambda s, x: plain(s, x) * float(np.asarray(x).mean()), r"__array__.*depend on the numbers"),
    "script function": (lambda s, x: scripted()(plain(s, x)), r"code does that cannot be watched, such as TorchScript"),
    "works once": (lambda s, x: (s.__delattr__("once"), plain(s, x))[1], r"works once only, then it fails: Attribute"),
}


def rand(n: int) -> Any:
    import torch

    return torch.rand(n)


def dropout(x: Any) -> Any:
    import torch.nn.functional as F

    return F.dropout(x, 0.1)


def softplus(x: Any) -> Any:
    import torch.nn.functional as F

    return F.softplus(x, threshold=1)


def autocast(s: Any, x: Any) -> Any:
    import torch

    with torch.autocast("cpu", dtype=torch.bfloat16):
        return plain(s, x).float()


def scripted() -> Any:
    import torch

    return torch.jit.trace(lambda x: x * 2, torch.ones(2))


def test_a_view_that_is_read_after_its_tensor_has_changed(torch: Any) -> None:
    def forward(s: Any, x: Any) -> Any:
        y = s.rec(x)[0]
        last = y[:, -1]
        y.mul_(2)
        return s.fc(last)

    module = module_of(torch, forward)
    same_as_module(torch, from_torch(module, example(torch)), module)


def test_a_step_written_over_through_a_view(torch: Any) -> None:
    module = module_of(torch, lambda s, x: (lambda y: (y[:, -1].mul_(0), s.fc(y))[1])(s.rec(x)[0]))
    same_as_module(torch, from_torch(module, example(torch)), module)


@pytest.mark.parametrize("which", WRONG)
def test_what_would_be_wrong_is_refused(torch: Any, which: str) -> None:
    forward, message = WRONG[which]
    module = module_of(torch, forward, lambda s: setattr(s, "once", 1))
    with pytest.raises(ConvertError, match=f"(?s){message}"):
        from_torch(module, example(torch))


def test_a_random_generator_of_the_module_is_refused_and_put_back(torch: Any) -> None:
    module = module_of(
        torch, lambda s, x: plain(s, x) * torch.rand(1, generator=s.rng), lambda s: setattr(s, "rng", torch.Generator())
    )
    before = module.rng.get_state()
    with pytest.raises(ConvertError, match="depend on its earlier calls"):
        from_torch(module, example(torch))
    assert torch.equal(module.rng.get_state(), before)


def autograd_function(torch: Any) -> Any:
    class Double(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    return lambda s, x: Double.apply(plain(s, x))


def hooked(torch: Any) -> Any:
    module = module_of(torch, plain)
    module.fc.register_forward_hook(lambda m, a, y: y * 2)
    module.rec.register_forward_pre_hook(lambda m, a: (a[0] - 0.5,))
    module.rec.register_forward_hook(lambda m, a, y: (y[0].tanh(), y[1]))
    module.register_forward_hook(lambda m, a, y: y + 1)
    return module


def parametrized(torch: Any) -> Any:
    module = module_of(torch, plain)
    torch.nn.utils.parametrizations.weight_norm(module.rec, "weight_hh_l0")
    torch.nn.utils.parametrizations.spectral_norm(module.fc)
    return module.eval()


def own_forward(torch: Any) -> Any:
    module = module_of(torch, plain)
    module.fc.forward = lambda x: torch.nn.functional.linear(x, module.fc.weight) * 3
    return module


def compiled_part(torch: Any) -> Any:
    module = module_of(torch, plain)
    module.rec = torch.compile(module.rec)
    return torch.compile(module)


def subclass(torch: Any) -> Any:
    module = module_of(torch, plain)
    module.fc = type("Own", (torch.nn.Linear,), {})(7, 3)
    module.rec = type("Own", (torch.nn.LSTM,), {})(5, 7, batch_first=True)
    return module


def clipped(torch: Any) -> Any:
    def forward(s: Any, x: Any) -> Any:
        s.fc.weight.data.clamp_(-0.1, 0.1)
        return plain(s, x)

    return module_of(torch, forward)


RIGHT: dict[str, Callable[[Any], Any]] = {
    "hooks": hooked,
    "parametrizations": parametrized,
    "a forward of its own": own_forward,
    "compiled": compiled_part,
    "subclasses": subclass,
    "weights changed in place": clipped,
    "data parallel": lambda torch: torch.nn.DataParallel(module_of(torch, plain)),
    "autograd function": lambda torch: module_of(torch, autograd_function(torch)),
    "input changed in place": lambda torch: module_of(torch, lambda s, x: plain(s, x.mul(1).mul_(2).add_(1))),
    "layers in a list": lambda torch: module_of(
        torch, lambda s, x: s.layers[1](s.layers[0](x)[0]), lambda s: setattr(s, "layers", [s.rec, s.fc])
    ),
    "double": lambda torch: module_of(torch, plain).double(),
}


@pytest.mark.parametrize("which", RIGHT)
def test_what_is_right(torch: Any, which: str) -> None:
    module = RIGHT[which](torch)
    graph = from_torch(module, example(torch))
    check_selftest(graph)
    same_as_module(torch, graph, module.float())


def test_modes_around_the_conversion_play_no_part(torch: Any) -> None:
    module = module_of(torch, plain)
    wanted = without_test(from_torch(module, torch.ones(2, 3, 5)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert without_test(from_torch(module, torch.ones(2, 3, 5))) == wanted
    with torch.inference_mode():
        assert without_test(from_torch(module, torch.ones(2, 3, 5))) == wanted
        inside = module_of(torch, plain)
        inside.load_state_dict(module.state_dict())
    assert without_test(from_torch(inside, torch.ones(2, 3, 5))) == wanted


def test_training_mode_is_noted_where_it_matters(torch: Any) -> None:
    module = module_of(torch, plain).train()
    with pytest.warns(UserWarning, match="from_torch: the module is in training mode"):
        graph = from_torch(module, example(torch))
    assert graph.meta["notes"][0].startswith("the module is in training mode")
    assert "notes" not in from_torch(torch.nn.Linear(5, 3), example(torch)).meta


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats_are_converted_by_a_copy(torch: Any, dtype: str) -> None:
    module = module_of(torch, plain).to(getattr(torch, dtype))
    before = {k: (id(v), v.clone()) for k, v in module.state_dict(keep_vars=True).items()}
    graph = from_torch(module, example(torch).to(getattr(torch, dtype)))
    assert f"the weights are {dtype}; a float32 copy" in graph.meta["notes"][0]
    for name, tensor in module.state_dict(keep_vars=True).items():
        assert id(tensor) == before[name][0]
        assert torch.equal(tensor, before[name][1])
    same_as_module(torch, graph, module.float())
    module = module_of(torch, plain, lambda s: setattr(s, "lock", threading.Lock())).to(getattr(torch, dtype))
    with pytest.raises(ConvertError, match=r"cannot be copied to run in float32 .*convert module.float\(\)"):
        from_torch(module, example(torch))
