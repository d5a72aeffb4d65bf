"""How much processor time the control groups of this process leave it, on Linux."""

from collections.abc import Iterator
from pathlib import Path


def quota(root: Path = Path("/")) -> float | None:
    """Processors' worth of time that the process may use, None without a limit.

    The limit of every group that holds the process counts, so it is the least from its own up to the
    top of what is mounted, in version 1 and version 2.
    """
    limits = []
    try:
        groups = list(_groups(root))
    except (OSError, ValueError, IndexError):  # another system, or files of another form
        return None
    for folder, top in groups:
        for group in (folder, *folder.parents):
            limits.append(_limit(group))
            if group == top:
                break
    return min((x for x in limits if x is not None), default=None)


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """The folder of the process's group and the top of it, for each hierarchy that limits processor time."""
    own = (root / "proc/self/cgroup").read_text().splitlines()
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        fields, (system, _, options) = place.split(" "), kind.split(" ")[:3]
        if system == "cgroup2":
            controller = ""
        elif system == "cgroup" and "cpu" in options.split(","):
            controller = "cpu"
        else:
            continue
        top = root / fields[4].lstrip("/")
        for entry in own:
            _, names, path = entry.split(":", 2)
            if controller in names.split(","):
                yield _inside(top, fields[3], path), top


def _inside(top: Path, mounted: str, path: str) -> Path:
    """Where the group called ``path`` is, if the group ``mounted`` is at ``top``."""
    parts, above = Path(path).parts, Path(mounted).parts
    if parts[: len(above)] != above or ".." in parts:  # another namespace's names: the top is all there is to see
        return top
    return top.joinpath(*parts[len(above) :])


def _limit(group: Path) -> float | None:
    """The limit of one group."""
    try:
        if (group / "cpu.max").exists():
            limit, period = (group / "cpu.max").read_text().split()
        else:
            limit = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return int(limit) / int(period) if int(limit) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no limit is "max", or -1
        return None
