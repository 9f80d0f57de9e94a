"""`metabench records check`: a folder of records against what its data sets should hold, one line per data set."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from episodes.check import ClassCheck, ClassJob, DatasetCheck, Problem, check_class, inspect_folder, summarize
from episodes.decoders import leave_with_parent
from episodes.known_datasets import KNOWN
from episodes.spec import FILE_PATTERN, SPEC_FILE, SPLITS
from harness.errors import HarnessError, unknown
from harness.progress import bar


def check_records(
    console: Console, folder: Path, *, datasets: tuple[str, ...] | None, images: bool, workers: int, as_json: bool
) -> bool:
    """Check every data set in `folder` (or `folder` itself, if it is one) and print the report; True if all is fine.

    `datasets`: only those, by the names of their folders; a published one that is named and absent is a failure.
    `images`: decode every image. Raises HarnessError for a folder without data sets and for an unknown name.
    """
    present = _present(folder)
    names = _chosen(folder, present, datasets)
    checks = _check_all(console, [present[name] for name in names if name in present], images, workers)
    absent = [name for name in names if name not in present]
    ok = all(check.ok for check in checks) and not (datasets and absent)
    if as_json:
        console.print_json(data=_document(folder, checks, absent, images, ok), ensure_ascii=True)
        return ok
    console.print(_table(checks, absent, images))
    for check in checks:
        _print_problems(console, check)
    return ok


def _present(folder: Path) -> dict[str, Path]:
    """Folders of data sets by name: the thirteen in their order, then others; hidden ones are unfinished builds."""
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder")
    if (folder / SPEC_FILE).exists():
        return {folder.absolute().name: folder}
    found = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and (path.name in KNOWN or _holds_records(path))
    }
    if not found and _holds_records(folder):
        return {folder.absolute().name: folder}
    if not found:
        raise HarnessError(
            f"{folder}: no data set here; a data set is a folder of <class id>.tfrecords with {SPEC_FILE}, such as "
            f"{folder / next(iter(KNOWN))}"
        )
    return {name: found[name] for name in [*KNOWN, *found] if name in found}


def _holds_records(folder: Path) -> bool:
    return (folder / SPEC_FILE).exists() or any(folder.glob(FILE_PATTERN.format("*")))


def _chosen(folder: Path, present: Mapping[str, Path], datasets: tuple[str, ...] | None) -> list[str]:
    if datasets is None:
        itself = folder in present.values()
        return list(present) if itself else list(dict.fromkeys([*KNOWN, *present]))
    for name in datasets:
        if name not in present and name not in KNOWN:
            raise unknown(f"data set in {folder}:", name, {*present, *KNOWN})
    return list(dict.fromkeys(datasets))


def _check_all(console: Console, folders: Sequence[Path], images: bool, workers: int) -> list[DatasetCheck]:
    """Every data set's report, in the order given; the class files of all of them are spread over the workers."""
    inspected = [inspect_folder(path) for path in folders]
    jobs = [(number, job) for number, data in enumerate(inspected) for job in data.jobs(images)]
    results: list[list[ClassCheck]] = [[] for _ in inspected]
    with bar(console, "records", sum(job.expected for _, job in jobs)) as advance:
        for number, expected, check in _run(jobs, workers):
            results[number].append(check)
            advance(expected)
    return [summarize(data, checks) for data, checks in zip(inspected, results, strict=True)]


def _run(jobs: Sequence[tuple[int, ClassJob]], workers: int) -> Iterator[tuple[int, int, ClassCheck]]:
    if workers == 1 or len(jobs) < 2:
        yield from (_check(number, job) for number, job in jobs)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=workers, return_as="generator_unordered")
    yield from parallel(delayed(_check_in_worker)(number, job) for number, job in jobs)


def _check(number: int, job: ClassJob) -> tuple[int, int, ClassCheck]:
    return number, job.expected, check_class(job)


def _check_in_worker(number: int, job: ClassJob) -> tuple[int, int, ClassCheck]:
    leave_with_parent()
    return _check(number, job)


# --- the report ----------------------------------------------------------------------------------------------------


def _table(checks: Sequence[DatasetCheck], absent: Sequence[str], images: bool) -> Table:
    table = Table()
    for column in ("data set", "classes", "images", "corrupt", "wrong labels", "undecodable", "order", "verdict"):
        table.add_column(column, justify="left" if column in ("data set", "order", "verdict") else "right")
    for check in checks:
        undecodable = _count(check.counts.get("image", 0)) if images else Text("-")
        table.add_row(
            Text(_title(check)),
            _found(check.classes, check.expected_classes),
            _found(check.images, check.expected_images),
            _count(check.counts.get("corrupt", 0)),
            _count(check.counts.get("label", 0)),
            undecodable,
            Text(check.order or "-", style="red" if "order" in check.counts else ""),
            Text("ok", style="green") if check.ok else Text(_problems(check), style="red"),
        )
    for name in absent:
        table.add_row(Text(KNOWN[name].display), *[""] * 6, "absent", style="dim")
    return table


def _title(check: DatasetCheck) -> str:
    """The published name, with the folder's where that is another."""
    name, known = _printable(check.folder.name), check.folder.known
    if known is None:
        return name
    return known.display if name == known.name else f"{known.display} ({name})"


def _found(found: Mapping[str, int], expected: Mapping[str, int]) -> Text:
    wrong = any(found[split] != expected[split] for split in SPLITS)
    return Text(f"{sum(found.values()):,} / {sum(expected.values()):,}", style="red" if wrong else "")


def _count(number: int) -> Text:
    return Text(f"{number:,}", style="red" if number else "")


def _problems(check: DatasetCheck) -> str:
    number = sum(check.counts.values())
    return f"{number:,} problem{'s' if number > 1 else ''}"


def _print_problems(console: Console, check: DatasetCheck) -> None:
    if check.ok:
        return
    lines = [f"{_title(check)}: {_problems(check)}", *(f"  {_line(problem)}" for problem in check.problems)]
    unnamed = sum(check.counts.values()) - len(check.problems)
    if unnamed:
        lines.append(f"  ... and {unnamed:,} more")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _line(problem: Problem) -> str:
    record = "" if problem.record is None else f": record {problem.record}"
    offset = "" if problem.offset is None else f", byte {problem.offset}"
    return _printable(f"{problem.path}{record}{offset}: {problem.reason}")


def _printable(text: str) -> str:
    """One line that any terminal takes: file names may hold line breaks and bytes that are no text."""
    return " ".join(text.encode(errors="replace").decode().split())


def _document(
    folder: Path, checks: Sequence[DatasetCheck], absent: Sequence[str], images: bool, ok: bool
) -> dict[str, Any]:
    """The report as one JSON object."""
    missing = [{"name": name, "display": KNOWN[name].display, "state": "absent"} for name in absent]
    entries = [_entry(check) for check in checks] + missing
    return {"folder": str(folder), "ok": ok, "images_decoded": images, "datasets": entries}


def _entry(check: DatasetCheck) -> dict[str, Any]:
    return {
        "name": check.folder.name,
        "display": check.folder.known.display if check.folder.known else None,
        "state": "ok" if check.ok else "problems",
        "folder": str(check.folder.path),
        "classes": {"found": check.classes, "expected": check.expected_classes},
        "images": {"found": check.images, "expected": check.expected_images},
        "order": check.order,
        "neighbour_ratio": check.neighbour_ratio,
        "counts": check.counts,
        "problems": [{**problem._asdict(), "path": str(problem.path)} for problem in check.problems],
    }
