import shutil

import pytest

from tests.workflow.project import CONFIG, SECRET, Project, copy_code


@pytest.fixture(scope="session")
def finished(made_once):
    """Three tiny cells, really trained and reported. Tests only read it; `project` is for all else."""

    def run(folder):
        copy_code(folder)
        project = Project(folder)
        project.configure(CONFIG)
        (folder / "first_output.txt").write_text(project.snakemake(CITYSCAPES_PASSWORD=SECRET).output)

    project = Project(made_once("finished", run))
    project.first_output = (project.folder / "first_output.txt").read_text()
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished run, time stamps and Snakemake's records included."""
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by `-m`
def pytest_collection_modifyitems(items):
    for item in items:
        if "finished" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)  # it needs the three trained cells
