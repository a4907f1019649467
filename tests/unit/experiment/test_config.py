import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seglib.core import registry
from seglib.core.typed import canonical_json
from seglib.experiment import config, method_options
from seglib.experiment.cell import Cell
from seglib.experiment.config import Config, DataSource, Variant
from seglib.experiment.config import MatrixBlock as Block
from seglib.experiment.recipe import Backbone, Loss, Protocol, Recipe

ROOT = Path(__file__).parents[3]
CONFIGS = sorted(path for path in (ROOT / "config").rglob("*.yaml") if path.parent.name != "recipes")


@pytest.fixture
def values():
    """The default configuration, with its recipe written out."""
    recipes = {"quick": config.read(config.RECIPES / "quick.yaml")}
    return config.read(ROOT / "config" / "default.yaml") | {"recipes": recipes}


def put(values, path, value):
    """Set ``matrix.0.seeds`` and the like."""
    *parents, last = path.split(".")
    for key in parents:
        values = values[int(key)] if key.isdigit() else values.setdefault(key, {})
    values[last] = value


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_committed_configurations_are_valid(path):
    plan = config.load(config.read(path))
    assert plan.cells
    assert all(plan.evaluations(cell) for cell in plan.cells)


def test_cells_survive_json(values):
    for cell in config.load(values).cells:
        assert Cell.from_json(cell.to_json()) == cell


def test_key_order_and_number_spelling_do_not_change_a_cell(values):
    reordered = json.loads(canonical_json(values))
    reordered["recipes"]["quick"]["weight_decay"] = 1.0e-2
    assert [c.to_json() for c in config.load(values).cells] == [
        c.to_json() for c in config.load(reordered).cells
    ]


def test_the_matrix_is_a_product_with_variants_beside_their_parents(values):
    values["matrix"] = [
        {
            "datasets": ["scenes"],
            "methods": ["fcn", "isnet"],
            "backbones": ["resnet10t"],
            "recipes": ["quick"],
            "seeds": [0, 1],
            "variants": ["no_image_context"],
            "splits": ["val", "test"],
        }
    ]
    plan = config.load(values)
    assert [cell.id.split("/")[1] + cell.id[-1] for cell in plan.cells] == [
        "fcn0", "fcn1", "isnet0", "isnet-no_image_context0", "isnet1", "isnet-no_image_context1",
    ]  # fmt: skip
    variant = plan.cells[3]
    assert variant.method_options["image_context"] is False
    assert variant.parent_id == plan.cells[2].id
    assert [test.name for test in plan.evaluations(variant)] == ["val-ss", "test-ss"]


def test_a_block_sets_options_beside_those_of_all_blocks(values):
    values["methods"] = {"isnet": {"width": 128, "leaky_relu": True}}
    values["matrix"][0] |= {"methods": ["isnet", "fcn"], "options": {"isnet": {"width": 64}}}
    isnet, variant, fcn = config.load(values).cells
    assert isnet.method_options == {"width": 64, "leaky_relu": True}
    assert variant.method_options == isnet.method_options | {"image_context": False}
    assert fcn.method_options == {}
    values["matrix"].append(values["matrix"][0] | {"options": {}})
    with pytest.raises(
        ValueError, match=r"matrix\[1\].options: scenes/isnet/\S+ has other options in an ear"
    ):
        config.load(values)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("fcn", ["fcn0", "fcn1"]),
        ("seed1, isnet", ["isnet1", "isnet-no_image_context1"]),
        ("ddsm,fcn,seed0", ["fcn0", "ddsm0"]),
        ("scenes,resnet10t,quick,seed1,ddsm", ["ddsm1"]),
    ],
)
def test_only_restricts_a_run_to_what_is_named(values, only, expected):
    values["matrix"][0] |= {"methods": ["fcn", "isnet", "ddsm"], "seeds": [0, 1]}
    whole = config.load(values)
    plan = config.load(values | {"only": only})
    assert [cell.id.split("/")[1] + cell.id[-1] for cell in plan.cells] == expected
    assert all(plan.evaluations(cell) == whole.evaluations(cell) for cell in plan.cells)
    tried = config.load(values | {"only": only, "limit": 20})
    assert [cell.id.split("/")[1] + cell.id[-1] for cell in tried.cells] == expected


def test_a_recipe_extends_another(values):
    values["recipes"]["longer"] = {"extends": "quick", "iterations": 900}
    values["matrix"][0]["recipes"] = ["longer"]
    recipe = config.load(values).cells[0].recipe
    assert recipe.iterations == 900
    assert recipe.crop_hw == (96, 128)


def test_settings_within_settings_change_one_by_one(values):
    ohem = {"name": "ohem", "ohem_threshold": 0.9, "ohem_min_kept": 100}
    values["recipes"]["hard"] = {"extends": "quick", "loss": ohem}
    values["recipes"]["harder"] = {"extends": "hard", "loss": {"ohem_threshold": 0.5}}
    values["backbones"]["resnet10t"]["options"] = {"drop_rate": 0.1}
    changes = {"recipe": {"loss": {"ohem_threshold": 0.8}}, "backbone": {"options": {"drop_path_rate": 0.1}}}
    values["variants"] = {"milder": changes}
    values["matrix"] = [
        values["matrix"][0] | {"methods": ["fcn"], "variants": ["milder"], "recipes": ["harder"]}
    ]
    parent, milder = config.load(values).cells[:2]
    assert parent.recipe.loss == Loss(name="ohem", ohem_threshold=0.5, ohem_min_kept=100)
    assert milder.recipe.loss == Loss(name="ohem", ohem_threshold=0.8, ohem_min_kept=100)
    assert milder.backbone.options == {"drop_rate": 0.1, "drop_path_rate": 0.1}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("devise", "cpu", "config.devise: unknown setting; did you mean 'device'?"),
        ("recipes.quick.lr", "1e-3", "config.recipes.quick.lr: '1e-3' is text, not a number"),
        ("recipes.quick.itterations", 3, "did you mean 'iterations'?"),
        ("recipes.quick.epochs", 3, "config.recipes.quick: give either iterations or epochs"),
        ("recipes.quick", {"extends": "quick"}, "extends itself through quick -> quick"),
        ("matrix.0.datasets", ["scene"], "unknown data set 'scene'; did you mean 'scenes'?; valid: "),
        ("matrix.0.methods", ["fcm"], "unknown method 'fcm'; did you mean 'fcn'?; valid: "),
        ("matrix.0.backbones", ["x"], "unknown backbone 'x'; valid: resnet10t"),
        ("matrix.0.recipes", ["quik"], "unknown recipe 'quik'; did you mean 'quick'?; valid: "),
        ("matrix.0.protocols", ["ms"], "unknown protocol 'ms'"),
        ("matrix.0.variants", ["none"], "unknown variant 'none'"),
        ("matrix.0.splits", ["dev"], "config.matrix[0].splits[0]: 'dev' is not one of"),
        ("mirror", "https://me:s3cret@example.org", "config: no password in a mirror's address, please"),
        ("datasets.lip.mirror", "http://me:s3cret@x", "config: no password in a mirror's address, please"),
        ("backbones.b", {"model": "resnet5"}, "unknown timm model 'resnet5'; did you mean"),
        ("backbones.A b", {"model": "resnet50"}, "use lower case letters"),
        ("methods.isnet.image_contxt", True, "did you mean 'image_context'?"),
        ("methods.isnet.image_context", "yes", "expected true or false, got 'yes'"),
        ("matrix.0.options", {"isnet": {"widht": 1}}, "matrix[0].options.isnet.widht: unknown option"),
        ("matrix.0.options", {"pspnet": {}}, "options: unknown method of this block 'pspnet'"),
        ("only", "fcn,resnet10", "config.only: unknown name 'resnet10'; did you mean 'resnet10t'?"),
        ("variants.no_image_context", {}, "changes nothing in scenes/fcn"),
        ("boundary_ratio", 5, "config: boundary_ratio: 5.0 must be above 0 and at most 1"),
        ("tolerance_points", -1.0, "config: tolerance_points: -1.0 must be at least 0"),
        ("matrix.0.seeds", [], "config.matrix[0]: seeds: an empty list leaves nothing to run"),
        ("matrix.0.protocols", [], "config.matrix[0]: protocols: an empty list leaves nothing to run"),
        (
            "variants.no_image_context.methods",
            ["ocrnet"],
            "variants: no_image_context is for ocrnet, of which this block has none",
        ),
        (
            "backbones",
            {50: {"model": "resnet50"}},
            "config.backbones: the name 50 is not text; put it in quotes",
        ),
        ("backbones.resnet10t.mean", [123.7, 116.3, 103.5], "mean: 123.7 must be at least 0 and at most 1"),
        ("backbones.resnet10t.output_stride", 7, "output_stride: 7 is not 4, 8, 16 or 32"),
        ("backbones.resnet10t.weights_sha256", "0" * 64, "weights_sha256 is a file's, and no file is named"),
        ("recipes.quick.extends", ["a"], "config.recipes.quick.extends: expected one recipe's name"),
        ("recipes.quick.rotation_degrees", 10.0, "rotation_degrees go together: one alone turns nothing"),
        ("matrix.0.recipes", ["../recipes/camvid"], "'../recipes/camvid' is a path, not a recipe's name"),
        ("protocols.ss", {"crop_hw": [64, 64]}, "crop_hw and stride_hw are of mode slide"),
        ("matrix.0.seeds", [-1], "config.matrix[0]: seeds: -1 must be at least 0"),
        ("protocols.ss", {"scales": []}, "config.protocols.ss: scales: at least one is needed"),
        ("protocols.ss", {"scales": [1.0, 0.0]}, "config.protocols.ss: scales: 0.0 must be above 0"),
        (
            "protocols.ss",
            {"mode": "slide", "crop_hw": [64, 64], "stride_hw": [64, 65]},
            "config.protocols.ss: stride_hw [64, 65] leaves gaps between windows of crop_hw [64, 64]",
        ),
        ("recipes.quick.iterations", 0, "config.recipes.quick: iterations: 0 must be at least 1"),
        ("recipes.quick.batch_size", 0, "config.recipes.quick: batch_size: 0 must be at least 1"),
        ("recipes.quick.threads", 0, "config.recipes.quick: threads: 0 must be at least 1"),
        ("recipes.quick.lr", -0.1, "config.recipes.quick: lr: -0.1 must be at least 0"),
        ("recipes.quick.flip", 1.5, "config.recipes.quick: flip: 1.5 must be at least 0 and at most 1"),
        ("recipes.quick.scale_range", [2.0, 0.5], "scale_range: the lower end comes first, got [2.0, 0.5]"),
        (
            "recipes.quick.loss",
            {"name": "ohem", "ohem_min_kept": 0},
            "config.recipes.quick.loss: ohem_min_kept: 0 must be at least 1",
        ),
    ],
)
def test_mistakes_are_named(values, path, value, message):
    put(values, path, value)
    with pytest.raises(ValueError, match=re.escape(message)):
        config.load(values)


@pytest.mark.parametrize("recipe", ["quick", "other"])
def test_two_networks_of_one_name_are_refused(values, recipe):
    """Their cells differ in seed or recipe, and would be averaged or share the file of their cost."""
    values["recipes"]["other"] = values["recipes"]["quick"] | {"iterations": 10}
    one = values["matrix"][0] | {"methods": ["isnet"], "variants": [], "seeds": [0]}
    other = one | {"recipes": [recipe], "seeds": [1], "options": {"isnet": {"width": 64}}}
    name = f"scenes/isnet/resnet10t/{recipe}/seed1 and scenes/isnet/resnet10t/quick/seed0"
    with pytest.raises(
        ValueError, match=rf"config.matrix\[1\].options: {name} are two networks under one name"
    ):
        config.load(values | {"matrix": [one, other]})


def test_a_folder_has_one_spelling(values):
    loaded = config.load(values | {"results": "./out/", "logs": "logs//run"}).config
    assert (loaded.results, loaded.logs, loaded.data) == ("out", "logs/run", "data")


def test_a_limit_gives_every_cell_a_name_of_its_own(values):
    whole = config.load(values)
    limited = config.load({**values, "limit": 50})
    for cell, tried in zip(whole.cells, limited.cells, strict=True):
        assert tried == cell.limited(50)
        assert tried.id == cell.id.replace(f"/{cell.recipe_name}/", f"/{cell.recipe_name}_limit50/")
        assert limited.evaluations(tried) == whole.evaluations(cell)
        assert (cell.limit, tried.limit) == (None, 50)


@pytest.mark.parametrize("limit", [0, -1, 1])
def test_a_limit_that_fills_no_batch_is_refused_before_any_job(values, limit):
    with pytest.raises(
        ValueError, match=rf"config.limit: {limit} images fill no batch: recipe \w+ has batch"
    ):
        config.load({**values, "limit": limit})


def test_broken_yaml_is_one_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1\nb: 2")
    with pytest.raises(ValueError, match=r"broken.yaml: not valid YAML: [^\n]*$"):
        config.read(path)


def test_every_setting_is_explained():
    text = (ROOT / "config" / "README.md").read_text()
    kinds = (Config, DataSource, Variant, Block, Recipe, Protocol, Backbone, Loss)
    for kind in kinds:
        for name in kind.__dataclass_fields__:
            assert f"`{name}`" in text, f"config/README.md does not explain {kind.__name__}.{name}"


def test_checking_a_configuration_imports_no_torch():
    code = (
        "import sys; from seglib.experiment import config\n"
        "config.load(config.read('config/default.yaml'))\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'torchvision')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_timm_models_are_those_of_timm():
    from seglib.models.backbones import timm  # it mends torchvision first, where that is needed

    assert set(timm.list_models()) <= config.timm_models()


@pytest.mark.parametrize("method", sorted(registry.METHODS))
def test_options_read_from_source_are_those_of_the_constructor(method):
    import inspect

    parameters = inspect.signature(registry.resolve(registry.METHODS[method])).parameters
    expected = {name for name in parameters if name not in method_options.BUILT_IN}
    assert set(method_options.method_options(method)) == expected


def test_example_yaml_in_the_guide_is_valid():
    text = (ROOT / "config" / "README.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    assert config.load(yaml.safe_load(example)).cells


def test_initial_weights_are_named_by_content(values, tmp_path):
    cells = []
    for folder in ("here", "there"):
        path = tmp_path / folder / "w.safetensors"
        path.parent.mkdir()
        path.write_bytes(b"weights")
        plan = config.load(values | {"weights": str(path)})
        cells.append(plan.cells[0].to_json())
        assert plan.weights_file(plan.cells[0]) == str(path)
    assert cells[0] == cells[1]  # moved: the same cell
    config._file_digest.cache_clear()
    path.write_bytes(b"others")
    assert config.load(values | {"weights": str(path)}).cells[0].to_json() != cells[0]


def test_weights_named_by_content_may_be_absent_or_elsewhere(values, tmp_path):
    path = tmp_path / "b" / "moved.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    put(values, "backbones.resnet10t.weights", "first.safetensors")
    put(values, "backbones.resnet10t.weights_sha256", hashlib.sha256(b"weights").hexdigest())
    absent, elsewhere = config.load(values), config.load(values | {"weights": str(path)})
    assert absent.cells == elsewhere.cells
    assert absent.cells[0].backbone.weights == "first.safetensors"
    assert absent.weights_file(absent.cells[0]) == "first.safetensors"
    assert elsewhere.weights_file(elsewhere.cells[0]) == str(path)
    other = path.with_name("other.safetensors")
    other.write_bytes(b"others")
    with pytest.raises(ValueError, match=r"other\.safetensors has sha256"):
        config.load(values | {"weights": str(other)})


def test_a_run_wide_choice_of_weights_is_not_passed_over_in_silence(values):
    put(values, "backbones.resnet10t.weights", "first.safetensors")
    put(values, "backbones.resnet10t.weights_sha256", "0" * 64)
    with pytest.raises(
        ValueError, match=r"first\.safetensors is fixed by its weights_sha256, and timm's are"
    ):
        config.load(values | {"weights": "imagenet"})
    with pytest.raises(ValueError, match=r"no file nowhere\.safetensors"):
        config.load(values | {"weights": "nowhere.safetensors"})


def test_a_run_wide_choice_of_weights_that_no_backbone_takes_is_an_error(values, tmp_path):
    put(values, "backbones.resnet10t.weights", "imagenet")
    (tmp_path / "own.safetensors").write_bytes(b"weights")
    config.load(values | {"weights": "imagenet"})
    with pytest.raises(
        ValueError, match=r"own\.safetensors would be used for nothing: all backbones .*\(imagenet\)"
    ):
        config.load(values | {"weights": str(tmp_path / "own.safetensors")})


def test_missing_or_wrong_weights_stop_the_plan(values, tmp_path):
    with pytest.raises(ValueError, match=r"no file nowhere\.safetensors"):
        config.load(values | {"weights": "nowhere.safetensors"})
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    put(values, "backbones.resnet10t.weights", str(path))
    put(values, "backbones.resnet10t.weights_sha256", "0" * 64)
    with pytest.raises(ValueError, match=f"has sha256 {config.sha256_file(path)}, not 0000"):
        config.load(values)
