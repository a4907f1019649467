import re
from decimal import Decimal

import pytest

from seglib.claims.claim import Conditions
from seglib.claims.reading import COLUMNS, files, load_claims

ROW = {
    "paper": "mine",
    "method": "isnet",
    "backbone": "resnet50c",
    "output_stride": "8",
    "dataset": "ade20k",
    "num_classes": "150",
    "train_split": "train",
    "eval_split": "val",
    "crop_hw": "512x1024",
    "epochs": "130",
    "lr": "0.01",
    "batch_size": "16",
    "pretraining": "imagenet",
    "test_mode": "slide",
    "test_crop_hw": "512x512",
    "test_scales": "0.5 1 1.5",
    "test_flip": "yes",
    "test_size": "fit 512x2048",
    "metric": "miou",
    "value": "41.60",
    "unit": "%",
    "provenance": "quoted",
    "release": "2021",
    "source": "a page",
}


def write(folder, *rows, name="mine.csv", columns=None):
    columns = columns or list(ROW)
    lines = [columns, *([{**ROW, **row}.get(column, "") for column in columns] for row in rows)]
    path = folder / name
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_row_becomes_a_claim(tmp_path):
    (claim,) = load_claims([write(tmp_path, {})])
    assert claim.conditions == Conditions(
        output_stride=8,
        num_classes=150,
        train_split="train",
        eval_split="val",
        crop_hw=(512, 1024),
        epochs=130.0,
        lr=0.01,
        batch_size=16,
        pretraining="imagenet",
        test_mode="slide",
        test_crop_hw=(512, 512),
        test_scales=(0.5, 1.0, 1.5),
        test_flip=True,
        test_size="fit 512x2048",
    )
    assert str(claim.value) == "41.60"  # the digits as printed
    assert (claim.variant, claim.bound, claim.where) == (None, "", f"{tmp_path}/mine.csv:2")


def test_columns_that_are_not_there_are_unknown(tmp_path):
    columns = ["paper", "method", "dataset", "metric", "value", "unit", "provenance", "source"]
    (claim,) = load_claims([write(tmp_path, {}, columns=columns)])
    assert claim.conditions == Conditions()
    assert claim.backbone is None


def test_a_file_saved_by_a_spreadsheet_is_read(tmp_path):
    path = write(tmp_path, {})
    path.write_text(path.read_text().replace("\n", "\r\n"), encoding="utf-8-sig")
    assert len(load_claims([path])) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"value": "100.01"}, "value: 100.01 % is impossible"),
        ({"value": "-3"}, "value: '-3' is not a number"),
        ({"value": "nan"}, "value: 'nan' is not a number"),
        ({"value": "4O.2"}, "value: '4O.2' is not a number"),
        ({"value": ""}, "value: must not be empty"),
        ({"source": " "}, "source: must not be empty"),
        ({"metric": "params", "unit": "M", "value": "0.0"}, "value: params of 0 is impossible"),
        ({"metric": "gmacs", "unit": "GMACs", "value": "0"}, "value: gmacs of 0 is impossible"),
        ({"metric": "gmacs", "unit": "G"}, "unit: 'G' is no unit of gmacs"),
        ({"unit": "GFLOPs"}, "unit: 'GFLOPs' is no unit of miou; valid: %"),
        ({"metric": "mIoU"}, "metric: 'mIoU' is unknown; did you mean 'miou'"),
        ({"method": "isnett"}, "method: 'isnett' is unknown; did you mean 'isnet'"),
        ({"dataset": "ade2k"}, "dataset: 'ade2k' is unknown; did you mean 'ade20k'"),
        ({"backbone": "resnet50cc"}, "backbone: 'resnet50cc' is unknown; did you mean 'resnet50c'"),
        ({"backbone": "ResNet-50"}, "backbone: 'ResNet-50' is unknown; did you mean 'resnet50'"),
        (
            {"backbone": "qqq"},
            "backbone: 'qqq' is unknown to timm; a backbone that seglib does not have is listed",
        ),
        ({"provenance": "derived"}, "provenance: derived claims are computed"),
        ({"provenance": "authors"}, "provenance: 'authors' is unknown"),
        ({"eval_split": "validation"}, "eval_split: 'validation' is unknown"),
        ({"crop_hw": "512"}, "crop_hw: '512' is not HEIGHTxWIDTH"),
        ({"test_size": "fit 512"}, "test_size: '512' is not HEIGHTxWIDTH"),
        ({"test_scales": "0.5 0"}, "test_scales: must be larger than 0"),
        ({"test_flip": "true"}, "test_flip: 'true' is unknown"),
        ({"batch_size": "0"}, "batch_size: '0' is not a whole number above 0"),
        ({"bound": "="}, "bound: '=' is unknown"),
        ({"note": "a,b"}, "this row has more or fewer cells than the header"),
    ],
)
def test_a_row_that_cannot_be_right_is_named(tmp_path, row, message):
    path = write(tmp_path, {"release": "first"}, row, columns=[*ROW, "note", "bound"])
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}:3: {message}')}"):
        load_claims([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.csv:1: the column 'paper' is missing"),
        ("paper,methods\n", "mine.csv:1: unknown column 'methods'; did you mean 'method'"),
        (f"{','.join(COLUMNS)},note\n", "mine.csv:1: a column is there twice"),
        (f'{",".join(COLUMNS)}\n"mine"x,1\n', "mine.csv:2: not valid CSV"),
    ],
)
def test_a_file_that_cannot_be_right_is_named(tmp_path, text, message):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_claims([tmp_path])


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = write(tmp_path, {"source": "Zürich"})
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        load_claims([path])


def test_everything_that_claims_are_read_from_is_listed(tmp_path):
    """A report is made again when one of these files changes."""
    mine = write(tmp_path, {})
    (tmp_path / "notes.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "folder").mkdir()
    other = write(tmp_path / "folder", {}, name="other.csv")
    cards = [other.with_suffix(".toml"), tmp_path / "elsewhere.toml", mine.with_suffix(".toml")]
    for card in cards:
        card.touch()
    assert files([]) == ()
    assert files([other.parent]) == (other, cards[0])
    assert files([other.parent, mine]) == (other, mine, *cards)
    with pytest.raises(ValueError, match=r"gone\.csv: no such file or folder of claims"):
        files([tmp_path / "gone.csv"])


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="no claims"):
        load_claims([tmp_path])
    with pytest.raises(ValueError, match="no such file"):
        load_claims([tmp_path / "mine.csv"])


@pytest.mark.parametrize(
    ("value", "message"),
    [("41.6", "repeats the claim of"), ("41.7", "contradicts (41.60 there) the claim of")],
)
def test_one_claim_is_made_once_across_files(tmp_path, value, message):
    first = write(tmp_path, {}, name="first.csv")
    second = write(tmp_path, {"release": "other"}, {"value": value}, name="second.csv")
    with pytest.raises(ValueError, match=f"^{re.escape(f'{second}:3: {message} {first}:2')}"):
        load_claims([tmp_path])


def test_a_source_without_a_backbone_may_list_several_models(tmp_path):
    path = write(tmp_path, {"backbone": ""}, {"backbone": "", "value": "42.1"})
    assert len(load_claims([path])) == 2
    with pytest.raises(ValueError, match="repeats"):
        load_claims([write(tmp_path, {"backbone": ""}, {"backbone": ""})])


def test_users_name_what_seglib_does_not_have(tmp_path):
    path = write(tmp_path, {"method": "mynet", "dataset": "mydata"})
    with pytest.raises(ValueError, match="a method that seglib does not have is listed in elsewhere"):
        load_claims([path])
    (tmp_path / "elsewhere.toml").write_text('method = ["mynet"]\ndataset = ["mydata"]\n')
    assert load_claims([path])[0].method == "mynet"
    (tmp_path / "elsewhere.toml").write_text('methods = ["mynet"]\n')
    with pytest.raises(ValueError, match="unknown list 'methods'; did you mean 'method'"):
        load_claims([path])
    (tmp_path / "elsewhere.toml").write_text("method = [")
    with pytest.raises(ValueError, match="not valid TOML"):
        load_claims([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('method = "mynet"', "method: expected a list, got 'mynet'"),
        ("method = 3", "method: expected a list, got 3"),
        ('dataset = ["mydata", 3]', "dataset[1]: expected text, got 3"),
    ],
)
def test_names_elsewhere_are_lists_of_texts(tmp_path, text, message):
    (tmp_path / "elsewhere.toml").write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}/elsewhere.toml.{message}')}$"):
        load_claims([write(tmp_path, {})])


@pytest.mark.parametrize(
    ("row", "measured", "expected"),
    [
        ({}, 0.4472, "44.72"),
        ({"metric": "params", "unit": "M"}, 20_740_000, "20.74"),
        ({"metric": "params", "unit": "1"}, 20_740_000, "20740000"),
        ({"metric": "gmacs", "unit": "GMACs"}, 242.8, "242.8"),
        ({"metric": "gmacs", "unit": "GFLOPs at 2 per MAC"}, 242.8, "485.6"),
    ],
)
def test_measurements_are_converted_exactly(tmp_path, row, measured, expected):
    (claim,) = load_claims([write(tmp_path, row)])
    assert claim.in_unit(measured) == Decimal(expected)


def test_ids_follow_what_a_row_says_and_not_where_it_stands(tmp_path):
    one, two = load_claims([write(tmp_path, {}, {"release": "current"})])
    swapped = load_claims([write(tmp_path, {"release": "current"}, {}, name="mine.csv")])
    assert {one.id, two.id} == {claim.id for claim in swapped}
    assert one.id != two.id
    assert one.id.startswith("isnet.ade20k.miou.")
