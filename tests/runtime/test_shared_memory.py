"""What shares memory: outputs, inputs and the buffers that a model is made of."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from helpers.models import zeros
from helpers.small_graphs import X, build, one_axis, plain, tokens

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

# -- memory that is shared ---------------------------------------------------------------------------


def test_out_must_not_share_memory() -> None:
    model, pair = build(plain), build(one_axis)
    x = X.copy()
    for out in (x, x.view()):
        with pytest.raises(InputError, match="out shares memory with an input"):
            model(x, out=out)
    buffer = np.zeros(2 * 6 * 4 + 3, np.float32)
    a, b = buffer[:48].reshape(2, 6, 4), buffer[3:].reshape(2, 6, 4)
    with pytest.raises(InputError, match="shares memory"):
        model(a, out=b)
    with pytest.raises(InputError, match="shares memory"):
        model(b, out=a)
    np.testing.assert_array_equal(x, X)
    joined = np.zeros(200, np.float32)
    with pytest.raises(InputError, match="another out"):
        pair(X, X, zeros(2, 4), out=(joined[:48].reshape(2, 6, 4), joined[40:48].reshape(2, 4)))
    good = pair(X, X, zeros(2, 4), out=(joined[:48].reshape(2, 6, 4), joined[48:56].reshape(2, 4)))
    np.testing.assert_equal(good, pair(X, X, zeros(2, 4)))


def test_what_is_copied_may_share_memory() -> None:
    model, ids = build(plain), build(tokens)
    out = np.full((2, 3, 4), 1e-45, np.float32)  # as integers: 1
    shared = out.reshape(-1).view(np.int32)
    np.testing.assert_equal(ids(shared[:6].reshape(2, 3), out=(out, None)), ids([[1] * 3] * 2))
    out = np.full((2, 6, 4), 1e-45, np.float32)
    shared = out.reshape(-1).view(np.int32)
    np.testing.assert_equal(model(X, lengths=shared[:2], out=out), model(X, lengths=[1, 1]))
    x = X.copy()
    np.testing.assert_equal(model(x[:, ::-1], out=x), model(X[:, ::-1].copy()))
    stream, out = ids.stream(4), np.full((4, 4), 1e-45, np.float32)
    np.testing.assert_equal(stream.step(out.view(np.int32)[0], out=(out, None)), ids.stream(4).step([1] * 4))


def test_streams_and_shared_memory() -> None:
    stream = build(plain).stream()
    x = X[0].copy()
    with pytest.raises(InputError, match="shares memory"):
        stream.step(x[0], out=x[0])
    with pytest.raises(InputError, match="shares memory"):
        stream.feed(x, out=x)
    joined = zeros(2, 4)
    stream.step(joined[0], out=joined[1])
    assert joined[1].any()


def shown(blob: bytearray) -> dict[str, Any]:
    """Buffers that show what is in ``blob``: what is read-only may still change."""
    view = np.frombuffer(blob, np.uint8)
    locked = view.view()
    locked.flags.writeable = False
    return {
        "bytearray": blob,
        "array": view,
        "floats": view.view(np.float32),
        "memoryview": memoryview(blob),
        "read-only memoryview": memoryview(blob).toreadonly(),
        "read-only array": locked,
    }


@pytest.mark.parametrize("form", shown(bytearray(4)))
def test_a_buffer_is_copied(form: str) -> None:
    """A model must not change once it has been checked."""
    g = Graph()
    plain(g)
    content = dumps(g)
    space = bytearray(len(content) + 64)
    start = -np.frombuffer(space, np.uint8).ctypes.data % 64  # as the core needs it, so there is no other reason
    aligned = memoryview(space)[start : start + len(content)]
    aligned[:] = content
    buffer = shown(aligned)[form]  # type: ignore[arg-type]
    model, copied = Model(buffer), copy.deepcopy(Model(buffer))
    before, info = model(X), model.info
    aligned[:] = bytes(len(content))
    np.testing.assert_array_equal(model(X), before)
    np.testing.assert_array_equal(copied(X), before)
    assert model.info == info
    assert pickle.loads(pickle.dumps(model)).info == info


def test_what_a_model_says_of_itself_cannot_be_changed() -> None:
    model = build(one_axis)
    assert isinstance(model.inputs, tuple)
    assert isinstance(model.outputs, tuple)
    port = model.inputs[0]
    for name, value in (("name", "z"), ("kind", "ids"), ("shape", ()), ("dtype", "int32"), ("size", 9), ("axis", 7)):
        with pytest.raises(AttributeError):
            setattr(port, name, value)
        with pytest.raises(AttributeError):
            object.__setattr__(port, name, value)
    for name in ("inputs", "outputs", "threads"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)
    for again in (copy.copy(port), copy.deepcopy(port), pickle.loads(pickle.dumps(port))):
        assert (repr(again), again.axis, again.kind) == (repr(port), 0, "seq")
    with pytest.raises(TypeError):
        type("Mine", (lstm_rt.Port,), {})
    assert model(X, X, zeros(2, 4), lengths={"b": [3, 6]})[0].shape == (2, 6, 4)
