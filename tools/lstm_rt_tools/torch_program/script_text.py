"""The text of TorchScript's code into trees: exactly the statements that TorchScript writes, nothing of it executed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lstm_rt.errors import ConvertError

from ..names import shown
from ..weights.budget import Budget
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
    Param,
    Return,
    Seq,
    Slice,
    Stmt,
    Table,
    While,
)

# -- tokens ----------------------------------------------------------------------------------------------


class _Token(NamedTuple):
    kind: str  #: name number string op newline indent dedent end
    text: str
    line: int


_TOKEN = re.compile(
    r"[ \t]*(?:(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?j?)"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*"|' + r"'(?:[^'\\\n]|\\.)*')"
    r"|(?P<op>->|[-()\[\]{},:=.])"
    r"|(?P<comment>#[^\n]*)"
    r"|(?P<newline>\n))"
)
_MOST_DEEP = 60  #: brackets in brackets, or statements in statements
_MOST_LINKS = 60  #: calls and attributes one after the other
_BYTES_PER_CHARACTER = 60  #: of trees, generously
_CHARACTERS_PER_STEP = 2
_MOST_DIGITS = 25


def _tokens(text: str, what: str) -> Iterator[_Token]:
    at, line, deep, indents = 0, 1, 0, [0]
    fresh = True  # at the begin of a line
    while at < len(text):
        if fresh and not deep:
            blank = re.compile(r"[ \t]*").match(text, at)
            assert blank is not None
            width, rest = len(blank[0]), text[blank.end() : blank.end() + 1]
            if rest not in ("\n", "#", ""):
                yield from _indents(width, indents, line, what)
                if len(indents) > _MOST_DEEP:
                    raise ConvertError(f"{what}, line {line}: statements are nested too deeply")
            fresh = False
        m = _TOKEN.match(text, at)
        if m is None:
            if not text[at:].strip(" \t"):
                break
            raise ConvertError(f"{what}, line {line}: {shown(text[at : at + 20].strip())} is not TorchScript")
        at, kind = m.end(), m.lastgroup or ""
        if kind == "newline":
            if not deep and not fresh:
                yield _Token("newline", "", line)
            line += 1
            fresh = fresh or not deep
        elif kind != "comment":
            word = m[kind]
            deep += (word in "([{") - (word in ")]}") if kind == "op" else 0
            yield _Token(kind, word, line)
    yield _Token("newline", "", line)
    for _ in indents[1:]:
        yield _Token("dedent", "", line)
    yield _Token("end", "", line)


def _indents(width: int, indents: list[int], line: int, what: str) -> Iterator[_Token]:
    if width > indents[-1]:
        indents.append(width)
        yield _Token("indent", "", line)
    while width < indents[-1]:
        indents.pop()
        yield _Token("dedent", "", line)
    if width != indents[-1]:
        raise ConvertError(f"{what}, line {line}: indented like no line before it")


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPED = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)", re.S)


def _unquoted(word: str) -> str:
    def one(m: re.Match[str]) -> str:
        c = m[1]
        if c[0] in "01234567":
            return chr(int(c, 8) & 255)
        return chr(int(c[1:], 16)) if c[0] == "x" and len(c) == 3 else _ESCAPES.get(c, c)

    return _ESCAPED.sub(one, word[1:-1])


# -- the parser ------------------------------------------------------------------------------------------

_CONSTANTS = {"None": None, "True": True, "False": False, "inf": float("inf"), "nan": float("nan")}


def parse(text: str, what: str, budget: Budget) -> dict[str, Def | Class]:
    """The functions and classes of a file of TorchScript's code, by name.

    Args:
        what: the file's name, for messages.
        budget: what the trees take is charged to it before they are made.

    Raises:
        ConvertError: a statement that TorchScript does not write; its line is named.
    """
    budget.memory(_BYTES_PER_CHARACTER * len(text), "its code")
    budget.steps(len(text) // _CHARACTERS_PER_STEP)
    return _Parser(text, what).module()


class _Parser:
    def __init__(self, text: str, what: str) -> None:
        self.what = what
        self.tokens = _tokens(text, what)
        self.token = next(self.tokens)
        self.deep = 0

    # -- tokens

    def take(self) -> _Token:
        taken = self.token
        if taken.kind != "end":
            self.token = next(self.tokens)
        return taken

    def at(self, *texts: str) -> bool:
        return self.token.kind in ("op", "name") and self.token.text in texts

    def accept(self, text: str) -> bool:
        if self.at(text):
            self.take()
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.wrong(f"expected {text!r}")

    def kind(self, kind: str) -> _Token:
        if self.token.kind != kind:
            raise self.wrong(f"expected a {kind}")
        return self.take()

    def wrong(self, why: str) -> ConvertError:
        found = shown(self.token.text) if self.token.text else f"a {self.token.kind}"
        return ConvertError(f"{self.what}, line {self.token.line}: not TorchScript: {why}, found {found}")

    # -- files and classes

    def module(self) -> dict[str, Def | Class]:
        found: dict[str, Def | Class] = {}
        while self.token.kind != "end":
            if self.token.kind == "newline":
                self.take()
            elif self.at("def"):
                function = self.definition()
                found[function.name] = function
            elif self.at("class"):
                made = self.class_()
                found[made.name] = made
            elif self.at("import", "op_version_set"):  # of files before torch 1.4
                while self.token.kind not in ("newline", "end"):
                    self.take()
            else:
                raise self.wrong("expected a class or a function")
        return found

    def class_(self) -> Class:
        self.expect("class")
        made = Class(self.kind("name").text, "")
        if self.accept("("):
            made.base = self.kind("name").text
            self.expect(")")
        self.expect(":")
        self.kind("newline")
        self.kind("indent")
        while self.token.kind != "dedent":
            self.member(made)
        self.take()
        return made

    def member(self, made: Class) -> None:
        if self.token.kind == "newline" or self.at("pass"):
            self.take()
            return
        if self.at("def"):
            method = self.definition()
            made.methods[method.name] = method
            return
        name = self.kind("name").text
        if self.accept("["):  # __annotations__["0"] = Type
            key = _unquoted(self.kind("string").text)
            self.expect("]")
            self.expect("=")
            made.fields[key] = (self.expression(), None)
        elif self.accept("="):
            made.lists[name] = self.expression()
        else:
            self.expect(":")
            kind = self.expression()
            made.fields[name] = (kind, self.expression() if self.accept("=") else None)
        self.kind("newline")

    def definition(self) -> Def:
        line = self.token.line
        self.expect("def")
        name = self.kind("name").text
        self.expect("(")
        params: list[Param] = []
        while not self.accept(")"):
            param = self.kind("name").text
            kind = self.expression() if self.accept(":") else None
            params.append(Param(param, kind, self.expression() if self.accept("=") else None))
            if not self.at(")"):
                self.expect(",")
        if self.accept("->"):
            self.expression()
        return Def(name, tuple(params), self.body(), line)

    # -- statements

    def body(self) -> tuple[Stmt, ...]:
        self.expect(":")
        self.kind("newline")
        self.kind("indent")
        found: list[Stmt] = []
        while self.token.kind != "dedent":
            if self.token.kind in ("newline", "end") or self.at("pass"):
                if self.take().kind == "end":
                    raise self.wrong("expected a statement")
                continue
            found.append(self.statement())
        self.take()
        return tuple(found)

    def statement(self) -> Stmt:
        line = self.token.line
        if self.at("def"):
            return self.definition()
        if self.accept("if"):
            test, then = self.expression(), self.body()
            return If(test, then, self.body() if self.accept("else") else (), line)
        if self.accept("for"):
            return self.for_(line)
        if self.accept("while"):
            return While(self.expression(), self.body(), line)
        if self.accept("with"):
            manager = self.expression()
            if self.accept("as"):
                self.kind("name")
            return Block(manager, self.body(), line)
        if self.accept("return"):
            value: Expr = Const(None) if self.token.kind == "newline" else self.listed()[0]
            self.kind("newline")
            return Return(value, line)
        return self.simple(line)

    def for_(self, line: int) -> For:
        target = self.kind("name").text
        self.expect("in")
        self.expect("range")
        self.expect("(")
        count = self.expression()
        self.expect(")")
        return For(target, count, self.body(), line)

    def simple(self, line: int) -> Stmt:
        left, several = self.listed()
        if self.accept(":"):
            self.expression()  # its type
        if not self.accept("="):
            self.kind("newline")
            return Do(left, line)
        targets = left.items if several and isinstance(left, Seq) else (left,)
        for t in targets:
            if not (isinstance(t, Name) or (isinstance(t, Attr) and not several)):
                raise self.wrong("an assignment to what is no name")
        value, _ = self.listed()
        self.kind("newline")
        return Assign(targets, value, several, line)

    def listed(self) -> tuple[Expr, bool]:
        """An expression, or a tuple of them without brackets."""
        first = self.expression()
        if not self.at(","):
            return first, False
        items = [first]
        while self.accept(","):
            if self.at("=") or self.token.kind == "newline":
                break
            items.append(self.expression())
        return Seq(tuple(items), False), True

    # -- expressions

    def expression(self) -> Expr:
        self.deep += 1
        if self.deep > _MOST_DEEP:
            raise self.wrong("brackets are nested too deeply")
        found = self.atom()
        for _ in range(_MOST_LINKS):
            if self.accept("."):
                found = Attr(found, self.kind("name").text)
            elif self.at("("):
                found = self.call(found)
            elif self.accept("["):
                found = self.index(found)
            else:
                self.deep -= 1
                return found
        raise self.wrong("an expression of too many calls")

    def atom(self) -> Expr:
        token = self.take()
        if token.kind == "name":
            return Const(_CONSTANTS[token.text]) if token.text in _CONSTANTS else Name(token.text)
        if token.kind == "number":
            return Const(self.number(token.text))
        if token.kind == "string":
            return Const(_unquoted(token.text))
        if token.text == "-":
            if self.token.kind == "name" and self.token.text in ("inf", "nan"):
                return Const(-float(self.take().text))
            return Const(-self.number(self.kind("number").text))
        if token.text in ("(", "["):
            return self.sequence(token.text == "[")
        if token.text == "{":
            return self.table()
        raise ConvertError(
            f"{self.what}, line {token.line}: not TorchScript: expected an expression, found "
            f"{shown(token.text) if token.text else 'a ' + token.kind}"
        )

    def number(self, text: str) -> int | float:
        if text.endswith("j") or len(text) > _MOST_DIGITS:
            raise self.wrong("a number of another kind than integers of 64 bits and floats")
        return int(text) if text.isdigit() else float(text)

    def sequence(self, is_list: bool) -> Expr:
        close, items, comma = "]" if is_list else ")", [], False
        while not self.accept(close):
            items.append(self.expression())
            comma = self.at(",")
            if not self.at(close):
                self.expect(",")
        if not is_list and len(items) == 1 and not comma:
            return items[0]
        return Seq(tuple(items), is_list)

    def table(self) -> Expr:
        items = []
        while not self.accept("}"):
            key = self.expression()
            self.expect(":")
            items.append((key, self.expression()))
            if not self.at("}"):
                self.expect(",")
        return Table(tuple(items))

    def call(self, function: Expr) -> Call:
        self.expect("(")
        args: list[Expr] = []
        kwargs: list[tuple[str, Expr]] = []
        while not self.accept(")"):
            value = self.expression()
            if self.accept("="):
                if not isinstance(value, Name):
                    raise self.wrong("an argument without a name")
                kwargs.append((value.id, self.expression()))
            else:
                args.append(value)
            if not self.at(")"):
                self.expect(",")
        return Call(function, tuple(args), tuple(kwargs))

    def index(self, of: Expr) -> Expr:
        start = None if self.at(":") else self.listed_index()
        if self.accept(":"):
            stop = None if self.at("]") else self.expression()
            self.expect("]")
            return Slice(of, start, stop)
        self.expect("]")
        assert start is not None
        return Index(of, start)

    def listed_index(self) -> Expr:
        """An index; types have several: ``Dict[str, Tensor]``."""
        first = self.expression()
        if not self.at(","):
            return first
        items = [first]
        while self.accept(","):
            if self.at("]"):
                break
            items.append(self.expression())
        return Seq(tuple(items), False)
