"""Tiny data sets as TensorFlow Datasets prepares them, made without TensorFlow.

TFDS writes ArrayRecord shards by itself. Its TFRecord writer needs TensorFlow, so the TFRecord twin takes the metadata
and the payloads that TFDS wrote, frames the payloads anew, and changes the format's name in dataset_info.json.
"""

import io
import json
import struct

import google_crc32c
import numpy as np
from PIL import Image

from episodes.record_index import mask_crc

FORMATS = ("array_record", "tfrecord")
INK = 20  # rows of a tiny Omniglot drawing that carry ink, of 105


def jpeg(seed, side=8):
    """An RGB JPEG of noise."""
    out = io.BytesIO()
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (side, side, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


def drawing(seed, *, black_on_white=True, ink=INK):
    """A one-bit PNG of 105 x 105, as Omniglot's files are: `ink` rows of strokes."""
    rows = np.random.RandomState(seed).permutation(105)[:ink]
    light = np.full((105, 105), black_on_white)
    light[rows] = not black_on_white
    out = io.BytesIO()
    Image.fromarray(light).save(out, "PNG")
    return out.getvalue()


def omniglot_features(alphabets, labels=100):
    import tensorflow_datasets as tfds

    return {
        "image": tfds.features.Image(shape=(105, 105, 3), encoding_format="png"),
        "alphabet": tfds.features.ClassLabel(names=alphabets),
        "alphabet_char_id": np.int64,
        "label": tfds.features.ClassLabel(num_classes=labels),
    }


def plain_features(names, **image):
    import tensorflow_datasets as tfds

    return {"image": tfds.features.Image(**image), "label": tfds.features.ClassLabel(names=names)}


def prepare(root, splits, features, *, file_format="array_record", name="shapes", shards=1, supervised_keys=None):
    """Prepare a data set under `root` and return its version's folder.

    `splits`: split name -> examples, each a dict like `features`; their order is kept. `shards`: per split.
    """
    import tensorflow_datasets as tfds

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=supervised_keys,
                disable_shuffling=True,
            )

        def _split_generators(self, manager):
            return {split: iter(enumerate(examples)) for split, examples in splits.items()}

        def _generate_examples(self):
            raise AssertionError("each split brings its own examples")

    Tiny.name = name
    tfds.disable_progress_bar()
    builder = Tiny(data_dir=root, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    folder = root / name / "1.0.0"
    if file_format == "tfrecord":
        payloads = {
            split: [payloads_of(path) for path in sorted(folder.glob(f"*-{split}.array_record-*"))] for split in splits
        }
        for path in folder.glob("*.array_record-*"):
            path.unlink()
        write_tfrecord_shards(folder, payloads)
    return folder


def payloads_of(array_record):
    """All payloads of an ArrayRecord file."""
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(array_record))
    return reader.read_all() if reader.num_records() else []


def write_tfrecord_shards(folder, splits):
    """Write TFRecord shards, and what dataset_info.json says of them. `splits`: split -> shards -> payloads."""
    info = read_info(folder)
    for split, shards in splits.items():
        for number, payloads in enumerate(shards):
            path = folder / f"{info['name']}-{split}.tfrecord-{number:05d}-of-{len(shards):05d}"
            path.write_bytes(b"".join(map(framed, payloads)))
    lengths = {split: [str(len(payloads)) for payloads in shards] for split, shards in splits.items()}
    for split in info["splits"]:
        split["shardLengths"] = lengths[split["name"]]
    write_info(folder, {**info, "fileFormat": "tfrecord"})


def framed(payload):
    """A payload as it stands in a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    return b"".join(part + struct.pack("<I", mask_crc(google_crc32c.value(part))) for part in (length, payload))


def read_info(folder):
    return json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))


def write_info(folder, info):
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
