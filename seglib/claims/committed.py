"""The configurations in ``config/``: a claim that a run does not answer names the one that would.

Snakemake asks for their digests while it parses, so that a page follows them: nothing heavy is imported.
"""

from pathlib import Path

from seglib.core.files import sha256_file

CONFIGS = Path(__file__).parents[2] / "config"


def plans() -> list[Path]:
    """Whole configurations; recipes are parts of them."""
    return [file for file in sorted(CONFIGS.rglob("*.yaml")) if file.parent.name != "recipes"]


def digests() -> list[str]:
    """``config/isnet.yaml=0123456789ab``, ...: of all that :func:`plans` are read from."""
    return [
        f"{file.relative_to(CONFIGS.parent).as_posix()}={sha256_file(file)[:12]}"
        for file in sorted(CONFIGS.rglob("*.yaml"))
    ]
