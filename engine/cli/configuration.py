"""``engine config``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from engine import config
from engine.chunked.printable import printable
from engine.cli.parsing import add_command, add_format, add_run_options, layers
from engine.cli.showing import show

_EXAMPLES = """examples:
  engine config
  engine config --preset notebook --set neighbors.k=80
  engine config --config mine.toml --json"""


def add(commands: Any) -> None:
    """Declare it."""
    does = "show every configuration key, its value, and where that comes from"
    parser = add_command(commands, "config", does, _EXAMPLES)
    parser.set_defaults(command=_config)
    add_run_options(parser)
    add_format(parser)


def _config(options: argparse.Namespace) -> int:
    named = layers(options)
    settings = config.load(*(layer for _, layer in named))
    rows = [
        {"key": key, "value": value, "from": origin} for key, (value, origin) in config.origins(settings, named).items()
    ]
    lines = [f"{'key':<34}{'value':<26}from"]
    lines += [f"{row['key']:<34}{printable(_shown(row['value'])):<26}{printable(row['from'])}" for row in rows]
    mapping = {row["key"]: {"value": row["value"], "from": row["from"]} for row in rows}
    show(options, lambda: "\n".join(lines), mapping, [row | {"value": _shown(row["value"])} for row in rows])
    return 0


def _shown(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
