"""Real models from file to answer: convert, run, compare with the framework, show.

Needs lstm_rt and its converter, NumPy, and h5py for the Keras model; no framework.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from romaji.letters import EDGE, LETTERS

import lstm_rt

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5
LONGEST = 30  #: letters of a word
FIRST_TEST_YEAR = 1921


class Screen:
    """Colours only on a terminal that wants them; block characters only where they can be printed."""

    def __init__(self) -> None:
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        blocks = " ░▒▓█"
        try:
            blocks.encode(sys.stdout.encoding or "ascii")
            self.shades, self.full, self.empty, self.dot = blocks, "█", "░", "●"
        except UnicodeEncodeError:
            self.shades, self.full, self.empty, self.dot = " .:*#", "#", ".", "o"

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def text(self, text: str) -> str:
        """With a question mark for what cannot be printed."""
        encoding = sys.stdout.encoding or "ascii"
        return text.encode(encoding, "replace").decode(encoding)

    def title(self, text: str) -> None:
        print("\n" + self.paint(text, "1"))

    def bar(self, share: float, width: int) -> str:
        filled = round(min(max(share, 0.0), 1.0) * width)
        return self.full * filled + self.empty * (width - filled)


SCREEN = Screen()


def convert(source: Path, folder: Path, *options: str, name: str = "") -> Path:
    """Run the command line tool, as a user would; returns the .lrt file, which is in ``folder``."""
    target = folder / f"{name or source.stem}.lrt"
    shown = " ".join([source.relative_to(HERE).as_posix(), *(Path(o).name if "." in o else o for o in options)])
    print(f"$ lstm-rt convert {shown} -o {target.name}")
    command = [sys.executable, "-m", "lstm_rt_tools", "convert", str(source), *options, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"the converter stopped with code {done.returncode}")
    print(f"  {source.stat().st_size:,} bytes -> {target.stat().st_size:,} bytes")
    return target


def microseconds(call: Callable[[], Any], calls: int = 300) -> float:
    """Median time of a call."""
    times = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000


def compare(name: str, got: np.ndarray, want: np.ndarray) -> bool:
    """Print how far we are from what the framework computed when the model was trained."""
    error = float(np.max(np.abs(got - want)))
    ok = error <= TOLERANCE * max(1.0, float(np.max(np.abs(want))))
    verdict = SCREEN.paint("ok", "32") if ok else SCREEN.paint("MISMATCH", "31")
    print(f"  max abs difference to {name}: {error:.1e}  {verdict}")
    return ok


# -- digits -----------------------------------------------------------------------------------------


def digits(work: Path) -> bool:
    """Held-out handwritten digits through an LSTM trained with PyTorch."""
    SCREEN.title("Handwritten digits, read row by row (PyTorch LSTM)")
    folder = HERE / "digits"
    model = lstm_rt.load(str(convert(folder / "digits.pt", work, "--arch", str(folder / "arch.toml"))))
    reference = np.load(folder / "reference.npz")
    images, truth = reference["x"], reference["digit"]

    logits = model(images)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    guess = odds.argmax(axis=1)
    draw_digits(images, truth, guess, odds.max(axis=1))

    right = int((guess == truth).sum())
    print(f"\n  held-out images: {right} of {len(truth)} right ({right / len(truth):.1%})")
    ok = compare("PyTorch", logits, reference["y"])
    one, batch = images[:1], len(images)
    print(f"  one image: {microseconds(lambda: model(one)):.1f} us;", end=" ")
    print(f"in a batch of {batch}: {microseconds(lambda: model(images), 30) / batch:.2f} us each")
    return ok


def draw_digits(images: np.ndarray, truth: np.ndarray, guess: np.ndarray, odds: np.ndarray) -> None:
    """Three digits that were recognised, and the mistake the model was surest of, if it made one."""
    shown = [int(np.flatnonzero((truth == d) & (guess == d))[0]) for d in (0, 3, 8)]
    wrong = np.flatnonzero(guess != truth)
    if len(wrong):
        shown.append(int(wrong[odds[wrong].argmax()]))
    print()
    for row in range(8):
        shades = (images[shown, row] * (len(SCREEN.shades) - 1)).round().astype(int)
        print(("  " + "   ".join("".join(SCREEN.shades[s] * 2 for s in line) for line in shades)).rstrip())
    labels, bars = [], []
    for i in shown:
        good = guess[i] == truth[i]
        text = f"{guess[i]}  {odds[i]:.0%}" + ("" if good else f" (is a {truth[i]})")
        labels.append(SCREEN.paint(text.ljust(16), "32" if good else "31"))
        bars.append(SCREEN.bar(float(odds[i]), 16))
    print("  " + "   ".join(bars))
    print("  " + "   ".join(labels).rstrip())


# -- sunspots ---------------------------------------------------------------------------------------


def sunspots(work: Path) -> bool:
    """Sunspot numbers through a GRU trained with Keras: whole series at once, then year by year."""
    SCREEN.title("Sunspots, one year ahead (Keras GRU)")
    folder = HERE / "sunspots"
    model = lstm_rt.load(str(convert(folder / "sunspots.keras", work)))
    reference = np.load(folder / "reference.npz")
    table = np.loadtxt(folder / "sunspots.csv", delimiter=",", skiprows=1)
    years, actual = table[:, 0].astype(int), table[:, 1]

    x = reference["x"]
    forecast = model(x)
    after = forecast[0, :, 0] * 100  # after[k] is the forecast for the year that follows years[k]
    chart(years[1:], actual[1:], after[:-1])

    test = years[1:] >= FIRST_TEST_YEAR
    rmse = float(np.sqrt(np.mean((after[:-1] - actual[1:])[test] ** 2)))
    naive = float(np.sqrt(np.mean((actual[:-1] - actual[1:])[test] ** 2)))
    print(f"\n  years the model never saw ({FIRST_TEST_YEAR}-{years[-1]}), root mean square error:", end=" ")
    print(f"{rmse:.1f}; 'same as last year' gives {naive:.1f}")
    ok = compare("Keras", forecast, reference["y"])
    call = microseconds(lambda: model(x))
    print(f"  {len(years)} years: {call:.0f} us, {call / len(years):.2f} us per year")
    return stream_years(model, x[0], forecast[0], int(years[-1])) and ok


def stream_years(model: Any, x: np.ndarray, whole: np.ndarray, last_year: int) -> bool:
    """The same years one at a time, and then some that the model makes up from its own forecasts."""
    stream = model.stream()
    steps = np.array([np.array(stream.step(year)).ravel() for year in x])
    same = np.array_equal(steps, whole)
    verdict = SCREEN.paint("the same bits", "32") if same else SCREEN.paint("DIFFERENT", "31")
    print(f"  streamed year by year: {verdict}; one step {microseconds(lambda: stream.step(x[0])):.2f} us")

    stream.reset()
    for year in x:
        y = np.array(stream.step(year)).reshape(1)
    dream = []
    for _ in range(11):
        dream.append(max(float(y[0]) * 100, 0.0))
        y = np.array(stream.step(y)).reshape(1)
    print(f"  left to itself after {last_year}: " + " ".join(f"{v:.0f}" for v in dream))
    return same


def chart(years: np.ndarray, actual: np.ndarray, forecast: np.ndarray, height: int = 12) -> None:
    """Bars are what was counted, dots are the forecasts; the last years that fit 80 columns."""
    width = min(72, len(years))
    years, actual, forecast = years[-width:], actual[-width:], forecast[-width:]
    step = 200 / height
    print()
    for row in reversed(range(height)):
        low = row * step
        cells = []
        for a, f in zip(actual, forecast, strict=True):
            inside = low <= max(f, 0.0) < low + step
            cells.append(SCREEN.paint(SCREEN.dot, "33") if inside else SCREEN.shades[2] if a > low else " ")
        axis = f"{low:4.0f} " if row % 3 == 0 else "     "
        print("  " + axis + "".join(cells).rstrip())
    marks = "".join(f"{y:<10d}" if y % 10 == 0 else "" for y in years)
    print("  " + " " * (5 + int(-years[0] % 10)) + marks.rstrip())
    print(f"       {SCREEN.shades[2]} counted   {SCREEN.dot} forecast a year before")


# -- romaji -----------------------------------------------------------------------------------------


def romaji(work: Path) -> bool:
    """Japanese words in Latin letters: an encoder, and a decoder that reads what it has written."""
    SCREEN.title("Japanese in Latin letters, letter by letter (PyTorch encoder and decoder)")
    folder = HERE / "romaji"
    arch = ("--arch", str(folder / "arch.toml"), "--part")
    encoder, decoder = (
        lstm_rt.load(str(convert(folder / "romaji.pt", work, *arch, part, name=part)))
        for part in ("encoder", "decoder")
    )
    reference = np.load(folder / "reference.npz")
    state = encoder(reference["kana"], reference["lengths"])
    written = write(decoder, state)

    rows = [f"{word} {text}" for word, text in zip(reference["words"], written, strict=True)]
    print()
    for k in range(0, len(rows), 5):
        print(SCREEN.text("  " + "   ".join(rows[k : k + 5])))
    right = int(sum(a == b for a, b in zip(written, reference["romaji"], strict=True)))
    print(f"\n  words it was not trained on: {right} of {len(rows)} right")
    logits = decoder(reference["letters"], state=state[None])
    stream = decoder.stream()
    first = np.zeros(1, np.int32)
    ok = compare("PyTorch", logits, reference["logits"])
    print(f"  one letter: {microseconds(lambda: stream.step(first)):.2f} us")
    return ok and right == len(rows)


def write(decoder: Any, state: np.ndarray) -> list[str]:
    """The likeliest letter at each step is what the decoder reads at the next one, until a word ends."""
    stream = decoder.stream(batch=len(state))
    stream.state = state[None]  # (layers, N, H)
    letter = np.full(len(state), EDGE, np.int32)
    texts, going = [""] * len(state), np.ones(len(state), bool)
    for _ in range(LONGEST):
        letter = stream.step(letter).argmax(axis=1).astype(np.int32)
        going &= letter != EDGE
        texts = [t + LETTERS[n] if g else t for t, n, g in zip(texts, letter, going, strict=True)]
        if not going.any():
            break
    return texts


def main() -> int:
    """Returns 1 if a result is not what the framework computed."""
    kernels = ", ".join(str(k) for k in lstm_rt.kernels())
    print(f"lstm-rt {lstm_rt.__version__}, kernels on this CPU: {kernels}")
    # A loaded model keeps its file mapped, and Windows does not delete such files.
    with tempfile.TemporaryDirectory(prefix="lstm-rt-demo-", ignore_cleanup_errors=True) as work:
        results = [digits(Path(work)), sunspots(Path(work)), romaji(Path(work))]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
