"""Write docs/configuration.md from engine/config/: ``python docs/configuration.py``."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine import config
from engine.config import Config, Section, expected

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Configuration

Written by `python docs/configuration.py` from `engine/config/`.

Set a key with `--set neighbors.k=80`, or put it into a file for `--config`, which is TOML:

```toml
memory = "512MiB"

[neighbors]
k = 80
```

From Python it is `engine.config.load({"memory": "512MiB", "neighbors": {"k": 80}})`. Later layers win: preset, file,
`--set`, options. `engine config` shows the value of every key, and where it comes from. Keys of a stage's section
determine its results: after a change this stage runs again, and those that read it. The keys of the first table never
change a result. What a number counts is said with its effect; sizes are in bytes.
"""


def effects(kind: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """The keys of a section, and the text that stands below each in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    for key, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(text, ast.Expr):
            yield key.target.id, " ".join(str(ast.literal_eval(text.value)).split())


def table(kind: type[msgspec.Struct], prefix: str) -> str:
    """The keys of a section as a table."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    lines = ["| key | value | default | effect |", "| --- | --- | --- | --- |"]
    for name, effect in effects(kind):
        default = fields[name].default
        shown = "none" if default is None else f"`{msgspec.json.encode(default).decode()}`"
        text = effect.replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{prefix}{name}` | {expected(fields[name].type)} | {shown} | {text} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## The run\n", table(Config, "")]
    for field in msgspec.structs.fields(Config):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            what = " ".join(str(field.type.__doc__).split()).replace("``", "`")
            parts += [f"\n## {field.name}\n", f"{what}\n", table(field.type, f"{field.name}.")]
    parts.append("\n## Presets\n")
    for name, sections in config.PRESETS.items():
        keys = [
            f"`{section}.{key}` = `{value}`" for section, values in sections.items() for key, value in values.items()
        ]
        parts.append(f"- `{name}`: {', '.join(keys) or 'the defaults above'}")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
