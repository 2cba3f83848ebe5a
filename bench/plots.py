"""Plots of what the benchmarks measured, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_MIB = 2**20


def memory_over_time(runs: list[dict[str, Any]], target: Path) -> None:
    """Memory of all processes over time, stage by stage, against what was projected and what was allowed.

    Parameters
    ----------
    runs : list of dict
        ``budget``, ``allowed`` (bytes) and ``stages`` as in ``run.json``, for each run that ended well.
    target : Path
        The SVG file.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(runs), 1, figsize=(9, 2.6 * len(runs)), squeeze=False, layout="constrained")
    for axis, run in zip(axes[:, 0], runs, strict=True):
        start = 0.0
        for place, stage in enumerate(run["stages"]):
            times = [start + second for second, _ in stage["samples"]]
            axis.fill_between(times, [size / _MIB for _, size in stage["samples"]], color=f"C{place}", alpha=0.6)
            end = start + stage["seconds"]
            axis.hlines(stage["projected"] / _MIB, start, end, color=f"C{place}", linewidth=1.5)
            axis.text((start + end) / 2, 4, stage["stage"], rotation=90, ha="center", va="bottom", fontsize=7)
            start = end
        axis.axhline(run["allowed"] / _MIB, color="black", linewidth=1, linestyle="--")
        axis.set(xlim=(0, start), ylim=(0, run["allowed"] / _MIB * 1.08), ylabel="MiB")
        axis.set_title(f"{run['budget']} allowed (dashed); projected (lines) and resident memory (areas)", fontsize=9)
    axes[-1, 0].set_xlabel("seconds")
    figure.savefig(target)
    pyplot.close(figure)
