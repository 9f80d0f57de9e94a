"""TensorFlow 1's bilinear resize with aligned corners, squashing to a square: equal to the official benchmark's bits.

The kernels run without Python's lock, so threads scale; Numba compiles them on first use and keeps the result.
Reference: `resize_images(..., BILINEAR, align_corners=True)`, then `2 * (x / 255 - 0.5)`; each pixel is interpolated
along its row first, in float32, in TensorFlow's order of operations.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

F32 = np.float32
_IMAGE = numba.types.Array(numba.uint8, 3, "C", readonly=True)


def _compiled(*signature: Any, inline: str = "never") -> Callable[[Any], Any]:
    """Numba's compiler, its result kept on disk where there is a place for it; without Python's lock."""

    compiler: Any = functools.partial(numba.njit, *signature, nogil=True, error_model="numpy", inline=inline)

    def compiled(function: Any) -> Any:
        try:
            return compiler(cache=True)(function)
        except RuntimeError:  # neither the folder of this file nor the user's own can be written
            return compiler()(function)

    return compiled


@_compiled()
def _row_taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `target` pixels: where in a line its left neighbour's channels begin, and the right one's weight."""
    left, weight = np.empty(target, np.uint32), np.empty(target, F32)
    step = F32(source - 1) / F32(max(target - 1, 1))
    for j in range(target):
        at = F32(j) * step
        left[j] = 3 * int(at)
        weight[j] = at - F32(int(at))
    return left, weight


@_compiled(inline="always")
def _interpolate_line(
    source: np.ndarray, line: np.ndarray, left: np.ndarray, weight: np.ndarray, row: np.ndarray
) -> None:
    """One image line, (3 w,) uint8, to `row`, (3 s,) float32. Unsigned positions spare the check for negative ones."""
    for k in range(len(source)):
        line[k] = F32(source[k])
    for c in range(3):  # the last pixel's right neighbour is itself
        line[len(source) + c] = line[len(source) - 3 + c]
    for j in range(len(left)):
        a, to, x = np.uint64(left[j]), np.uint64(3) * np.uint64(j), weight[j]
        r, g, b = line[a], line[a + np.uint64(1)], line[a + np.uint64(2)]
        row[to] = r + (line[a + np.uint64(3)] - r) * x
        row[to + np.uint64(1)] = g + (line[a + np.uint64(4)] - g) * x
        row[to + np.uint64(2)] = b + (line[a + np.uint64(5)] - b) * x


@_compiled()
def _resize(image: np.ndarray, out: np.ndarray) -> None:
    """Grey levels 0..255 as float32. Two interpolated rows are held: the next output row mostly needs one new."""
    height, width, size = image.shape[0], image.shape[1], out.shape[0]
    lines, results = image.reshape(height, 3 * width), out.reshape(size, 3 * size)
    left, weight = _row_taps(width, size)
    step = F32(height - 1) / F32(max(size - 1, 1))
    line = np.empty(3 * width + 3, F32)
    rows, held = np.empty((2, 3 * size), F32), np.full(2, -1, np.int64)
    for i in range(size):
        at = F32(i) * step
        upper = int(at)
        lower, share = min(upper + 1, height - 1), at - F32(upper)
        for y in (upper, lower):
            if held[np.uint64(y & 1)] != y:
                held[np.uint64(y & 1)] = y
                _interpolate_line(lines[y], line, left, weight, rows[np.uint64(y & 1)])
        top, bottom, result = rows[np.uint64(upper & 1)], rows[np.uint64(lower & 1)], results[i]
        for k in range(3 * size):
            result[k] = top[k] + (bottom[k] - top[k]) * share


@_compiled(inline="always")
def _normalize(levels: np.ndarray, out: np.ndarray) -> None:
    """(n,) grey levels 0..255 -> [-1, 1] as the official decoder writes it."""
    for k in range(len(levels)):
        out[k] = F32(2) * (F32(levels[k]) / F32(255) - F32(0.5))


@_compiled((_IMAGE, numba.float32[:, :, ::1]))
def resize_normalized(image: np.ndarray, out: np.ndarray) -> None:
    """`image`: (h, w, 3) uint8, C order -> `out`: (s, s, 3) float32 in [-1, 1], C order, overwritten."""
    if image.shape == out.shape:  # nothing to interpolate
        _normalize(image.reshape(image.size), out.reshape(out.size))
    else:
        _resize(image, out)
        _normalize(out.reshape(out.size), out.reshape(out.size))


@_compiled((_IMAGE, numba.uint8[:, :, ::1]))
def resize_rounded(image: np.ndarray, out: np.ndarray) -> None:
    """`image`: (h, w, 3) uint8, C order -> `out`: (s, s, 3) uint8, rounded to the nearest grey level."""
    size = out.shape[0]
    pixels = np.empty((size, size, 3), F32)
    _resize(image, pixels)
    flat, rounded = pixels.reshape(pixels.size), out.reshape(out.size)
    for k in range(len(flat)):
        rounded[k] = np.uint8(flat[k] + F32(0.5))
