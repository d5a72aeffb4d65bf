"""Builds programs for the devices of ``devices.toml`` and runs them: emulated, or on the host with 32-bit pointers.

    python tests/edge/run.py --device cortex-m4 [--count] [--sizes] [--flags="-O3 -DX"] FILES AND FOLDERS...

Of a folder all its C and C++ files are compiled, and it is looked in for headers. Warnings are errors. The program's
output is passed on; how large it is, how deep its stack was and, with ``--count``, which of its functions executed how
many instructions is printed to stderr. The exit code is the program's, or 125 after a fault and 124 where it took too
long. Tests import ``build`` and ``run``. The emulator's time says nothing about a device's, and is not given.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
RIG = HERE / "rig"
BASE = ("-std=c99", "-O2", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
CXX = ("-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
LINK = ("-Wl,--gc-sections",)
FAULT, TIMEOUT = 125, 124


class BuildError(Exception):
    """A compiler or linker refused; the message is what it said."""


@dataclass(frozen=True)
class Device:
    """One entry of ``devices.toml``, which says what its fields mean."""

    name: str
    compiler: str
    flags: Sequence[str]
    libraries: Sequence[str] = ()
    emulator: str = ""
    machine: Sequence[str] = ()
    flash: Sequence[int] = (0, 0)
    ram: Sequence[int] = (0, 0)
    stack: int = 0
    heap: int = 0
    start: str = ""

    def tool(self, name: str) -> str:
        return self.compiler + name

    @property
    def wants(self) -> list[str]:
        """Programs that it takes to build for the device and to run on it."""
        return [t for t in (self.tool("gcc"), self.tool("nm"), self.emulator) if t]


@dataclass(frozen=True)
class Piece:
    """A part of a linked program: a section of an object file. ``flash`` and ``ram`` are bytes."""

    object: str
    section: str
    flash: int
    ram: int


@dataclass(frozen=True)
class Program:
    device: Device
    elf: Path
    own: frozenset[str]  # the object files of what was to be built, without the rig and the libraries

    def pieces(self) -> list[Piece]:
        """What it is made of; nothing on the host. Padding between pieces belongs to none."""
        return _pieces(self.elf.with_suffix(".map"), self.device) if self.device.start else []

    def flash(self, own: bool = True) -> int:
        return sum(p.flash for p in self.pieces() if p.object in self.own or not own)

    def ram(self, own: bool = True) -> int:
        """Without stack and heap."""
        return sum(p.ram for p in self.pieces() if p.object in self.own or not own)

    def functions(self) -> dict[str, tuple[int, int]]:
        """Address and size of each function."""
        listed = subprocess.run(
            [self.device.tool("nm"), "-S", "--defined-only", self.elf], capture_output=True, text=True, check=True
        ).stdout
        found = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [tTwW] (\S+)$", listed, re.M)
        return {name: (int(address, 16) & ~1, int(size, 16)) for address, size, name in found}


@dataclass(frozen=True)
class Result:
    code: int  # the program's, FAULT or TIMEOUT
    output: str  # its stdout
    errors: str  # its stderr, and what the emulator said
    fault: str = ""  # what kind, and where
    stack: int = 0  # bytes, the whole program's; 0 on the host
    counts: Counter[str] | None = None  # executed instructions by function


@functools.cache
def devices() -> dict[str, Device]:
    table = tomllib.loads((HERE / "devices.toml").read_text(encoding="utf-8"))
    frozen: dict[str, dict[str, Any]] = {
        name: {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()} for name, entry in table.items()
    }
    return {name: Device(name, **entry) for name, entry in frozen.items()}


def missing(device: Device) -> list[str]:
    """Programs that this machine lacks for it."""
    lacks = [t for t in device.wants if not shutil.which(t)]
    if not lacks and not device.start and not _links(device):
        lacks = ["gcc -m32"]
    return lacks


@functools.cache
def _links(device: Device) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "main.c"
        source.write_text("#include <stdio.h>\nint main(void) { return 0; }\n", encoding="utf-8")
        command = [device.tool("gcc"), *device.flags, str(source), "-o", str(Path(folder) / "main")]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _do(command: Sequence[object]) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{shlex.join(str(c) for c in command)}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def sources_of(paths: Iterable[Path]) -> list[Path]:
    """Files, and the C and C++ files of folders. ``BuildError`` if there is none, or one is not there."""
    sources: list[Path] = []
    for path in paths:
        if path.is_dir():
            sources += sorted(p for p in path.iterdir() if p.suffix in (".c", ".cpp", ".cc"))
        elif path.is_file():
            sources.append(path)
        else:
            raise BuildError(f"{path}: no such file or folder")
    if not sources:
        raise BuildError("nothing to compile: no C or C++ file in what was named")
    return sources


def build(
    device: Device,
    paths: Iterable[Path],
    folder: Path,
    *,
    flags: Sequence[str] = (),
    strict: bool = True,
) -> Program:
    """Compile and link into ``folder``. ``flags`` come after ``BASE`` and win. Raises ``BuildError``."""
    paths = list(paths)
    sources = sources_of(paths)
    includes = dict.fromkeys([f"-I{p if p.is_dir() else p.parent}" for p in paths] + [f"-I{RIG}"])
    folder.mkdir(parents=True, exist_ok=True)

    def compiled(numbered: tuple[int, Path]) -> Path:
        number, source = numbered
        base = [*BASE, *flags]
        if source.suffix != ".c":
            base = [*(f for f in base if not f.startswith(("-std=c99", "-std=gnu99"))), *CXX]
        to = folder / f"{number}-{source.stem}.o"
        return _compile(device, source, to, [*base, *(STRICT if strict else ["-w"]), *includes])

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compiled, enumerate(sources)))
    elf = folder / "program.elf"
    linker = device.tool("g++" if any(s.suffix != ".c" for s in sources) else "gcc")
    link = [linker, *device.flags, *_libc(device), *objects, *_rig(device), *LINK, *device.libraries, "-o", elf]
    if device.start:
        (folder / "memory.ld").write_text(_memory(device), encoding="utf-8")
        link += ["-nostartfiles", f"-L{folder}", f"-T{RIG / 'sections.ld'}", f"-Wl,-Map={folder / 'program.map'}"]
    _do([*link, "-lm"])
    return Program(device, elf, frozenset(str(o) for o in objects))


def _libc(device: Device) -> list[str]:
    return ["--specs=nano.specs", "-Wl,-u,_printf_float"] if device.compiler.startswith("arm") else []


def _compile(device: Device, source: Path, to: Path, options: Sequence[str]) -> Path:
    language = [] if source.suffix == ".c" else ["-x", "c++"]
    _do([device.tool("gcc"), *language, *device.flags, *_libc(device), *options, "-c", source, "-o", to])
    return to


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """What is built once a process."""
    return tempfile.TemporaryDirectory(prefix="lstm-rt-edge-")


@functools.cache
def _rig(device: Device) -> list[Path]:
    """The objects of the rig."""
    sources = [RIG / "rig.c", *([RIG / "semihost.c", RIG / device.start] if device.start else [])]
    folder = Path(_scratch().name) / device.name
    folder.mkdir()
    return [_compile(device, s, folder / f"rig-{s.stem}.o", [*BASE, *STRICT]) for s in sources]


def _memory(device: Device) -> str:
    regions = "".join(
        f"    {name} ({access}) : ORIGIN = {at:#x}, LENGTH = {size:#x}\n"
        for name, access, (at, size) in (("FLASH", "rx", device.flash), ("RAM", "rwx", device.ram))
    )
    return f"MEMORY {{\n{regions}}}\nRIG_STACK = {device.stack:#x};\nRIG_HEAP = {device.heap:#x};\n"


def _pieces(map_file: Path, device: Device) -> list[Piece]:
    text = map_file.read_text(encoding="utf-8").split("Linker script and memory map", 1)[1]
    pieces = []
    output = ""
    for found in re.finditer(r"^(\.[\w.]+)|^ (\.\S+|COMMON)\s+0x[0-9a-f]+ +0x([0-9a-f]+) (\S+)$", text, re.M):
        output = found[1] or output
        if found[1] or output not in (".text", ".ARM.extab", ".ARM.exidx", ".data", ".bss"):
            continue
        size = int(found[3], 16)
        in_ram = output in (".data", ".bss")
        pieces.append(Piece(found[4], found[2], 0 if output == ".bss" else size, size if in_ram else 0))
    return [p for p in pieces if p.flash or p.ram]


@functools.cache
def plugin() -> Path:
    """The plugin of QEMU that counts."""
    to = Path(_scratch().name) / "count.so"
    _do(["gcc", "-O2", "-std=gnu99", *STRICT, "-shared", "-fPIC", "-fvisibility=hidden", RIG / "count.c", "-o", to])
    return to


def run(program: Program, *, count: bool = False, timeout: float = 60) -> Result:
    """Run it. A fault and a program that does not end are results, not exceptions."""
    device = program.device
    command: list[str] = [str(program.elf)]
    functions: dict[str, tuple[int, int]] = {}
    counted = program.elf.with_suffix(".counts")
    if device.emulator:
        semihosting = "enable=on,target=native"
        command = [device.emulator, *device.machine, "-nographic", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", semihosting, "-kernel", str(program.elf)]
    if count:
        if not device.emulator:
            raise BuildError(f"{device.name}: instructions are counted under QEMU only")
        functions = program.functions()
        counted.unlink(missing_ok=True)
        arguments = [f"to={counted}", f"first={device.flash[0]:#x}", f"bytes={device.flash[1]:#x}"]
        if "rig_count_start" in functions:
            arguments += [f"{w}={functions[f'rig_count_{w}'][0]:#x}" for w in ("start", "stop")]
        command += ["-plugin", ",".join([str(plugin()), *arguments])]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as e:
        return Result(TIMEOUT, _text(e.stdout), _text(e.stderr), f"it did not end in {timeout:g} s")
    errors = _text(done.stderr)
    fault = re.search(r"^rig: fault: (.*)$", errors, re.M)
    stack = re.search(r"^rig: stack 0x([0-9a-f]+)(, all of it)?$", errors, re.M)
    rest = re.sub(r"^rig: .*\n", "", errors, flags=re.M)
    what = fault[1] if fault else ""
    if done.returncode < 0 or (device.start and not fault and not stack):
        what = (rest.strip().splitlines() or [f"signal {-done.returncode}"])[0]
    elif stack and stack[2]:
        what = "all of the stack was used"
    counts = _by_function(counted, functions) if count and counted.exists() else None
    code = FAULT if what else done.returncode
    return Result(code, _text(done.stdout), rest, what, int(stack[1], 16) if stack else 0, counts)


def _text(output: bytes | None) -> str:
    return (output or b"").decode("utf-8", "replace")


def _by_function(counted: Path, functions: dict[str, tuple[int, int]]) -> Counter[str]:
    """Instructions by function; the rig's own marks are left out."""
    by_address = sorted((at, size, name) for name, (at, size) in functions.items())
    counts: Counter[str] = Counter()
    i = 0
    for line in counted.read_text(encoding="utf-8").splitlines():
        address, n = int(line.split()[0], 16), int(line.split()[1])
        while i + 1 < len(by_address) and by_address[i + 1][0] <= address:
            i += 1
        at, size, name = by_address[i]
        inside = at <= address < at + max(size, 2)
        counts[name if inside else f"at {address:#x}"] += n
    for mark in ("rig_count_start", "rig_count_stop"):
        counts.pop(mark, None)
    return counts


def _report(program: Program, result: Result, sizes: bool) -> str:
    lines = []
    ended = f"exit {result.code}" if not result.fault else result.fault
    if program.device.start:
        own = f"{program.flash()} of flash and {program.ram()} of RAM its own"
        whole = f"{program.flash(own=False)} and {program.ram(own=False)} with the rig and libraries"
        lines.append(f"{program.device.name}: {ended}; bytes: {own}, {whole}, stack {result.stack}")
    else:
        lines.append(f"{program.device.name}: {ended}")
    if sizes:
        for p in sorted(program.pieces(), key=lambda p: -max(p.flash, p.ram)):
            mark = " " if p.object in program.own else "*"
            lines.append(f"{p.flash:8} flash {p.ram:8} RAM {mark} {p.section}  {Path(p.object).name}")
    if result.counts is not None:
        lines.append(f"{sum(result.counts.values()):12} instructions")
        lines += [f"{n:12} {name}" for name, n in result.counts.most_common()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="run.py", description="Builds a program for a device and runs it.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER")
    parser.add_argument("--device", required=True, choices=devices(), help="an entry of devices.toml")
    parser.add_argument("--count", action="store_true", help="executed instructions by function")
    parser.add_argument("--sizes", action="store_true", help="flash and RAM by section (*: not the program's own)")
    parser.add_argument("--flags", default="", help="for the compiler, after " + " ".join(BASE))
    parser.add_argument("--lax", action="store_true", help="no warnings, for code of others")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="build there, and leave it")
    options = parser.parse_args(argv)
    device = devices()[options.device]
    if lacks := missing(device):
        print(f"{device.name}: not on this machine: {', '.join(lacks)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        try:
            program = build(
                device,
                options.paths,
                options.keep or Path(temporary),
                flags=shlex.split(options.flags),
                strict=not options.lax,
            )
            result = run(program, count=options.count, timeout=options.timeout)
        except BuildError as e:
            print(e, file=sys.stderr)
            return 2
        print(result.output, end="", flush=True)
        print(result.errors, end="", file=sys.stderr)
        print(_report(program, result, options.sizes), file=sys.stderr)
        return result.code


if __name__ == "__main__":
    raise SystemExit(main())
