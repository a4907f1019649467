"""The committed table of paper-scale costs is what the counters give, and the step that makes it."""

import dataclasses
import json

import pytest

from seglib.core import registry
from seglib.cost import audit, paper_scale
from seglib.cost.complexity import measure

PLANNED = {configuration.name: configuration for configuration in paper_scale.configurations()}
COSTS = {f"{cost.dataset}/{cost.method}/{cost.backbone}": cost for cost in paper_scale.read()}
RECOMPUTED = (
    "ade20k/isnet/resnet50c",
    "lip/mcibi_deeplabv3/resnet101c",
    "ade20k/pspnet/resnest101e",
    "cityscapes/srm_crm/hrnet_w48",
    "cityscapes/upernet/swin_large_patch4_window12_384",
    "coco_stuff_10k/mcibi_fcn/vit_large_patch16_384",
    "cityscapes/sfnet/convnext_tiny",
    "camvid/ddsm/mobilenetv2_100",
    "ade20k/srm_crm/vit_large_patch16_384",
)
"""Every backbone, and every method of the four papers."""


def test_the_table_has_every_configuration():
    assert list(COSTS) == list(PLANNED)
    assert {cost.method for cost in COSTS.values()} == set(registry.METHODS)


@pytest.mark.parametrize("name", RECOMPUTED)
def test_the_table_holds_what_torch_counts(name):
    asked = vars(PLANNED[name]).copy()
    del asked["dataset"]
    if COSTS[name].rejected:
        with pytest.raises(ValueError, match="needs 4 feature maps"):
            measure(**asked, method_options={}, max_mem_gib=0)
        return
    cost = measure(**asked, method_options={}, max_mem_gib=0)
    assert cost.params == COSTS[name].params
    assert cost.gmacs_conv_matmul == pytest.approx(COSTS[name].gmacs_conv_matmul, abs=1e-9)


def test_records_are_kept_and_the_table_holds_what_both_counters_say(tmp_path, monkeypatch, capsys):
    wanted = [PLANNED["camvid/ddsm/mobilenetv2_100"], PLANNED["camvid/ddsm/vit_large_patch16_384"]]
    monkeypatch.setattr(paper_scale, "configurations", lambda: iter(wanted))
    options = {"records": tmp_path / "r", "out": tmp_path / "t.csv", "workers": 1, "datasets": ["camvid"]}
    audit.run(**options, max_mem_gib=0)
    assert (
        "2 configurations: 0 by both counters, which agree; 1 by torch alone; 1 rejected"
        in capsys.readouterr().out
    )
    first = paper_scale.read(tmp_path / "t.csv")
    assert [(cost.gmacs, bool(cost.rejected)) for cost in first] == [(None, False), (None, True)]
    committed = dataclasses.replace(COSTS["camvid/ddsm/mobilenetv2_100"], gmacs=None)
    assert first[0] == committed

    file = tmp_path / "r" / "camvid" / "ddsm" / "mobilenetv2_100.json"
    record = json.loads(file.read_text())
    record["cost"]["params"] += 1
    file.write_text(json.dumps(record))
    audit.run(**options, max_mem_gib=0)
    assert paper_scale.read(tmp_path / "t.csv")[0].params == first[0].params + 1, "a kept record was not used"
    for part, key in (("code", "seglib.models.ddsm"), ("configuration", "input_hw"), ("versions", "timm")):
        before = record["identity"][part] | {key: "other"}
        file.write_text(json.dumps(record | {"identity": record["identity"] | {part: before}}))
        audit.run(**options, max_mem_gib=0)
        assert paper_scale.read(tmp_path / "t.csv")[0] == first[0], f"a record of another {part} was used"


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'cityscape'; valid: ade20k, camvid"):
        audit.run(records=tmp_path, out=tmp_path / "t.csv", max_mem_gib=0, workers=1, datasets=["cityscape"])
