"""Names that a configuration may use, and where their code is.

Plain dict literals, resolved only when used: adding an entry imports nothing and, since this file
is no part of any step's code digest, reruns nothing.
"""

import importlib
from typing import Any

DATASETS = {
    "camvid": "seglib.datasets.camvid:CamVid",
    "scenes": "seglib.datasets.scenes:Scenes",
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
    "download": "seglib.download:run",
    "prepare": "seglib.prepare:run",
    "train": "seglib.engine.training:run",
    "predict": "seglib.engine.inference:run",
    "score": "seglib.scoring:run",
    "complexity": "seglib.cost.complexity:run",
    "speed": "seglib.cost.speed:run",
    "audit": "seglib.cost.audit:run",
    "compare": "seglib.claims.compare:run",
    "report": "seglib.reporting.page:run",
}


def resolve(target: str) -> Any:
    """The object that ``"package.module:Name"`` names."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)
