"""The quota of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_rt._cgroups import quota


def group_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = "26 25 0:24 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 25 0:28 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "31 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.mark.parametrize(
    ("files", "want"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (  # the least of the process's own group and those above it
            {
                "proc/self/cgroup": "0::/a.slice/b.service\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/a.slice/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/a.slice/b.service/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/other/cpu.max": "100000 100000\n",
            },
            2.0,
        ),
        (  # version 1 in a container: the mount shows the container's group as its top
            {
                "proc/self/cgroup": "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n",
                "proc/self/mountinfo": V1.format(root="/docker/1"),
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n0::/\n",
                "proc/self/mountinfo": V1.format(root="/") + V2.replace("cgroup rw", "cgroup/unified rw"),
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        (  # a group outside what this namespace can see
            {"proc/self/cgroup": "0::/../x\n", "proc/self/mountinfo": V2, "sys/fs/cgroup/cpu.max": "50000 100000\n"},
            0.5,
        ),
        ({"proc/self/cgroup": "nonsense\n", "proc/self/mountinfo": V2 + "x\n\n - cgroup2\n"}, None),
    ],
)
def test_the_quota_of_control_groups(tmp_path: Path, files: dict[str, str], want: float | None) -> None:
    assert quota(group_files(tmp_path, files)) == want
