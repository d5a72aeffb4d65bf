"""Text that goes on by itself, letter by letter, cooler or hotter (PyTorch GRU)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import SCREEN, compare, convert, microseconds, picture

import lstm_rt

from .letters import LETTERS, load, numbers

HERE = Path(__file__).resolve().parent
HELD_OUT = 0.1  #: the end of the text
PROMPT = "KING RICHARD III:\n"


def run(work: Path, out: Path) -> bool:
    """How well the model knows the next letter of a text that it has not seen; then it writes its own."""
    model = lstm_rt.load(str(convert(HERE / "text.pt", work, "--arch", str(HERE / "arch.toml"))))
    reference = np.load(HERE / "reference.npz")
    ok = compare("PyTorch", model(reference["letters"]), reference["y"])

    text = numbers(load())
    unseen = text[int(len(text) * (1 - HELD_OUT)) :]
    chances = softmax(model(unseen[:-1]))[np.arange(len(unseen) - 1), unseen[1:]]
    counts = np.unique(text, return_counts=True)[1]
    blind = -np.log2(counts / len(text)) @ counts / len(text)
    print(f"  held-out text: {-np.log2(chances).mean():.2f} bits a letter; {blind:.2f} by how often each occurs")
    for temperature in (0.3, 0.7, 1.1):
        print(SCREEN.paint(f"\n  temperature {temperature}", "1"))
        written = write(model, PROMPT, 240, temperature, np.random.default_rng(4))
        print("\n".join("    " + line for line in written.splitlines()))
    stream = model.stream()
    print(f"\n  one letter: {microseconds(lambda: stream.step(0)):.2f} us")
    picture(out / "text.png", (9, 3), lambda figure: draw(figure, unseen[:60], softmax(model(unseen[:60]))))
    return ok


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def write(model: Any, prompt: str, letters: int, temperature: float, rng: np.random.Generator) -> str:
    """The prompt, and what the model writes behind it. Below 1 the likely letters become likelier, above 1 less so."""
    stream = model.stream()
    text = prompt
    for number in numbers(prompt):
        logits = stream.step(number)
    for _ in range(letters):
        number = rng.choice(len(LETTERS), p=softmax(logits.astype(float) / temperature))
        text += LETTERS[number]
        logits = stream.step(number)
    return text


def draw(figure: Any, letters: np.ndarray, odds: np.ndarray) -> None:
    """Below each letter of a text, the five that the model thought likeliest before it saw that letter."""
    axes = figure.subplots()
    best = np.argsort(-odds[:-1], axis=1)[:, :5]
    chance = np.take_along_axis(odds[:-1], best, axis=1)
    axes.imshow(chance.T, cmap="Blues", vmin=0, vmax=2.2, aspect="auto")
    names = [{"\n": "↵", " ": "␣"}.get(letter, letter) for letter in LETTERS]
    for step, row in enumerate(best):
        for place, number in enumerate(row):
            right = number == letters[step + 1]
            style = {"color": "tab:red", "weight": "bold"} if right else {"color": "black"}
            axes.text(step, place, names[number], ha="center", va="center", fontsize=8, **style)
    axes.set(xticks=range(len(letters) - 1), xticklabels=[names[k] for k in letters[1:]], yticks=[])
    axes.set(xlabel="the text", ylabel="likeliest first", title="what comes next? (bold: what came)")
