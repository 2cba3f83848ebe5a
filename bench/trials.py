"""Runs of the pipeline that differ in some parameters, for whoever compares their figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import engine
from engine.config import Config, load, parse_assignment

FIGURES = {"rmse": min, "recall_at_50": max}
"""What trials are compared by, as ``metrics.json`` names it, and which of several is the best."""

Values = Mapping[str, Any]
"""Parameters by their key, such as ``neighbors.k``, and their values."""


def settings(values: Values, **layer: Any) -> Config:
    """The configuration with some parameters set; ``layer`` has whole sections or keys beside them."""
    return load(layer, *(parse_assignment(f"{key}={json.dumps(value)}") for key, value in values.items()))


def default(key: str) -> Any:
    """A parameter's value in the default preset."""
    section, name = key.split(".")
    return getattr(getattr(Config(), section), name)


def figures(dataset: Path | str, workdir: Path, values: Values, **layer: Any) -> dict[str, float]:
    """Run the pipeline, or what of it these values touch; return the figures."""
    metrics = engine.run(settings(values, dataset=str(dataset), workdir=str(workdir), **layer)).metrics
    return {name: metrics[name] for name in FIGURES}
