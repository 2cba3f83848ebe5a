"""Plots of what the benchmarks measured, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "recsys-engine"  # the same figures, the same bytes
from matplotlib import pyplot  # noqa: E402

_MIB = 2**20


def _save(figure: Any, target: Path) -> None:
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


def memory_over_time(runs: list[dict[str, Any]], target: Path) -> None:
    """Memory of all processes over time, stage by stage, against what was projected and what was allowed.

    Parameters
    ----------
    runs : list of dict
        ``budget``, ``allowed`` (bytes) and ``stages`` as in ``run.json``, for each run that ended well.
    target : Path
        The SVG file.
    """
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
        top = min(run["allowed"], 2 * max(stage["projected"] for stage in run["stages"]))
        axis.set(xlim=(0, start), ylim=(0, top / _MIB * 1.08), ylabel="MiB")
        axis.set_title(f"{run['budget']} allowed (dashed); projected (lines) and resident memory (areas)", fontsize=9)
    axes[-1, 0].set_xlabel("seconds")
    _save(figure, target)


def time_against_memory(seconds: Mapping[int, float], target: Path) -> None:
    """Seconds of the whole pipeline by its budget in bytes."""
    figure, axis = pyplot.subplots(figsize=(5, 3), layout="constrained")
    sizes = sorted(seconds)
    axis.plot([size / _MIB for size in sizes], [seconds[size] for size in sizes], marker="o")
    axis.set(xscale="log", xlabel="MiB allowed", ylabel="seconds", ylim=(0, None))
    axis.set_xticks([size / _MIB for size in sizes], [f"{size / _MIB:.0f}" for size in sizes])
    axis.minorticks_off()
    _save(figure, target)


def time_against_scale(seconds: Mapping[float, float], target: Path) -> None:
    """Seconds of the whole pipeline by scale, beside what is proportional to the users."""
    figure, axis = pyplot.subplots(figsize=(5, 3), layout="constrained")
    scales = sorted(seconds)
    axis.plot(scales, [seconds[scale] for scale in scales], marker="o", label="measured")
    per_user = seconds[scales[0]] / scales[0]
    axis.plot(scales, [per_user * scale for scale in scales], linestyle=":", label="proportional to users")
    axis.set(xscale="log", yscale="log", xlabel="times the users of ml-25m", ylabel="seconds")
    axis.legend()
    _save(figure, target)


def time_by_stage(cases: Mapping[str, list[dict[str, Any]]], target: Path) -> None:
    """Seconds of each stage, a bar a case."""
    figure, axis = pyplot.subplots(figsize=(9, 0.5 * len(cases) + 1.2), layout="constrained")
    for row, stages in enumerate(cases.values()):
        left = 0.0
        for place, stage in enumerate(stages):
            label = stage["stage"] if row == 0 else None
            axis.barh(row, stage["seconds"], left=left, color=f"C{place}", label=label)
            left += stage["seconds"]
    axis.set_yticks(range(len(cases)), cases)
    axis.invert_yaxis()
    axis.set_xlabel("seconds")
    axis.legend(ncols=7, fontsize=8, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    _save(figure, target)
