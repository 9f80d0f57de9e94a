"""A picture of a folder of records, one row per class.

Run as `python -m episodes.sources.pocket_build.contact_sheet FOLDER OUT.png`. Options: `--side 48` pixels per image,
`--columns 24` images per class, `--split test` for one split only.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from episodes.spec import SPLITS, load_spec
from episodes.tfrecord import RecordFile, parse_example

LABEL_WIDTH = 190


def class_images(folder: Path, class_id: int) -> list[Image.Image]:
    """All images of one class, RGB, in file order."""
    records = RecordFile(folder / f"{class_id}.tfrecords")
    return [Image.open(io.BytesIO(parse_example(records[i])[0])).convert("RGB") for i in range(len(records))]


def contact_sheet(folder: Path, splits: tuple[str, ...] = SPLITS, *, side: int = 48, columns: int = 24) -> Image.Image:
    """One row per class: split, id, name and number of images, then evenly spaced images of the class."""
    spec = load_spec(folder)
    rows = [(split, class_id) for split in splits for class_id in spec.class_ids[split]]
    sheet = Image.new("RGB", (LABEL_WIDTH + columns * (side + 2), len(rows) * (side + 2)), (160, 190, 220))
    draw = ImageDraw.Draw(sheet)
    for row, (split, class_id) in enumerate(rows):
        top = row * (side + 2)
        images = class_images(folder, class_id)
        label = f"{split} {class_id}: {len(images)}\n{spec.class_names[class_id]}"
        draw.multiline_text((4, top + 4), label, fill=(0, 0, 0))
        shown = np.unique(np.linspace(0, len(images) - 1, min(columns, len(images))).round().astype(int))
        for column, i in enumerate(shown):
            tile = images[i].resize((side, side), Image.Resampling.LANCZOS)  # squashed, as the network sees it
            sheet.paste(tile, (LABEL_WIDTH + column * (side + 2), top))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--columns", type=int, default=24)
    parser.add_argument("--split", choices=SPLITS, action="append", help="may be repeated; default: all")
    given = parser.parse_args()
    splits = tuple(given.split or SPLITS)
    contact_sheet(given.folder, splits, side=given.side, columns=given.columns).save(given.out)


if __name__ == "__main__":
    main()
