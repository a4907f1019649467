"""The ablations that come with seglib: complete, and comparable with the main job."""

from pathlib import Path

import pytest

from seglib.experiment import config

FOLDER = Path(__file__).parents[2] / "config"
ABLATIONS = sorted((FOLDER / "ablations").glob("*.yaml"))


def cells(path):
    return config.load(config.read(path)).cells


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_variants_run_beside_their_parents(path):
    planned = cells(path)
    variants = [cell for cell in planned if cell.variant]
    assert len(variants) >= 2
    assert {cell.parent_id for cell in variants} <= {cell.id for cell in planned}


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_cells_are_those_of_the_main_job(path):
    """Else the two would train a shared cell by turns, each with its own values."""
    main = {cell.id: cell for cell in cells(FOLDER / "default.yaml")}
    settings = [(cell.backbone, cell.recipe) for cell in main.values()]
    for cell in cells(path):
        assert (cell.backbone, cell.recipe) in settings
        assert main.get(cell.id, cell) == cell
