"""The module is left as it was, and what it remembers between calls is a state or is refused by name."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.torch_modules import Namespace, check_selftest, example, module_of, plain
from lstm_rt_tools.judges import reference
from lstm_rt_tools.torch_reader.from_torch import from_torch

from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

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
        return torch.special.i0(s.fc(s.rec(x)[0]))

    module = module_of(torch, forward, lambda s: setattr(s, "hidden", None)).train()
    weight = module.fc.weight.clone()
    with pytest.raises(ConvertError, match="i0: this operation of PyTorch"):
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
