"""A results folder as the steps leave it: real label maps, predictions, counts and metrics, no training."""

import json
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from seglib.claims import results
from seglib.claims.results import Results
from seglib.core import code_digest
from seglib.core.files import sha256_file
from seglib.evaluation import score
from seglib.experiment import config as configuration
from seglib.experiment import paths, records

HEIGHT, WIDTH = 48, 64
CLASSES = ("sky", "road", "pole", "car", "tree")
ORIGIN = {
    "command": "python -m seglib ...",
    "host": "node1",
    "cpu": "Some CPU x 2",
    "gpu": None,
    "driver": None,
    "versions": {"seglib": "0.1", "python": "3.11.2", "torch": "2.13.0+cpu", "cuda": None},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "dirty_diff_sha256": None,
}
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


def training(cell, **changes) -> records.Training:
    values = {
        **ORIGIN,
        "device": "cpu",
        "processes": 1,
        "norm_batch_size": 8,
        "cell_id": cell.id,
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:15+00:00",
        "time_s": 75.4,
        "threads": 2,
        "peak_mem_gib": 1.25,
        "images_per_s": 31.8,
        "data_digest": "d" * 64,
        "code": code_digest.step_code("train", method=cell.method),
        "resumed": 0,
        "parameters": 1234567,
    }
    return records.Training(**values | changes)


def attempt(**changes) -> records.Attempt:
    machine = {name: value for name, value in ORIGIN.items() if name != "command"}
    work = {"after_iteration": 0, "device": "cpu", "processes": 1, "norm_batch_size": 8}
    return records.Attempt(**machine | work | changes)


def cost(cell, *, num_classes: int = len(CLASSES), **changes) -> records.Cost:
    size = zlib.crc32(cell.model_name.encode()) % 97
    all_gmacs, conv_matmul = 0.3 + size / 100, 0.28 + size / 100
    values = {
        **_model(cell, num_classes),
        "params": 1_000_000 + 10_000 * size,
        "params_backbone": 900_000,
        "params_head": 100_000,
        "params_training_only": 5_000,
        "gmacs": all_gmacs,
        "gmacs_conv_matmul": conv_matmul,
        "gmacs_backbone": 0.21,
        "gmacs_conv_matmul_backbone": 0.2,
        "gmacs_head": 0.05,
        "gmacs_conv_matmul_head": 0.05,
        "elementwise_share": 0.02 / all_gmacs,
        "gflops": 2 * all_gmacs,
        "gflops_conv_matmul": 2 * conv_matmul,
        "macs": {"conv": 280_000_000, "matmul": 0, "elementwise": 20_000_000},
        "macs_by_operator": {"conv": 280_000_000},
        "modules": tuple(
            records.ModuleCost(
                name=name, depth=depth, params=900_000, macs_conv_matmul=200_000_000, macs=210_000_000
            )
            for name, depth in (("backbone", 0), ("layer1", 1))
        ),
        "unsupported_ops": {"aten::softmax": 2},
        "counters": {"fvcore": records.CounterRun(version="0.1.5", ran=True, why_not=None)},
        "mem_gib": 0.1,
        "conventions": ("1 MAC = 1",),
    }
    return records.Cost(**values | changes)


def speed(cell, *, num_classes: int = len(CLASSES), **changes) -> records.Speed:
    values = {
        **_model(cell, num_classes),
        **ORIGIN,
        "batch_size": 1,
        "device": "cpu",
        "precision": "fp32",
        "memory_format": "channels_last",
        "threads": 2,
        "warmup": 1,
        "repeats": 2,
        "latency_ms": records.Latency(median=12.5, q25=12.0, q75=14.0, iqr=2.0, min=11.0, max=15.0),
        "latencies_ms": (12.5, 12.5),
        "images_per_s": 80.0,
        "peak_mem_gib": 0.5,
        "peak_mem_of": "the process",
    }
    return records.Speed(**values | changes)


def _model(cell, num_classes: int) -> dict:
    """What costs and speeds say of the model that they are of."""
    return {
        "method": cell.method,
        "method_options": cell.method_options,
        "backbone": cell.backbone,
        "input_hw": cell.recipe.crop_hw,
        "num_classes": num_classes,
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

    def read(self) -> Results:
        """What ``compare`` and ``report`` read of it."""
        return results.read(self.config, self.results)

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
        records.write(folder / "provenance.json", training(cell))

    def cost(self, cell) -> None:
        file = paths.complexity_file(self.results, cell)
        records.write(file, cost(cell, num_classes=len(self.class_names)))

    def speed(self, cell) -> None:
        file = paths.speed_file(self.results, cell)
        records.write(file, speed(cell, num_classes=len(self.class_names)))

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
        records.write(
            folder / "prediction.json",
            records.Prediction(
                **ORIGIN,
                cell_id=cell.id,
                model_sha256="0" * 64,
                code={},
                split=evaluation.split,
                protocol=evaluation.protocol,
                num_images=len(self.ids),
                data_digest="d" * 64,
                device="cpu",
                peak_mem_gib=0.5,
                finished="2026-01-01T00:02:00+00:00",
            ),
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
        failure = records.Failure(key="0" * 16, reason=reason, time="2026-01-01T00:00:30+00:00")
        records.write(paths.cell_folder(self.results, cell) / "checkpoints" / "failed.json", failure)
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
                image, label = (folder / kind / split / f"{id}.png" for kind in ("images", "labels"))
                pair = records.ImagePair(
                    id=id,
                    image=str(image.relative_to(folder)),
                    image_sha256=sha256_file(image),
                    image_bytes=image.stat().st_size,
                    height=HEIGHT,
                    width=WIDTH,
                    label_sha256="0" * 64,
                    label_file_sha256=sha256_file(label),
                    label_bytes=label.stat().st_size,
                    label=str(label.relative_to(folder)),
                )
                entries.append(pair)
            splits[split] = tuple(entries)
            histogram[split] = [*pixels[: len(self.class_names)].tolist(), int(pixels[255])]
        (folder / "classes.txt").write_text("\n".join(self.class_names) + "\n", encoding="utf-8")
        classes = tuple(
            records.LabelClass(name=name, color=COLOURS[i % len(COLOURS)])
            for i, name in enumerate(self.class_names)
        )
        manifest = records.Manifest(
            schema=2,
            dataset=dataset,
            classes=classes,
            flip_pairs=(),
            ignore_index=255,
            splits=splits,
            unlabelled={},
            label_histogram=histogram,
            data_digest="d" * 64,
            about=records.About(title=dataset, evaluation="", licence="", citation=""),
            software={"seglib": "0.1"},
        )
        records.write(folder / "manifest.json", manifest)

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
