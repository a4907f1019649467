import pytest

from seglib.report import page
from tests.unit.fabricated import CLASSES, Fabricated, make_config


@pytest.fixture
def fabricate(tmp_path):
    """``fabricate(**changes of the configuration)``: a :class:`Fabricated` with nothing run yet."""

    def make(*, images: int = 4, class_names=CLASSES, **changes) -> Fabricated:
        return Fabricated(make_config(tmp_path, **changes), images=images, class_names=class_names)

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Fabricated:
    """A complete run with its report, for tests that only look."""
    made = Fabricated(make_config(tmp_path_factory.mktemp("finished"))).run_all()
    page.run(config=made.config, results=made.results, out=made.out, partial=False)
    return made
