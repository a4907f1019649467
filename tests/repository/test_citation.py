"""CITATION.cff says what the rest of the project says."""

import tomllib
from pathlib import Path

import yaml

import seglib

ROOT = Path(__file__).parents[2]


def test_the_citation_agrees_with_the_project_and_its_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["version"] == seglib.__version__
    assert citation["license"] == project["license"]
    assert "Apache License" in (ROOT / project["license-files"][0]).read_text()
    for reference in citation["references"]:
        files = (ROOT / "seglib" / "claims" / "data").glob("*.toml")
        papers = [tomllib.loads(file.read_text()) for file in files]
        [paper] = [paper for paper in papers if reference["url"].endswith(paper.get("arxiv", "no number"))]
        assert reference["title"] == paper["title"]
        assert reference["year"] == paper["year"]
        names = [f"{author['given-names']} {author['family-names']}" for author in reference["authors"]]
        assert names == paper["authors"]
