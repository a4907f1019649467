"""A results folder as the steps leave it: real label maps, predictions, counts and metrics, no training."""

import dataclasses
import json
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from seglib.core import code_digest
from seglib.core.files import write_json
from seglib.evaluation import score
from seglib.experiment import config as configuration
from seglib.experiment import paths

HEIGHT, WIDTH = 48, 64
CLASSES = ("sky", "road", "pole", "car", "tree")
COLOURS = ((128, 180, 220), (128, 64, 128), (190, 150, 60), (0, 0, 142), (60, 130, 50))


def make_config(folder: Path, **changes) -> dict:
    """Settings of two methods, one variant and two seeds on ``scenes``, with all folders below ``folder``."""
    recipe = {"iterations": 300, "batch_size": 8, "crop_hw": [48, 64], "lr": 0.05, "weight_decay": 0.0001}
    return {
        "title": "a run",
        **{name: str(folder / name) for name in ("data", "results", "reports", "logs")},
        "backbones": {"small": {"model": "mobilenetv3_small_100"}, "large": {"model": "resnet50"}},
        "recipes": {"quick": recipe, "long": {"extends": "quick", "iterations": 40000}},
        "protocols": {"ss": {}, "ms_flip": {"scales": [0.5, 1.0], "flip": True}},
        "variants": {"narrow": {"methods": ["isnet"], "method": {"width": 64}}},
        "matrix": [
            {
                "datasets": ["scenes"],
                "methods": ["fcn", "isnet"],
                "backbones": ["small"],
                "recipes": ["quick"],
                "seeds": [0, 1],
                "variants": ["narrow"],
            }
        ],
        **changes,
    }


class Fabricated:
    """Writes what download, prepare, train, predict, score, complexity and speed would have left."""

    def __init__(self, config: dict, *, images: int = 4, class_names=CLASSES):
        self.config = config
        self.plan = configuration.load(config)
        self.data, self.results, self.logs = (Path(config[name]) for name in ("data", "results", "logs"))
        self.out = Path(config["reports"])
        self.class_names = list(class_names)
        self.ids = [f"frame {i}" for i in range(images)]
        for dataset in {cell.dataset for cell in self.plan.cells}:
            self._prepare(dataset)

    def run_all(self) -> "Fabricated":
        for cell in self.plan.cells:
            self.run(cell)
        return self

    def run(self, cell) -> None:
        self.train(cell)
        self.cost(cell)
        self.speed(cell)
        for evaluation in self.plan.evaluations(cell):
            self.test(cell, evaluation)

    def train(self, cell) -> None:
        folder = paths.train_folder(self.results, cell)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cell.json").write_text(cell.to_json(), encoding="utf-8")
        lines = []
        for i in range(1, 31):
            main = 2.2 * 0.9**i + 0.3
            line = {"iteration": 10 * i, "epoch": i // 3, "loss": 1.2 * main, "main": main}
            line |= {"auxiliary": 0.2 * main, "lr": 0.05 * (1 - i / 31) ** 0.9}
            lines.append(line | {"images_per_s": 40.0 + i % 3, "data_wait_share": 0.02})
        (folder / "train_log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        write_json(
            folder / "provenance.json",
            {
                "command": "python -m seglib train ...",
                "host": "node1",
                "cpu": "Some CPU x 2",
                "gpu": None,
                "driver": None,
                "versions": {"seglib": "0.1", "python": "3.11.2", "torch": "2.13.0+cpu", "cuda": None},
                "commit": "0123456789abcdef0123456789abcdef01234567",
                "dirty": False,
                "dirty_diff_sha256": None,
                "cell_id": cell.id,
                "started": "2026-01-01T00:00:00+00:00",
                "finished": "2026-01-01T00:01:15+00:00",
                "time_s": 75.4,
                "device": "cpu",
                "threads": 2,
                "peak_mem_gib": 1.25,
                "images_per_s": 31.8,
                "data_digest": "d" * 64,
                "code": code_digest.step_code("train", method=cell.method),
                "resumed": 0,
                "parameters": 1234567,
            },
        )

    def cost(self, cell) -> None:
        size = zlib.crc32(cell.model_name.encode()) % 97
        modules = [
            {"name": "backbone", "depth": 0, "params": 900_000, "macs_conv_matmul": 2e8, "macs": 2.1e8},
            {"name": "layer1", "depth": 1, "params": 900_000, "macs_conv_matmul": 2e8, "macs": 2.1e8},
        ]
        write_json(
            paths.complexity_file(self.results, cell),
            {
                "method_options": cell.method_options,
                "backbone": dataclasses.asdict(cell.backbone),
                "params": 1_000_000 + 10_000 * size,
                "params_head": 100_000,
                "params_backbone": 900_000,
                "params_training_only": 5_000,
                "gmacs": 0.3 + size / 100,
                "gmacs_conv_matmul": 0.28 + size / 100,
                "elementwise_share": 0.02 / (0.3 + size / 100),
                "input_hw": list(cell.recipe.crop_hw),
                "num_classes": len(self.class_names),
                "unsupported_ops": {"aten::softmax": 2},
                "modules": modules,
            },
        )

    def speed(self, cell) -> None:
        write_json(
            paths.speed_file(self.results, cell),
            {
                "method_options": cell.method_options,
                "backbone": dataclasses.asdict(cell.backbone),
                "input_hw": list(cell.recipe.crop_hw),
                "batch_size": 1,
                "device": "cpu",
                "cpu": "Some CPU x 2",
                "gpu": None,
                "threads": 2,
                "precision": "fp32",
                "latency_ms": {"median": 12.5, "q25": 12.0, "q75": 14.0},
                "images_per_s": 80.0,
                "peak_mem_gib": 0.5,
            },
        )

    def test(self, cell, evaluation) -> None:
        """Predictions with errors near edges; how many depends on the cell, reproducibly."""
        folder = paths.evaluation_folder(self.results, cell, evaluation.name)
        predictions = folder / "predictions"
        predictions.mkdir(parents=True)
        rng = np.random.default_rng(zlib.crc32(cell.id.encode()))
        skill = zlib.crc32(cell.model_name.encode()) % 5
        labels = self.data / cell.dataset / "labels" / evaluation.split
        for index, id in enumerate(self.ids):
            label = np.asarray(Image.open(labels / f"{id}.png"))
            shift = 1 + (index + skill) % 4
            prediction = np.where(label == 255, 1, np.roll(label, shift, axis=1))
            wrong = rng.random(label.shape) < 0.01 * (index + 1)
            prediction[wrong] = rng.integers(0, len(self.class_names), int(wrong.sum()))
            prediction[prediction == 255] = 0
            save_map(predictions / f"{id}.png", prediction)
        write_json(
            folder / "prediction.json",
            {
                "split": evaluation.split,
                "protocol": dataclasses.asdict(evaluation.protocol),
                "finished": "2026-01-01T00:02:00+00:00",
            },
        )
        score.run(
            predictions=predictions,
            labels=labels,
            num_classes=len(self.class_names),
            ignore_index=255,
            boundary_ratio=0.02,
            class_names=self.data / cell.dataset / "classes.txt",
            out=folder / "metrics.json",
            workers=1,
            against=None,
            csv=False,
            latex=False,
        )

    def fail(self, cell, reason: str, log: str) -> None:
        """As a training leaves it that will fail again."""
        write_json(paths.cell_folder(self.results, cell) / "checkpoints" / "failed.json", {"reason": reason})
        self.write_log(paths.log_file(self.logs, cell, "train"), log)

    @staticmethod
    def write_log(path: Path, log: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(log, encoding="utf-8")

    def _prepare(self, dataset: str) -> None:
        folder = self.data / dataset
        rng = np.random.default_rng(0)
        splits, histogram = {}, {}
        for split in ("train", "val", "test"):
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
            entries, pixels = [], np.zeros(256, int)
            for id in self.ids:
                label = self._scene(rng)
                pixels += np.bincount(label.ravel(), minlength=256)
                colours = np.array([*COLOURS, *[(90, 90, 90)] * 251], np.uint8)
                image = np.clip(
                    colours[label].astype(int) + rng.integers(-25, 25, (HEIGHT, WIDTH, 1)), 0, 255
                )
                cv2.imwrite(str(folder / "images" / split / f"{id}.png"), image.astype(np.uint8)[..., ::-1])
                save_map(folder / "labels" / split / f"{id}.png", label)
                entry = {"id": id, "image": f"images/{split}/{id}.png", "label": f"labels/{split}/{id}.png"}
                entries.append(entry | {"height": HEIGHT, "width": WIDTH})
            splits[split] = entries
            histogram[split] = [*pixels[: len(self.class_names)].tolist(), int(pixels[255])]
        (folder / "classes.txt").write_text("\n".join(self.class_names) + "\n", encoding="utf-8")
        classes = [
            {"name": name, "color": list(COLOURS[i % len(COLOURS)])}
            for i, name in enumerate(self.class_names)
        ]
        manifest = {"schema": 1, "dataset": dataset, "classes": classes, "ignore_index": 255}
        manifest["data_digest"] = "d" * 64
        write_json(folder / "manifest.json", manifest | {"splits": splits, "label_histogram": histogram})

    def _scene(self, rng: np.random.Generator) -> np.ndarray:
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        horizon = int(rng.integers(15, 30))
        label[horizon:] = 1
        label[5:, 10:13] = 2
        left = int(rng.integers(20, 40))
        label[horizon - 4 : horizon + 6, left : left + 14] = 3
        cv2.circle(label, (int(rng.integers(10, 50)), horizon - 4), 7, 4, -1)
        label[-3:] = 255
        return label


def save_map(path: Path, ids: np.ndarray) -> None:
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette([*sum(COLOURS, ()), *bytes(3 * (256 - len(COLOURS)))])  # fewer would be saved in 4 bits
    image.save(path)
