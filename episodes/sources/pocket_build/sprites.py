"""Monsters from the Freedoom WADs (Debian `freedoom`), one class per monster, without gore.

File layout and picture format after the "Unofficial Doom Specs" (M. Fell, 1994): a WAD is a directory of named
lumps; sprites lie between S_START and S_END and are named by monster (4 letters), frame (1 letter) and rotation.
"""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from episodes.sources.pocket_build.fetch import fetch_debian
from episodes.sources.pocket_build.images import shrink

BACKGROUND = 128
SIDE = 84
# Lump prefix -> class name and the frames in which the monster is whole: walking, attacking and (unless it bleeds) in
# pain. The frames that follow are its death and its remains. In Doom's frame numbering `[`, `\` and `]` follow Z.
MONSTERS = {
    "POSS": ("rifle zombie", "ABCDEF"),
    "SPOS": ("shotgun zombie", "ABCDEF"),
    "CPOS": ("minigun zombie", "ABCDEF"),
    "SSWV": ("sailor", "ABCDEFG"),
    "PLAY": ("marine", "ABCDEF"),
    "TROO": ("serpentipede", "ABCDEFGH"),
    "SARG": ("flesh worm", "ABCDEFGH"),
    "HEAD": ("trilobite", "ABCDEF"),
    "BOSS": ("pain lord", "ABCDEFGH"),
    "BOS2": ("pain bringer", "ABCDEFGH"),
    "SKUL": ("deadflare", "ABCDE"),
    "FATT": ("combat slug", "ABCDEFGHIJ"),
    "BSPI": ("technospider", "ABCDEFGHI"),
    "PAIN": ("matribite", "ABCDEFG"),
    "SKEL": ("dark soldier", "ABCDEFGHIJKL"),
    "VILE": ("flame bringer", "ABCDEFGHIJKLMNOPQ[\\]"),
    "SPID": ("large technospider", "ABCDEFGHI"),
    "CYBR": ("assault tripod", "ABCDEFG"),
}


def collect(work: Path) -> dict[str, list[Image.Image]]:
    """Each monster's frames from freedoom2.wad, in the order of their names, on neutral grey."""
    wad = (fetch_debian("freedoom", work) / "usr/share/games/doom/freedoom2.wad").read_bytes()
    lumps = _lumps(wad)
    names = [name for name, _ in lumps]
    palette = np.frombuffer(dict(lumps)["PLAYPAL"], np.uint8, 768).reshape(256, 3)
    sprites = dict(sorted(lumps[names.index("S_START") + 1 : names.index("S_END")]))
    return {
        title: [
            shrink(decode_picture(lump, palette), SIDE)
            for name, lump in sprites.items()
            if name[:4] == prefix and name[4] in frames
        ]
        for prefix, (title, frames) in MONSTERS.items()
    }


def decode_picture(lump: bytes, palette: np.ndarray) -> Image.Image:
    """RGB image of a Doom picture: columns of posts (top row, length, pixels) over a plain grey background."""
    width, height = struct.unpack_from("<HH", lump)
    pixels = np.full((height, width, 3), BACKGROUND, np.uint8)
    for x, start in enumerate(struct.unpack_from(f"<{width}I", lump, 8)):
        while (top := lump[start]) != 255:
            length = lump[start + 1]
            pixels[top : top + length, x] = palette[np.frombuffer(lump, np.uint8, length, start + 3)]
            start += length + 4  # top, length, one unused byte before the pixels and one after
    return Image.fromarray(pixels)


def _lumps(wad: bytes) -> list[tuple[str, bytes]]:
    count, directory = struct.unpack_from("<ii", wad, 4)
    found = []
    for i in range(count):
        offset, size, name = struct.unpack_from("<ii8s", wad, directory + 16 * i)
        found.append((name.rstrip(b"\0").decode("ascii"), wad[offset : offset + size]))
    return found
