"""The default model beside published figures, on a split that was published with them: LightGCN's of Gowalla.

``python -m bench.published --data DIR`` runs it on ``gowalla-train.parquet`` and ``gowalla-test.parquet``, which have
users and items alone, and writes ``docs/published.md``. All items that a user has not taken in train may be listed.
Recall@20 is hits over all test items of a user, and NDCG@20 is over the best possible, that of min(20, test items)
hits. The most popular items must come out as published, or the figures are not the same ones.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import engine
from bench.measure import HERE, machine
from engine import config
from engine.chunked.progress import Progress

PAGE = HERE.parent / "docs" / "published.md"
POPULAR = "most popular items"
# Recall@20 and NDCG@20 on this split, from BARS (https://openbenchmark.github.io/BARS) as of the papers named there.
PUBLISHED = {
    POPULAR: (0.0416, 0.0317),
    "ItemCF": (0.1570, 0.1214),
    "NGCF": (0.1570, 0.1327),
    "MF-BPR": (0.1627, 0.1378),
    "MultVAE": (0.1641, 0.1335),
    "SLIM": (0.1699, 0.1382),
    "EASE": (0.1765, 0.1467),
    "LightGCN": (0.1820, 0.1547),
    "GF-CF": (0.1849, 0.1518),
    "UltraGCN": (0.1862, 0.1580),
    "SimpleX": (0.1872, 0.1557),
}
SETTINGS: Mapping[str, Any] = {"evaluate": {"k": 20}}
FIGURES = ("recall_at_20", "ndcg_at_20")


def main() -> int:
    """Run, compare, write the page; 1 where the most popular items are not what was published."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="where the two files are")
    parser.add_argument("--workdir", metavar="DIR", help="where the run is kept (default: nowhere)")
    parser.add_argument("--memory", metavar="SIZE", default="1GiB", help="the budget (default: 1GiB)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, Progress() as progress:
        named = {
            "dataset": str(options.data / "gowalla-train.parquet"),
            "test": str(options.data / "gowalla-test.parquet"),
            "workdir": options.workdir or temporary,
            "memory": options.memory,
        }
        result = engine.run(config.load(named, SETTINGS), progress)
    PAGE.write_text(page(result.metrics, machine()))
    print(f"{PAGE}\n{table(result.metrics)}")
    if not reproduced(result.metrics):
        print(f"{POPULAR}: not as published, so nothing here can be compared", file=sys.stderr)
        return 1
    return 0


def ours(metrics: Mapping[str, Any], model: str) -> tuple[float, float]:
    """Recall@20 and NDCG@20 of the model or a baseline of a run."""
    recall, ndcg = (metrics["figures"][model][name]["value"] for name in FIGURES)
    return recall, ndcg


def reproduced(metrics: Mapping[str, Any]) -> bool:
    """Whether the most popular items have the published figures, to their last digit."""
    found = tuple(round(value, 4) for value in ours(metrics, "most_popular"))
    return found == PUBLISHED[POPULAR] and metrics["n_test"] == metrics["n_test_scored"]


def table(metrics: Mapping[str, Any]) -> str:
    """Published figures and ours, by Recall@20."""
    rows = [(name, *figures, "") for name, figures in PUBLISHED.items()]
    rows.append((f"**{POPULAR}, measured here**", *ours(metrics, "most_popular"), ""))
    errors = [metrics["figures"]["model"][name]["standard_error"] for name in FIGURES]
    rows.append(("**this engine's default model**", *ours(metrics, "model"), f" ±{max(errors):.4f}"))
    rows.sort(key=lambda row: row[1])
    lines = ["| model | Recall@20 | NDCG@20 |", "| --- | --- | --- |"]
    lines += [f"| {name} | {recall:.4f}{error} | {ndcg:.4f}{error} |" for name, recall, ndcg, error in rows]
    return "\n".join(lines)


def page(metrics: Mapping[str, Any], where: Mapping[str, Any]) -> str:
    """The page."""
    same = "as published" if reproduced(metrics) else "NOT as published, so that nothing here can be compared"
    return f"""# Published figures

Written by `python -m bench.published --data DIR`, measured on {where["processors"]} processors of {where["processor"]}.

The split of Gowalla that LightGCN was published with: {metrics["n_users"]:,} users, {metrics["n_items"]:,} items,
{metrics["n_train"]:,} train and {metrics["n_test"]:,} test pairs, implicit feedback. Any item may be listed that the
user did not take in train. Recall@20 is hits over all test items, and NDCG@20 is over that of min(20, test items) hits.
The most popular items come out {same}. The other rows are from [BARS](https://openbenchmark.github.io/BARS). Those
models were tuned on this data set. Of the default model here, the powers and numbers of `cooccurrence`
were chosen on a part of its train ratings; test had no part in it.

{table(metrics)}

The two files, users and items alone, are read as they are: `engine run gowalla-train.parquet --test
gowalla-test.parquet --set evaluate.k=20`.
"""


if __name__ == "__main__":
    sys.exit(main())
