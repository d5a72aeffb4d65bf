"""Interprets TorchScript's code, statement by statement, on tensors of the machine; Python executes none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from ..names import shown
from . import aten, script_numbers, script_prims
from .agree import DimsDiffer
from .run import Run, kind_of
from .script_tree import (
    Assign,
    Attr,
    Block,
    Call,
    Class,
    Const,
    Def,
    Do,
    Expr,
    For,
    If,
    Index,
    Name,
    Return,
    Seq,
    Slice,
    Stmt,
    Table,
    While,
)
from .script_values import Breaks, ClassRef, Function, Method, Obj, Op, Record
from .tensors import Var

_MOST_CALLS = 40  #: of functions in functions
_ROOTS = frozenset({"torch", "ops", "__torch__", "CONSTANTS"})

Names: TypeAlias = dict[str, Any]


class Library(Protocol):
    """What code refers to: the other code of the file, and its constants."""

    def find(self, name: str) -> Def | Class:
        """A function or class by its full name; :class:`~lstm_rt.errors.ConvertError` if the file has none."""
        ...

    def constant(self, index: str) -> Any:
        """``CONSTANTS.c<index>`` as the file holds it."""
        ...

    def value(self, stored: Any, interpreter: Interpreter, path: str) -> Any:
        """What something in the file is in a run: tensors, objects, lists of them."""
        ...


class Interpreter:
    """Runs functions of a file.

    Args:
        run: the machine's run.
        library: what the code refers to.
        kept: attributes of modules by their paths, as an earlier call has left them.
    """

    def __init__(self, run: Run, library: Library, kept: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.run, self.library = run, library
        self.given = kept
        self.kept: dict[str, Any] = {}  #: attributes of modules that the code has set, by their paths
        self.calls: list[str] = []
        self.constants: dict[str, Any] = {}
        self.stored: list[tuple[str, Var]] = []  #: tensors of the module that the code has asked for
        self._functions: dict[str, Function | ClassRef] = {}
        #: What two numbers were last compared with each other: what code checks before it complains.
        self.compared: tuple[Any, Any] | None = None

    # -- calls ----------------------------------------------------------------------------------------

    def method(self, obj: Obj, name: str, args: Sequence[Any]) -> Any:
        """Call a method of an object; its path names the layer at work."""
        tree = obj.cls.tree.methods.get(name)
        if tree is None:
            raise self.run.error(f"{shown(obj.cls.name)} has no method {shown(name)}")
        with self.run.machine.layer(self._relative(obj.path)) if obj.path else nullcontext():
            return self.function(tree, [obj, *args], owner=obj.cls.name)

    def _relative(self, path: str) -> str:
        """The machine joins the names of layers within layers; paths are whole."""
        outer = self.run.machine.where.replace("/", ".")
        return path[len(outer) + 1 :] if path.startswith(f"{outer}.") else "" if path == outer else path

    def function(
        self, tree: Def, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, owner: str = ""
    ) -> Any:
        """Call a function; ``owner``: its full name, or that of its class.

        Raises:
            ConvertError: its arguments do not fit, or something in it cannot be converted.
        """
        if len(self.calls) >= _MOST_CALLS:
            raise self.run.error("functions call each other too deeply", shown(tree.name))
        self.calls.append(owner)
        try:
            self.block(tree.body, self._arguments(tree, args, kwargs or {}))
        except Breaks as result:
            return result.value
        finally:
            self.calls.pop()
        return None

    def closure(self, tree: Def, names: Names) -> Any:
        """Call a function within a function, which sees the names around it."""
        try:
            self.block(tree.body, names)
        except Breaks as result:
            return result.value
        return None

    def _arguments(self, tree: Def, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Names:
        names: Names = {}
        for i, param in enumerate(tree.params):
            if i < len(args):
                names[param.name] = args[i]
            elif param.name in kwargs:
                names[param.name] = kwargs[param.name]
            elif param.default is not None:
                names[param.name] = self.value(param.default, {})
            else:
                raise self.run.error(f"{shown(tree.name)} is called without {shown(param.name)}")
        if len(args) > len(tree.params):
            raise self.run.error(f"{shown(tree.name)} is called with {len(args)} arguments")
        return names

    def step(self) -> None:
        """Count what is done, so that no code runs without end."""
        self.run.meter.step()

    # -- statements -----------------------------------------------------------------------------------

    def block(self, body: Sequence[Stmt], names: Names) -> None:
        """Run statements one after the other; a ``return`` raises :class:`Breaks`."""
        for statement in body:
            self.step()
            _STATEMENTS[type(statement)](self, statement, names)

    def _assign(self, s: Assign, names: Names) -> None:
        value = self.value(s.value, names)
        if not s.unpack:
            self._put(s.targets[0], value, names)
            return
        if isinstance(value, Var):
            value = aten.call(self.run, "unbind", (value,), {})
        if not isinstance(value, list | tuple) or len(value) != len(s.targets):
            count = len(value) if isinstance(value, list | tuple) else kind_of(value)
            error = self.run.error(f"line {s.line}: {len(s.targets)} names for {count} values", "TorchScript")
            raise DimsDiffer(str(error), "TorchScript", (count, len(s.targets))) if isinstance(count, int) else error
        for target, part in zip(s.targets, value, strict=True):
            self._put(target, part, names)

    def _put(self, target: Expr, value: Any, names: Names) -> None:
        if isinstance(target, Name):
            names[target.id] = value
            return
        assert isinstance(target, Attr)
        obj = self.value(target.of, names)
        if not isinstance(obj, Obj):
            raise self.run.error(f"an attribute of a {kind_of(obj)} is set", "TorchScript")
        if obj.cls.tree.base == "Module":
            self.kept[f"{obj.path}.{target.name}".lstrip(".")] = value
        obj.attrs[target.name] = value

    def _do(self, s: Do, names: Names) -> None:
        self.value(s.value, names)

    def _if(self, s: If, names: Names) -> None:
        self.block(s.then if self.truth(self.value(s.test, names)) else s.other, names)

    def _for(self, s: For, names: Names) -> None:
        turns = self.run.whole(self.value(s.count, names), "the number of turns of a loop")
        self._in_loop(turns, s.line)
        for i in range(turns):
            self.step()
            names[s.target] = i
            self.block(s.body, names)

    def _while(self, s: While, names: Names) -> None:
        turns = 0
        while self.truth(self.value(s.test, names)):
            self.step()
            self.block(s.body, names)
            turns += 1
        self._in_loop(turns, s.line)

    def _in_loop(self, turns: int, line: int) -> None:
        """Where a loop is, which is over single steps perhaps."""
        self.run.machine.loops[turns] = self.calls[-1], line

    def _return(self, s: Return, names: Names) -> None:
        raise Breaks(self.value(s.value, names))

    def _with(self, s: Block, names: Names) -> None:
        self.value(s.manager, names)
        self.block(s.body, names)

    def _def(self, s: Def, names: Names) -> None:
        names[s.name] = (s, names)  # of fork alone: it sees the names around it

    def truth(self, value: Any) -> bool:
        """A condition; one that depends on the numbers of an input is an error."""
        if isinstance(value, Var):
            return bool(self.run.array(value, "a condition").reshape(()))
        return bool(value)

    # -- expressions ----------------------------------------------------------------------------------

    def value(self, e: Expr, names: Names) -> Any:
        """What an expression is."""
        return _EXPRESSIONS[type(e)](self, e, names)

    def _const(self, e: Const, names: Names) -> Any:
        return e.value

    def _name(self, e: Name, names: Names) -> Any:
        if e.id in names:
            return names[e.id]
        raise self.run.error(f"{shown(e.id)} is no name that is known here", "TorchScript")

    def _attr(self, e: Attr, names: Names) -> Any:
        dotted = _dotted(e, names)
        if dotted is not None:
            return self.global_(dotted)
        return self.attribute(self.value(e.of, names), e.name)

    def attribute(self, obj: Any, name: str) -> Any:
        """An attribute of a value."""
        if isinstance(obj, Obj):
            return self._of_object(obj, name)
        if isinstance(obj, Record) and name in obj.cls.tree.fields:
            return obj[list(obj.cls.tree.fields).index(name)]
        if isinstance(obj, Var):
            return script_prims.of_tensor(self.run, obj, name)
        if isinstance(obj, ClassRef) and name == "__new__":
            return obj
        raise self.run.error(f"a {kind_of(obj)} has no attribute {shown(name)}", "TorchScript")

    def _of_object(self, obj: Obj, name: str) -> Any:
        if name in obj.attrs:
            return obj.attrs[name]
        if name in obj.cls.tree.methods:
            return Method(obj, obj.cls.tree.methods[name])
        path = f"{obj.path}.{name}" if obj.path else name
        if path in self.given and obj.cls.tree.base == "Module":
            value = self.given[path]
        elif name in obj.stored:
            value = self.library.value(obj.stored[name], self, path)
        elif obj.cls.tree.fields.get(name, (None, None))[1] is not None:
            value = self.value(obj.cls.tree.fields[name][1], {})  # type: ignore[arg-type]
        else:
            raise self.run.error(f"{shown(obj.cls.name)} has no attribute {shown(name)}", "TorchScript")
        obj.attrs[name] = value
        return value

    def global_(self, name: str) -> Any:
        """What a full name stands for: an operation, a constant, a function or class of the file."""
        root, _, rest = name.partition(".")
        if root in ("torch", "ops"):
            return Op(name)
        if root == "CONSTANTS":
            if rest not in self.constants:
                self.constants[rest] = self.library.value(self.library.constant(rest), self, "")
            return self.constants[rest]
        found = self._functions.get(name)
        if found is None:
            tree = self.library.find(name)
            found = ClassRef(name, tree) if isinstance(tree, Class) else Function(name, tree)
            self._functions[name] = found
        return found

    def _call(self, e: Call, names: Names) -> Any:
        self.step()
        if isinstance(e.function, Name) and e.function.id not in names:
            return script_prims.built_in(self, e, names)
        if isinstance(e.function, Attr) and _dotted(e.function, names) is None:
            return self._called_attr(e, e.function, names)
        function = self.value(e.function, names)
        args = tuple(self.value(a, names) for a in e.args)
        kwargs = {k: self.value(v, names) for k, v in e.kwargs}
        return self.apply(function, args, kwargs)

    def _called_attr(self, e: Call, function: Attr, names: Names) -> Any:
        obj = self.value(function.of, names)
        if isinstance(obj, ClassRef) and function.name == "__new__":
            return Obj(obj, {})
        args = [self.value(a, names) for a in e.args]
        if isinstance(obj, Obj) and function.name in obj.cls.tree.methods:
            return self.method(obj, function.name, args)
        if isinstance(obj, Var) and function.name == "tolist":
            return script_prims.to_list(self.run, obj)
        return self.apply(self.attribute(obj, function.name), tuple(args), {})

    def apply(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call what is no name any more."""
        if isinstance(function, Op):
            return self.operation(function.name, args, kwargs)
        if isinstance(function, Function):
            return self.function(function.tree, args, kwargs, function.name)
        if isinstance(function, Method):
            return self.method(function.obj, function.tree.name, args)
        if isinstance(function, ClassRef):
            return self._made(function, args)
        raise self.run.error(f"a {kind_of(function)} is called", "TorchScript")

    def _made(self, cls: ClassRef, args: Sequence[Any]) -> Any:
        if cls.tree.base == "NamedTuple":
            if len(args) != len(cls.tree.fields):
                raise self.run.error(f"{len(args)} values for {shown(cls.name)}", "TorchScript")
            return Record.of(cls, iter(args))
        obj = Obj(cls, {})
        self.method(obj, "__init__", args)
        return obj

    def operation(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation of PyTorch's."""
        root, _, short = name.partition(".")
        if root == "ops":
            root, _, short = short.partition(".")
            if root == "prim":
                return script_prims.prim(self, short, args, kwargs)
            if root != "aten":
                raise self.run.error("an operation of its own (custom operator), whose code is not in the file",
                                     shown(name))  # fmt: skip
        if script_numbers.applies(short, args):
            if short in _COMPARED and len(args) == 2:
                self.compared = (args[0], args[1])
            return script_numbers.apply(self.run, short, args, kwargs)
        if short in script_prims.TORCH:
            return script_prims.TORCH[short](self.run, *args)
        if not aten.known(short):
            return aten.unknown(self.run, shown(short), args, kwargs)
        return aten.call(self.run, short, args, kwargs)

    def _index(self, e: Index, names: Names) -> Any:
        of, at = self.value(e.of, names), self.value(e.index, names)
        if isinstance(of, Obj):  # a container of modules
            return self.attribute(of, str(at))
        if isinstance(of, Var):
            return aten.call(self.run, "select", (of, 0, at), {})
        if isinstance(at, Var):
            at = self.run.whole(at, "an index")
        return script_numbers.apply(self.run, "__getitem__", (of, at), {})

    def _slice(self, e: Slice, names: Names) -> Any:
        start, stop = (None if v is None else self.value(v, names) for v in (e.start, e.stop))
        return script_numbers.apply(self.run, "slice", (self.value(e.of, names), start, stop), {})

    def _seq(self, e: Seq, names: Names) -> Any:
        values = [self.value(i, names) for i in e.items]
        return values if e.is_list else tuple(values)

    def _table(self, e: Table, names: Names) -> Any:
        pairs = [(self.value(k, names), self.value(v, names)) for k, v in e.items]
        if not all(isinstance(k, str | int | float | bool) for k, _ in pairs):
            raise self.run.error("a dictionary whose keys are no strings and numbers", "TorchScript")
        return dict(pairs)


_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge", "__contains__")


def _dotted(e: Attr, names: Names) -> str | None:
    """A full name such as ``torch.nn.functional.relu``, if that is what the expression is."""
    parts = [e.name]
    of = e.of
    while isinstance(of, Attr):
        parts.append(of.name)
        of = of.of
    if not isinstance(of, Name) or of.id not in _ROOTS or of.id in names:
        return None
    return ".".join([of.id, *reversed(parts)])


_STATEMENTS: dict[type, Callable[..., None]] = {
    Assign: Interpreter._assign,
    Do: Interpreter._do,
    If: Interpreter._if,
    For: Interpreter._for,
    While: Interpreter._while,
    Return: Interpreter._return,
    Block: Interpreter._with,
    Def: Interpreter._def,
}
_EXPRESSIONS: dict[type, Callable[..., Any]] = {
    Const: Interpreter._const,
    Name: Interpreter._name,
    Attr: Interpreter._attr,
    Call: Interpreter._call,
    Index: Interpreter._index,
    Slice: Interpreter._slice,
    Seq: Interpreter._seq,
    Table: Interpreter._table,
}
