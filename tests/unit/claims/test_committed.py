from seglib.claims import committed


def test_whole_configurations_are_listed_and_their_recipes_count(tmp_path, monkeypatch):
    monkeypatch.setattr(committed, "CONFIGS", tmp_path / "config")
    for name in ("b.yaml", "sub/a.yaml", "recipes/slow.yaml"):
        path = tmp_path / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("lr: 0.1")
    assert [path.name for path in committed.plans()] == ["b.yaml", "a.yaml"]
    before = committed.digests()
    assert [digest.partition("=")[0] for digest in before] == [
        "config/b.yaml",
        "config/recipes/slow.yaml",
        "config/sub/a.yaml",
    ]
    path.write_text("lr: 0.2")
    assert [old == new for old, new in zip(before, committed.digests(), strict=True)] == [True, False, True]
