import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from seglib.data.label_formats import read_label_png


def write_grey(path, values, depth):
    """A grey PNG of 1, 2 or 4 bits, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape
    bits = np.unpackbits(values[:, :, None], axis=2)[:, :, 8 - depth :].reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("kind", ["grey", "palette"])
def test_few_bits_per_pixel_are_still_ids(tmp_path, depth, kind):
    """Optimisers of PNGs write these; decoders for pictures spread grey ones over 0..255."""
    values = (np.arange(35, dtype=np.uint8) % 2**depth).reshape(5, 7)
    path = tmp_path / "a.png"
    if kind == "grey":
        write_grey(path, values, depth)
    else:
        image = Image.frombytes("P", (7, 5), values.tobytes())
        image.putpalette(range(3 * 2**depth))
        image.save(path, bits=depth)
    read = read_label_png(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey(tmp_path, dtype):
    values = (np.arange(300) * 7 % 299).reshape(20, 15).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.png")
    read = read_label_png(tmp_path / "a.png")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, values)


def test_transparency_of_a_palette_does_not_matter(tmp_path):
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette(range(9))
    image.save(tmp_path / "a.png", transparency=1)
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png"), [[0, 1, 2]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_refused(tmp_path, mode):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png: holds colours \({mode}\), not class ids"):
        read_label_png(tmp_path / "a.png")


def test_what_is_no_png_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8)).save(path)
    whole = path.read_bytes()
    jpeg = tmp_path / "b.jpg"
    Image.new("L", (3, 2)).save(jpeg)
    broken = whole[:500] + b"\0" * 100 + whole[600:]
    for content in (b"", b"text", whole[:40], whole[:-800], broken, jpeg.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.png: not a readable PNG"):
            read_label_png(path)
