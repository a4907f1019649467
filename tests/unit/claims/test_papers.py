import re

import pytest

from seglib.claims.papers import load_papers


def test_cards_of_a_users_folder(tmp_path):
    (tmp_path / "mine.toml").write_text('title = "Mine"\nyear = 2026\nrelative = [["mynet", "fcn"]]\n')
    (tmp_path / "elsewhere.toml").write_text('method = ["mynet"]\n')
    (tmp_path / "mine.csv").touch()
    papers = load_papers([tmp_path / "mine.csv", tmp_path])
    assert list(papers) == ["mine"]
    assert papers["mine"].relative == (("mynet", "fcn"),)
    assert papers["mine"].authors == ()


def test_of_a_csv_file_only_its_own_card_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text('title = "Mine"\n')
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    (tmp_path / "mine.csv").touch()
    (tmp_path / "cardless.csv").touch()
    assert list(load_papers([tmp_path / "mine.csv", tmp_path / "cardless.csv"])) == ["mine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "mine.toml: not valid TOML"),
        ('title = "x"\nyear = "2026"', "mine.toml.year: '2026' is text, not a number"),
        ('title = "x"\nauthor = ["me"]', "mine.toml.author: unknown setting; did you mean 'authors'"),
        ("year = 2026", "mine.toml.title: this setting is required"),
    ],
)
def test_a_card_that_is_not_valid_is_named(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_papers([tmp_path])


def test_one_paper_has_one_card(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text('title = "Mine"')
    with pytest.raises(ValueError, match="another card of the paper 'mine'"):
        load_papers([tmp_path / "a", tmp_path / "b"])
