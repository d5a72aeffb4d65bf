"""Live modules: left as they were, compared thoroughly, and refused by the line that is in the way."""

from __future__ import annotations

import random
import re
import textwrap
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.programs import python
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch
from test_from_torch import FORWARDS, check_selftest, compiled, user_module

from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph


@pytest.fixture(autouse=True)
def torch() -> Iterator[Any]:
    module = pytest.importorskip("torch")
    module.manual_seed(0)
    module.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the notes; the tests read them from the graph
        yield module


def module_of(torch: Any, forward: Callable[..., Any], prepare: Callable[[Any], None] = lambda s: None) -> Any:
    """A module in eval mode: ``forward`` around an LSTM from 5 to 7 and a Linear from 7 to 3."""
    module = user_module(torch, forward).eval()
    prepare(module)
    return module


def plain(s: Any, x: Any) -> Any:
    return s.fc(s.rec(x)[0])


def example(torch: Any) -> Any:
    return torch.randn(20, 30, 5)


def same_as_module(torch: Any, graph: Graph, module: Any) -> None:
    """On inputs that the conversion has not seen."""
    x = torch.randn(3, 11, 5)
    with torch.no_grad():
        theirs = module(x)
    np.testing.assert_allclose(compiled(graph, [x.numpy()])[0], theirs.float().numpy(), atol=1e-5, rtol=1e-5)


# -- the module is left as it was ---------------------------------------------------------------------


def change_everything(s: Any, x: Any) -> Any:
    import torch

    s.hidden = s.rec(x)[1]
    s.count += 1
    s.calls.append(x)
    s.table["a"]["b"] = x
    s.queue.append(x)
    s.names.add("y")
    s.config.depth.value = 9
    s.slotted.a = 2
    s.held[0][0].add_(1)
    s.array += 1
    s.buffer.add_(1)
    s.register_buffer("late", torch.ones(1))
    s.running = torch.ones(4)
    s.fc.bias.data.clamp_(-0.01, 0.01)
    s.scale.data = torch.ones(5)
    s.emb.weight.requires_grad_(False)
    s.fc.note = "changed"
    s.nan.zero_()
    s.extra = torch.nn.Linear(2, 2)
    s.fc.register_forward_hook(lambda *_: None)
    s.numpy_rng.normal(), s.python_rng.random(), torch.rand(1, generator=s.torch_rng)
    type(s).shared["x"] = x
    type(s).made = True
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)
    s.train()
    s.fc.eval()
    return s.fc(s.rec(x)[0])


class Slotted:
    __slots__ = ("a", "b")


def everything(torch: Any) -> Any:
    def prepare(s: Any) -> None:
        s.hidden, s.count, s.calls, s.table = None, 0, [], {"a": {}}
        s.queue, s.names, s.array = deque([1]), {"x"}, np.zeros(3)
        s.config = SimpleNamespace(depth=Namespace(value=1))
        s.slotted = Slotted()
        s.slotted.a = 1
        s.held = [(torch.zeros(2),)]
        s.register_buffer("buffer", torch.zeros(2))
        s.register_buffer("running", torch.zeros(4))
        s.nan = torch.tensor([float("nan"), 1.0])
        s.numpy_rng, s.python_rng = np.random.default_rng(0), random.Random(0)
        s.torch_rng = torch.Generator().manual_seed(0)
        s.rec.train()
        type(s).shared = {}

    return module_of(torch, change_everything, prepare)


class Namespace:
    def __init__(self, value: int) -> None:
        self.value = value


def facts(torch: Any, s: Any) -> dict[str, Any]:
    return {
        "attributes": [list(vars(m)) for m in s.modules()],
        "ids": {k: id(v) for k, v in vars(s).items()},
        "plain": repr((s.hidden, s.count, s.calls, s.table, s.queue, s.names, s.config.depth.value, s.slotted.a)),
        "slot b": hasattr(s.slotted, "b"),
        "numbers": repr((s.held, s.array, s.nan)),
        "tensors": {k: (id(v), v.data_ptr(), v.tolist()) for k, v in s.state_dict(keep_vars=True).items()},
        "grad": [p.requires_grad for p in s.parameters()],
        "training": [m.training for m in s.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in s.modules()],
        "generators": (s.numpy_rng.bit_generator.state, s.python_rng.getstate(), s.torch_rng.get_state().tolist()),
        "class": (dict(type(s).shared), hasattr(type(s), "made")),
        "process": (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()),
        "modes": (torch.is_grad_enabled(), torch.get_default_dtype()),
    }


def test_all_that_a_forward_changes_is_put_back(torch: Any) -> None:
    module, x = everything(torch), example(torch)
    given = x.clone()
    before = facts(torch, module)
    check_selftest(from_torch(module, x))
    after = facts(torch, module)
    assert before == after
    assert torch.equal(x, given)


def test_a_refused_module_is_put_back_too(torch: Any) -> None:
    def forward(s: Any, x: Any) -> Any:
        s.hidden = s.rec(x)[1]
        s.fc.weight.data.zero_()
        return s.fc(s.rec(x)[0]).cumsum(1)

    module = module_of(torch, forward, lambda s: setattr(s, "hidden", None)).train()
    weight = module.fc.weight.clone()
    with pytest.raises(ConvertError, match="cumsum"):
        from_torch(module, example(torch))
    assert module.hidden is None
    assert module.training
    assert torch.equal(module.fc.weight, weight)


def test_what_cannot_be_put_back_is_refused_before_anything_runs(torch: Any) -> None:
    def forward(s: Any, x: Any) -> Any:
        raise AssertionError("it runs")

    module = module_of(torch, forward, lambda s: setattr(s, "trainer", Namespace([{} for _ in range(300_000)])))
    with pytest.raises(ConvertError, match=r"module.trainer holds more than can be put back.*nothing was run"):
        from_torch(module, example(torch))


def test_trainers_and_optimizers_may_hang_on_a_module(torch: Any) -> None:
    def forward(s: Any, x: Any) -> Any:
        s.trainer.seen.append(len(x))
        return plain(s, x)

    def prepare(s: Any) -> None:
        s.trainer = Namespace(torch.optim.Adam(s.parameters()))
        s.trainer.module, s.trainer.lock, s.trainer.seen = s, threading.Lock(), []

    module = module_of(torch, forward, prepare)
    check_selftest(from_torch(module, example(torch)))
    assert module.trainer.seen == []


def test_the_graph_does_not_follow_later_training(torch: Any) -> None:
    module = module_of(torch, lambda s, x: s.fc(s.rec(x)[0]) * s.scale)
    graph = from_torch(module, example(torch))
    before = dumps(graph)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert dumps(graph) == before


# -- modules with a memory ----------------------------------------------------------------------------


def carrying(s: Any, x: Any) -> Any:
    y, s.hidden = s.rec(x, s.hidden)
    return s.fc(y)


def test_carried_states_start_from_zero_and_are_the_callers(torch: Any) -> None:
    module = module_of(torch, carrying, lambda s: setattr(s, "hidden", None))
    x = torch.randn(2, 6, 5)
    graph = from_torch(module, example(torch))
    assert module.hidden is None
    check_selftest(graph)
    assert any("carries the states" in n and "hidden" in n for n in graph.meta["notes"])
    with torch.no_grad():
        first, second = module(x).numpy(), module(x).numpy()
    y, state = reference.run(graph, [x.numpy()], return_state=True)
    np.testing.assert_allclose(y[0], first, atol=1e-5)
    np.testing.assert_allclose(reference.run(graph, [x.numpy()], state=state)[0], second, atol=1e-5)


def test_a_state_left_from_an_earlier_call_is_named(torch: Any) -> None:
    module = module_of(torch, carrying, lambda s: setattr(s, "hidden", None))
    module(example(torch))
    kept = module.hidden
    with pytest.raises(ConvertError, match=r"initial state is module.hidden\[0\], which is not zero.*reset it"):
        from_torch(module, example(torch))
    assert module.hidden is kept


def test_a_state_that_is_kept_but_not_read(torch: Any) -> None:
    def forward(s: Any, x: Any) -> Any:
        y, s.hidden = s.rec(x)
        return s.fc(y)

    graph = from_torch(module_of(torch, forward), example(torch))
    check_selftest(graph)
    assert "notes" not in graph.meta


MEMORIES: dict[str, Callable[[Any, Any], Any]] = {
    "last output": lambda s, x: (setattr(s, "last", s.last + 1), plain(s, x) * s.last)[1],
    "class attribute": lambda s, x: (setattr(type(s), "last", type(s).last + 1), plain(s, x) * type(s).last)[1],
    "first result": lambda s, x: (setattr(s, "hidden", plain(s, x) if s.hidden is None else s.hidden), s.hidden)[1],
    "one of two layers": lambda s, x: s.fc(carry_one(s, x) + s.rec(x)[0]),
}


def carry_one(s: Any, x: Any) -> Any:
    y, s.hidden = s.other(x, s.hidden)
    return y


@pytest.mark.parametrize("which", MEMORIES)
def test_other_memories_are_refused_by_name(torch: Any, which: str) -> None:
    def prepare(s: Any) -> None:
        type(s).last, s.hidden = 0, None
        s.other = torch.nn.LSTM(5, 7, batch_first=True)

    with pytest.raises(ConvertError, match=r"depend on its earlier calls \(its forward changes .*(last|hidden)"):
        from_torch(module_of(torch, MEMORIES[which], prepare), example(torch))


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
    assert "checked" not in graph.meta
    assert graph.selftest is not None
    assert graph.selftest.inputs[0].shape[:2] == (2, 4)


def test_ids_of_the_selftest_are_in_the_table(torch: Any) -> None:
    module = module_of(torch, lambda s, i: s.fc(s.rec(s.emb(i))[0]))
    check_selftest(from_torch(module, torch.zeros(20, 60, dtype=torch.long)))


FROZEN: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "steps": (lambda s, x: plain(s, x.view(-1, 30, 5)), r"with 8 rows of 30 steps; .* fails with 8 rows of 33 steps"),
    "rows": (lambda s, x: plain(s, x.view(20, -1, 5)), r"compared with 20 rows of 8 steps; .* fails with 21 rows"),
    "both": (lambda s, x: plain(s, x.view(20, 30, 5)), r"compared with 20 rows of 30 steps"),
    "state": (
        lambda s, x: s.fc(s.rec(x, (x.new_zeros(1, 20, 7), x.new_zeros(1, 20, 7)))[0]),
        r"compared with 20 rows of 8 steps",
    ),
}


@pytest.mark.parametrize("which", FROZEN)
def test_modules_made_for_one_size(torch: Any, which: str) -> None:
    forward, note = FROZEN[which]
    graph = from_torch(module_of(torch, forward), example(torch))
    check_selftest(graph)
    (found,) = graph.meta["notes"]
    assert re.search(note, found)
    assert "reference interpreter" in graph.meta["selftest"]


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
        r"with many steps, output .* differs .*something else there .*test_torch_live.py:\d+: return lambda",
    ),
    "branch on many rows": (branch_on(lambda x: x.shape[0] > 15), r"with many rows, output .* differs"),
    "branch on one row": (branch_on(lambda x: x.shape[0] == 1), r"with a single row and step, output .* differs"),
    "small numbers": (
        lambda s, x: plain(s, x) * 1e-6 * (2 if x.shape[1] > 25 else 1),
        r"with many steps, output .* differs",
    ),
    "view changed": (
        lambda s, x: (lambda y: (y[:, -1].mul_(0), s.fc(y))[1])(s.rec(x)[0]),
        r"fc \(Linear\) reads a tensor .* changed in place through a view",
    ),
    "view read": (
        lambda s, x: (lambda y, last: (y.mul_(2), s.fc(last))[1])(*(lambda y: (y, y[:, -1]))(s.rec(x)[0])),
        r"fc \(Linear\) reads a tensor .* changed in place through a view",
    ),
    "short floats": (lambda s, x: plain(s, x).bfloat16().float(), r"bfloat16.*the graph computes in float32"),
    "autocast": (lambda s, x: autocast(s, x), r"rec \(LSTM\).*it computes in torch.bfloat16.*"),
    "softplus threshold": (lambda s, x: softplus(plain(s, x)), r"Softplus with threshold=1 is not supported"),
    "numpy": (lambda s, x: plain(s, x) * float(np.asarray(x).mean()), r"__array__.*depend on the numbers"),
    "script function": (lambda s, x: scripted()(plain(s, x)), r"only through code that cannot be watched, such as"),
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


def without_test(graph: Graph) -> bytes:
    """The file but for what torch has computed, which depends on where its tensors lie."""
    graph.selftest = None
    return dumps(graph)


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
        "NaN or infinity in the weights: fc (Linear): weight bias (1 number)"
    ]
    module = module_of(torch, plain).double()
    module.rec.weight_ih_l0.data[2, 1] = 1e300
    with pytest.raises(ConvertError, match=r"rec \(LSTM\): weight weight_ih_l0: holds 1e\+300, which is"):
        from_torch(module, example(torch))


def test_another_order_of_axes_is_noted(torch: Any, tmp_path: Path) -> None:
    takes = "input 'x': the module takes (T, N, F); the converted model takes (N, T, F)"
    gives = "output 'output': the module gives (T, N, F); the converted model gives (N, T, F)"
    lstm = torch.nn.LSTM(5, 7)
    with pytest.warns(UserWarning, match=r"input 'x': the module takes \(T, N, F\)"):
        graph = from_torch(lstm, example(torch))
    assert graph.meta["notes"] == [takes, gives]
    last = user_module(torch, lambda s, x: s.fc(s.rec(x)[0][-1]), batch_first=False).eval()
    assert from_torch(last, example(torch)).meta["notes"] == [takes]
    turned = module_of(torch, lambda s, x: s.fc(s.rec(x)[0]).transpose(0, 1))
    assert from_torch(turned, example(torch)).meta["notes"] == [gives]
    inside = user_module(torch, lambda s, x: s.rec(x.transpose(0, 1))[0].transpose(0, 1), batch_first=False).eval()
    assert "notes" not in from_torch(inside, example(torch)).meta
    for module, wanted in (
        (lstm, [takes, gives]),
        (torch.nn.LSTM(5, 7, batch_first=True), None),
        (torch.nn.Sequential(torch.nn.Embedding(9, 5), lstm), [takes.replace(", F", ""), gives]),
    ):
        torch.save(module, tmp_path / "m.pt")
        assert from_torch(tmp_path / "m.pt").meta.get("notes") == wanted


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
    with pytest.raises(ConvertError, match="constant initial state other than zero"):
        from_torch(fixed, example(torch))


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
    message = r"on a long sequence, .*differs.*the forward does something else there.*test_torch_live"
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
        self.layers = torch.nn.Sequential(torch.nn.Linear(7, 4), torch.nn.Conv1d(6, 2, 1))
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
        return torch.fft.rfft(y).real  # at net.py

    def second(self, y):
        return self.rec(y[:, :, :5][:, -1])[0]

    def stacked(self, y):
        return self.layers(y)
"""

LINES = {
    "fails": r"forward fails on the example: RuntimeError: .*\(.*net.py:16: return y \+ torch.ones\(\)",
    "raises": r"forward fails on the example: KeyError: 'what the user says' \(.*net.py:20: raise KeyError",
    "spectrum": r"uses torch.fft.rfft, which is not supported \(.*net.py:23: return torch.fft.rfft\(y\).real",
    "second": r"uses rec \(LSTM\), .* on a single step .*\(.*net.py:26: return self.rec",
    "stacked": r"conv1d, which is not supported \(in layers.1, a Conv1d, .*net.py:29: return self.layers\(y\)\)",
}


@pytest.mark.parametrize("which", LINES)
def test_errors_name_the_line_of_the_forward(torch: Any, tmp_path: Path, which: str) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET)
    names: dict[str, Any] = {}
    exec(compile(NET, str(path), "exec"), names)
    with pytest.raises(ConvertError, match=LINES[which]):
        from_torch(names["Net"](which), torch.randn(2, 6, 5))
