"""Flags as bits: 64 pixels of a map in one operation."""

import numpy as np

WORD = np.dtype("<u8")
WORD_BITS = 64


def pack(flags: np.ndarray) -> np.ndarray:
    """Booleans (n,) as bits, lowest first, in words; the last word is filled up with zeros."""
    words = np.zeros(-(-flags.size // WORD_BITS), WORD)
    packed = np.packbits(flags, bitorder="little")
    words.view(np.uint8)[: packed.size] = packed
    return words


def unpack(words: np.ndarray) -> np.ndarray:
    """The bits as booleans, those that fill up the last word included."""
    return np.unpackbits(words.view(np.uint8), bitorder="little").view(bool)


def shifted(words: np.ndarray, offset: int) -> np.ndarray:
    """Bit i of the result is bit i + offset of ``words``; a new array, shorter by the whole words."""
    whole, rest = divmod(offset, WORD_BITS)
    if rest == 0:
        return words[whole:].copy()
    result = words[whole:] >> WORD.type(rest)
    result[:-1] |= words[whole + 1 :] << WORD.type(WORD_BITS - rest)
    return result
