"""Ops on rows of features, and on steps, in float32."""

from __future__ import annotations

from lstm_rt.graph import Node

from .floats import Job, act_text, op


@op("activation")
def _activation(job: Job, node: Node) -> None:
    job.need("micro/lrt_micro_act.h")
    x, v = job.source(node)
    y = job.result(node)
    job.each(
        v.timed, f"micro_activate({act_text(node.attrs['activation'])}, {job.at(x, v)}, {job.at(y, v)}, {v.size});"
    )
