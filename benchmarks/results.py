"""What a comparison found: times by workload, number of threads and engine, to JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from bounds import bound_us, flop, roofline_for, weight_bytes
from model_workloads import from_facts
from roofline import Roofline, higher
from workloads import AnyWorkload, EngineName, Workload

OURS = "lstm_rt"
Limits = dict[str, Roofline]  # by instruction set, the best first


@dataclass(frozen=True)
class Spread:
    """A median between the 10th and the 90th percentile."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        p10, median, p90 = (float(v) for v in np.percentile(values, (10, 50, 90)))
        return cls(median, p10, p90)


@dataclass(frozen=True)
class Timing:
    """Microseconds of a call: over all calls of all rounds, and the median of each round."""

    us_per_call: Spread
    round_medians_us: list[float]

    @classmethod
    def of(cls, rounds: Sequence[Sequence[int]]) -> Timing:
        """From nanoseconds, call by call, in rounds."""
        medians = [float(np.median(r)) / 1e3 for r in rounds]
        return cls(Spread.of([t / 1e3 for r in rounds for t in r]), medians)


@dataclass
class Entry:
    """One engine on one workload: its times, or why there are none."""

    engine: str
    version: str = ""
    settings: str = ""
    max_abs_diff: float | None = None  #: from lstm_rt with float32 weights
    max_error: float | None = None  #: from the exact result, if that is known
    rms_error: float | None = None  #: likewise, the root of the mean of squares
    nbytes: int = 0  #: of the model as it is stored
    missing: str = ""
    failed: str = ""
    calls: int = 0  #: per round
    timing: Timing | None = None

    @property
    def us(self) -> float | None:
        """Median microseconds of a call."""
        return self.timing.us_per_call.median if self.timing else None

    def is_ours(self) -> bool:
        return self.name.engine == OURS

    @property
    def name(self) -> EngineName:
        return EngineName.of(self.engine)


@dataclass
class Result:
    """All engines on one workload with one number of threads."""

    workload: AnyWorkload
    threads: int
    entries: list[Entry]
    limits: list[Limits] = field(default_factory=list)  #: measured before and after, if they could be

    def entry(self, engine: str) -> Entry | None:
        """The engine's entry, if it has times."""
        return next((e for e in self.entries if e.engine == engine and e.timing), None)

    def ours(self) -> Entry | None:
        """lstm_rt with its best kernels, or else its first other table."""
        mine = [e for e in self.entries if e.timing and e.is_ours()]
        return self.entry(OURS) or next(iter(mine), None)

    def best_rival(self, integers: bool = False) -> Entry | None:
        """The rival with the smallest median, of those with float weights or with integers."""
        rivals = [
            (e.us, e)
            for e in self.entries
            if e.us is not None and not e.is_ours() and e.name.has_integers == integers
        ]
        return min(rivals, key=lambda pair: pair[0])[1] if rivals else None

    def bound_us(self, engine: str) -> float | None:
        """The least microseconds with the engine's instruction set; None if the limits are not known."""
        limits: Limits = {}
        for measured in self.limits:
            limits = {isa: higher(r, limits.get(isa, r)) for isa, r in measured.items()}
        roofline = roofline_for(engine, limits)
        return bound_us(self.workload_of(engine), roofline) if roofline else None

    def workload_of(self, engine: str) -> AnyWorkload:
        """The workload with the engine's weights."""
        return replace(self.workload, dtype=EngineName.of(engine).dtype)

    def share(self, entry: Entry | None) -> float | None:
        """The bound over the entry's time: 1 would be as fast as can be."""
        least = self.bound_us(entry.engine) if entry else None
        return least / entry.us if least and entry and entry.us else None


@dataclass
class Report:
    """A whole run. ``environment`` is the machine, versions and options."""

    environment: dict[str, Any]
    results: list[Result]

    def thread_counts(self) -> list[int]:
        return sorted({r.threads for r in self.results})

    def our_engines(self) -> list[str]:
        """lstm_rt as it comes and with each forced table of the run."""
        return list(dict.fromkeys(e.engine for r in self.results for e in r.entries if e.is_ours()))

    def same_workload(self, result: Result) -> list[Result]:
        """The result and those of the same workload with other numbers of threads."""
        return [r for r in self.results if r.workload == result.workload]

    def best_rival(self, result: Result) -> tuple[Entry, int] | None:
        """The fastest rival on the workload with whichever number of threads, and that number."""
        found = [(rival.us, rival, r.threads) for r in self.same_workload(result) if (rival := r.best_rival())]
        return min(found, key=lambda f: f[0] or np.inf)[1:] if found else None

    def speed_up(self, result: Result) -> float | None:
        """How many times longer lstm_rt takes with one thread than in ``result``."""
        one = next((r for r in self.same_workload(result) if r.threads == 1), None)
        return times_longer(one.ours() if one else None, result.ours())


def times_longer(entry: Entry | None, ours: Entry | None) -> float | None:
    """The ratio of medians, for entries of different runs; :func:`ratio` is for those of the same."""
    return entry.us / ours.us if entry and ours and entry.us and ours.us else None


def ratio(entry: Entry | None, ours: Entry | None) -> Spread | None:
    """How many times longer ``entry`` takes than ``ours``: over rounds, each compared with itself."""
    if not (entry and ours and entry.timing and ours.timing):
        return None
    pairs = zip(entry.timing.round_medians_us, ours.timing.round_medians_us, strict=True)
    return Spread.of([theirs / mine for theirs, mine in pairs])


# -- JSON -----------------------------------------------------------------------------------------


def _entry_json(result: Result, entry: Entry) -> dict[str, Any]:
    times = ratio(entry, result.ours())
    derived = {
        "ratio_to_ours": asdict(times) if times else None,
        "bound_us": result.bound_us(entry.engine),
        "share_of_bound": result.share(entry),
    }
    return asdict(entry) | {"derived": derived}


def _result_json(result: Result) -> dict[str, Any]:
    w, rival = result.workload, result.best_rival()
    return {
        "workload": asdict(w) if isinstance(w, Workload) else w.facts(),
        "threads": result.threads,
        "engines": [_entry_json(result, e) for e in result.entries],
        "limits": [[asdict(r) for r in measured.values()] for measured in result.limits],
        "derived": {
            "shape": w.describe(),
            "weight_bytes": weight_bytes(w),
            "flop": flop(w),
            "best_rival": rival.engine if rival else None,
        },
    }


def as_json(report: Report) -> dict[str, Any]:
    """Everything but the single calls, which are too many to keep. What is ``derived`` follows from the rest."""
    return {"environment": report.environment, "results": [_result_json(r) for r in report.results]}


def _entry(data: dict[str, Any]) -> Entry:
    given = {key: value for key, value in data.items() if key not in ("derived", "timing")}
    timing = data["timing"]
    return Entry(
        **given, timing=Timing(Spread(**timing["us_per_call"]), timing["round_medians_us"]) if timing else None
    )


def _result(data: dict[str, Any]) -> Result:
    limits = [{r["isa"]: Roofline.from_json(r) for r in measured} for measured in data["limits"]]
    given = data["workload"]
    workload = Workload(**given) if "cell" in given else from_facts(given)
    return Result(workload, data["threads"], [_entry(e) for e in data["engines"]], limits)


def from_json(data: dict[str, Any]) -> Report:
    """The report that :func:`as_json` was given."""
    return Report(data["environment"], [_result(r) for r in data["results"]])
