import dataclasses
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from seglib.report import figures
from seglib.results import pairs


def draw_all(made) -> list[figures.Drawing]:
    drawings = []
    for board in made.read().leaderboards:
        drawings += [
            figures.accuracy_against_cost(board),
            figures.region_against_boundary(board),
            figures.per_class(board),
            figures.ablations(board, pairs.variants(board)),
        ]
    return drawings


@pytest.fixture(scope="module")
def drawings(finished):
    return draw_all(finished)


def test_equal_numbers_give_equal_bytes(finished, drawings):
    for first, second in zip(drawings, draw_all(finished), strict=True):
        assert (first.svg, first.png) == (second.svg, second.png)
        assert "<dc:date>" not in first.svg


def test_nothing_is_clipped(drawings):
    for drawing in drawings:
        pixels = np.asarray(Image.open(io.BytesIO(drawing.png)).convert("L"))
        rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert rim.min() == 255, drawing.name


@pytest.mark.filterwarnings("ignore:Glyph")  # a character that the font lacks is drawn as a box
def test_long_and_odd_names_are_drawn_within_the_figure(fabricate):
    names = ["x" * 200, "<script>", "$\\frac{1}{2}$", "naïve ☂ 类", "a\u0301&b"]
    made = fabricate(class_names=names)
    made.run_all()
    for drawing in draw_all(made):
        pixels = np.asarray(Image.open(io.BytesIO(drawing.png)).convert("L"))
        rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert rim.min() == 255, drawing.name
        ET.fromstring(drawing.svg)


def test_on_the_page_points_are_links_with_titles_and_colours_follow_the_theme(drawings):
    inline = drawings[0].inline()
    root = ET.fromstring(inline)
    links = [element for element in root.iter() if element.tag.endswith("}a") or element.tag == "a"]
    assert {link.get("href") for link in links} == {
        f"cells/scenes--{method}--small--quick--seed0.html" for method in ("fcn", "isnet", "isnet-narrow")
    }
    assert all("mIoU" in link[0].text for link in links)
    assert "currentColor" in inline
    assert figures.INK not in inline
    assert "#ffffff" not in inline


def test_points_are_no_links_where_their_pages_are_missing(drawings):
    inline = drawings[0].inline(linked=False)
    assert "<a " not in inline
    assert "mIoU" in next(element for element in ET.fromstring(inline).iter() if "title" in element.tag).text


def test_ids_are_unique_on_a_page(drawings):
    ids = [id for drawing in drawings for id in re.findall(r'\bid="([^"]*)"', drawing.inline())]
    assert len(ids) == len(set(ids))


def test_there_is_no_figure_of_nothing(fabricate):
    made = fabricate()
    assert draw_all(made) == [None] * 4


def test_without_a_full_count_the_cost_is_that_of_convolutions(fabricate):
    made = fabricate()
    made.run_all()
    everything = made.read()
    first, *others = everything.cells
    first = dataclasses.replace(first, cost=dataclasses.replace(first.cost, gmacs=None))
    (board,) = dataclasses.replace(everything, cells=(first, *others)).leaderboards
    drawing = figures.accuracy_against_cost(board)
    assert all("conv + matmul" in point.title for point in drawing.points.values())
