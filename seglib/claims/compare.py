"""All cells of a configuration side by side, and the verdict on every claim: two files in ``results/``.

    seglib compare --config config/default.yaml --out results

``summary.csv`` has one row per cell and test, ``verdicts.csv`` one per reported number, in its unit, and
one per difference that is derived from two of them. Fractions are 0 to 1, times in seconds; what is not
known is empty. A cell that failed or never ran has a row too: its ``status`` and ``reason`` say so.
"""

from pathlib import Path
from typing import Any

from seglib.claims import results, table
from seglib.core.checksums import seal
from seglib.core.files import atomic_path
from seglib.core.tables import to_csv
from seglib.results.tables import summary_csv


def run(*, config: dict[str, Any], out: Path, data: Path | None = None) -> None:
    """Write ``summary.csv`` and ``verdicts.csv`` into the results folder ``out``, from what lies there.

    ``data`` holds the manifests of the data sets, if not the configuration's own folder.
    """
    run_results = results.read(config, out, data)
    verdicts = table.claims("verdicts", "", run_results.evidence.judgements)
    texts = {"verdicts.csv": to_csv(verdicts), "summary.csv": summary_csv(run_results.tests)}
    for name, text in texts.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    seal(out / "compare.sha256", [out / name for name in texts])
