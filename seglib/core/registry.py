"""Names that a configuration may use, and where their code is.

Plain dict literals, resolved only when used: adding an entry imports nothing and, since this file
is no part of any step's code digest, reruns nothing.
"""

import importlib
from typing import Any

DATASETS = {
    "ade20k": "seglib.data.sets.ade20k:ADE20K",
    "bdd100k": "seglib.data.sets.bdd100k:BDD100K",
    "camvid": "seglib.data.sets.camvid:CamVid",
    "camvid_full": "seglib.data.sets.camvid_full:CamVidFull",
    "cityscapes": "seglib.data.sets.cityscapes:Cityscapes",
    "coco_stuff_10k": "seglib.data.sets.coco_stuff:CocoStuff10k",
    "coco_stuff_10k_182": "seglib.data.sets.coco_stuff:CocoStuff10k182",
    "coco_stuff_164k": "seglib.data.sets.coco_stuff:CocoStuff164k",
    "coco_stuff_164k_182": "seglib.data.sets.coco_stuff:CocoStuff164k182",
    "lip": "seglib.data.sets.lip:LIP",
    "scenes": "seglib.data.sets.scenes:Scenes",
}

METHODS = {
    "ddsm": "seglib.models.ddsm:DDSM",
    "deeplabv3": "seglib.models.deeplabv3:DeepLabV3",
    "deeplabv3plus": "seglib.models.deeplabv3plus:DeepLabV3Plus",
    "fcn": "seglib.models.fcn:FCN",
    "isnet": "seglib.models.isnet:ISNet",
    "mcibi_deeplabv3": "seglib.models.mcibi:MCIBIDeepLabV3",
    "mcibi_fcn": "seglib.models.mcibi:MCIBIFCN",
    "mcibi_ocrnet": "seglib.models.mcibi:MCIBIOCRNet",
    "mcibi_pspnet": "seglib.models.mcibi:MCIBIPSPNet",
    "ocrnet": "seglib.models.ocrnet:OCRNet",
    "pspnet": "seglib.models.pspnet:PSPNet",
    "semantic_fpn": "seglib.models.semantic_fpn:SemanticFPN",
    "sfnet": "seglib.models.sfnet:SFNet",
    "srm_crm": "seglib.models.srm_crm:SRMCRM",
    "upernet": "seglib.models.upernet:UPerNet",
}

STEPS = {
    "download": "seglib.data.download:run",
    "prepare": "seglib.data.prepare:run",
    "verify": "seglib.data.verify:run",
    "inspect": "seglib.report.inspect:run",
    "train": "seglib.training.trainer:run",
    "predict": "seglib.evaluation.predict:run",
    "score": "seglib.evaluation.score:run",
    "complexity": "seglib.cost.complexity:run",
    "speed": "seglib.cost.speed:run",
    "audit": "seglib.cost.audit:run",
    "compare": "seglib.claims.compare:run",
    "report": "seglib.report.page:run",
    "plan": "seglib.claims.plan:run",
    "status": "seglib.results.status:run",
    "trace": "seglib.results.trace:run",
    "verify-results": "seglib.results.verify:run",
    "merge": "seglib.results.merge:run",
}

PREDICT_IMAGES = "seglib.evaluation.predict_images:run"
"""``seglib predict`` with ``--images``: apart, so that no change of it predicts a data set anew."""


def resolve(target: str) -> Any:
    """The object that ``"package.module:Name"`` names."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)
