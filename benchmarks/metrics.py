"""Metrics against the loops that they replace: ratios from one run, on one thread.

    python benchmarks/metrics.py [--pairs 500]

1. Boundary counts of an image pair, from the two label maps, against OpenCV class by class (over the
   classes present and over all), after checking that the counts are equal; with peak memory.
2. Region confusion against the time that it takes to read both maps once from memory, and against
   ``numpy.bincount`` of ``K * label + prediction``. The maps are many, so that no cache holds them.
3. All counts of a pair: region, boundary and contours at four radii.
4. ``seglib score`` of ``--pairs`` pairs of Cityscapes' size, PNG decoding included, in two processes;
   with the memory of all processes, also for a tenth of the pairs.

1 to 3 are CPU time of the thread, the best of several runs, so that other work on the machine disturbs
them little; 4 is time on the clock, with CPU time beside it, and wants two idle cores.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.label_maps import IGNORE, SIZES, Size, make_pair  # noqa: E402
from seglib.metrics.boundary import boundary_counts, boundary_width  # noqa: E402
from seglib.metrics.confusion import LabelPair, label_pair, region_confusion  # noqa: E402
from seglib.metrics.counts import Settings, count_image  # noqa: E402

IGNORE_SHARE = 0.02
TARGETS = {"ade20k": 20, "cityscapes": 12, "camvid": 4}


def class_loop(label: np.ndarray, prediction: np.ndarray, classes: np.ndarray, width: int) -> np.ndarray:
    """(3, classes): the published ``mask_to_boundary`` for one class after the other."""
    kernel = np.ones((3, 3), np.uint8)

    def boundary(mask: np.ndarray) -> np.ndarray:
        padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        return mask - cv2.erode(padded, kernel, iterations=width)[1:-1, 1:-1]

    counts = []
    for c in classes:
        g, p = (boundary((values == c).astype(np.uint8)) for values in (label, prediction))
        counts.append([np.count_nonzero(g & p), np.count_nonzero(g), np.count_nonzero(p)])
    return np.array(counts).T


def all_at_once(label: np.ndarray, prediction: np.ndarray, num_classes: int, width: int) -> np.ndarray:
    pair = label_pair(label, prediction, num_classes=num_classes, ignore_index=IGNORE)
    return boundary_counts(pair, width=width, confusion=region_confusion(pair))


def best_ms(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return 1e3 * min(times)


def peak_mib(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def boundary(name: str, size: Size) -> None:
    label, prediction = make_pair(size, seed=0, ignore_share=IGNORE_SHARE)
    width = boundary_width(size.height, size.width, 0.02)
    # The loop gets the prediction with its ignored pixels already removed.
    cleaned = np.where(label == IGNORE, np.uint8(IGNORE), prediction)
    present = np.setdiff1d(np.union1d(label, cleaned), [IGNORE])
    every = np.arange(size.num_classes)
    np.testing.assert_array_equal(
        all_at_once(label, prediction, size.num_classes, width), class_loop(label, cleaned, every, width)
    )
    sides = {
        "all at once": lambda: all_at_once(label, prediction, size.num_classes, width),
        "loop, present": lambda: class_loop(label, cleaned, present, width),
        "loop, all": lambda: class_loop(label, cleaned, every, width),
    }
    ms = {side: best_ms(work, 30 if side == "all at once" else 5) for side, work in sides.items()}
    mib = {side: peak_mib(work) for side, work in sides.items()}
    ours = ms["all at once"]
    print(
        f"boundary  {name:<10}  {ours:.2f} ms, {mib['all at once']:.1f} MiB peak "
        f"({size.height}x{size.width}, d = {width}, {len(present)} of {size.num_classes} classes)"
    )
    for side in ("loop, present", "loop, all"):
        target = f" (target {TARGETS[name]}x)" if side == "loop, present" else ""
        print(f"  {side:<18}  {ms[side]:.1f} ms = {ms[side] / ours:.1f}x{target}, {mib[side]:.1f} MiB peak")


def region(name: str, size: Size) -> None:
    originals = [make_pair(size, seed=seed, ignore_share=IGNORE_SHARE) for seed in range(4)]
    count = max(4, 2**27 // (2 * size.height * size.width))  # 128 MiB of maps
    pairs = [
        label_pair(*originals[i % 4], num_classes=size.num_classes, ignore_index=IGNORE) for i in range(count)
    ]
    k = size.num_classes

    def read(pair: LabelPair) -> None:
        for values in (pair.label, pair.prediction):
            np.bitwise_xor.reduce(values.ravel()[: values.size // 8 * 8].view(np.uint64))

    def bincount(pair: LabelPair) -> np.ndarray:
        counted = pair.label < k
        cells = k * pair.label[counted].astype(np.int64) + pair.prediction[counted]
        return np.bincount(cells, minlength=k * k).reshape(k, k)

    np.testing.assert_array_equal(region_confusion(pairs[0]), bincount(pairs[0]))
    floor, ours, plain = (
        best_ms(lambda work=work: [work(pair) for pair in pairs], 3) / count
        for work in (read, region_confusion, bincount)
    )
    print(
        f"region    {name:<10}  {ours:.3f} ms = {ours / floor:.1f}x reading both maps once "
        f"({floor:.3f} ms, target 2x); bincount {plain:.2f} ms = {plain / ours:.1f}x"
    )


def everything(name: str, size: Size) -> None:
    settings = Settings(num_classes=size.num_classes)
    maps = make_pair(size, seed=0, ignore_share=IGNORE_SHARE)

    def count() -> None:
        count_image(label_pair(*maps, num_classes=size.num_classes, ignore_index=IGNORE), settings)

    print(f"all       {name:<10}  {best_ms(count, 5):.1f} ms, peak memory {peak_mib(count):.0f} MiB")


def score(pairs: int, size: Size) -> None:
    """Of 20 different pairs, linked under other names."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("labels", "predictions"):
            (folder / kind).mkdir()
        for i in range(20):
            maps = make_pair(size, seed=i, ignore_share=IGNORE_SHARE)
            for kind, values in zip(("labels", "predictions"), maps, strict=True):
                Image.fromarray(values).save(folder / kind / f"{i}.png")
        done = 20
        for total in (max(20, pairs // 10), max(20, pairs)):
            for i in range(done, total):
                for kind in ("labels", "predictions"):
                    os.link(folder / kind / f"{i % 20}.png", folder / kind / f"{i}.png")
            done = total
            _score(folder, total, size.num_classes)


def _score(folder: Path, pairs: int, num_classes: int) -> None:
    command = [sys.executable, "-m", "seglib", "score", "--predictions", folder / "predictions"]
    command += ["--labels", folder / "labels", "--num-classes", str(num_classes), "--workers", "2"]
    command += ["--out", folder / "out" / "metrics.json"]
    start, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[1],
    )
    peak_mib = 0.0
    while process.poll() is None:
        peak_mib = max(peak_mib, _resident_mib(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit("scoring failed")
    time_s, after = time.perf_counter() - start, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    kib = (folder / "out" / "counts.npz").stat().st_size / 1024
    print(
        f"score     {pairs} pairs: {time_s:.1f} s = {pairs / time_s:.1f} pairs/s (target 10), CPU "
        f"{1e3 * cpu_s / pairs:.0f} ms a pair, peak memory {peak_mib:.0f} MiB, counts.npz {kib:.0f} KiB"
    )


def _resident_mib(pid: int) -> float:
    """Of a process and its children, pages that they share counted for each."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children())) / 2**20
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=500, metavar="N", help="default: %(default)s")
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    arguments = parser.parse_args()
    sizes = SIZES
    if arguments.reduced:
        sizes, arguments.pairs = {"camvid": SIZES["camvid"]}, 20
    cv2.setNumThreads(1)
    for part in (boundary, region, everything):
        for name, size in sizes.items():
            part(name, size)
    score(arguments.pairs, [*sizes.values()][-1])


if __name__ == "__main__":
    main()
