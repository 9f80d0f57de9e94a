"""`metabench records check`: a folder of records against what its data sets should hold, one line per data set."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from episodes.check import ClassCheck, ClassJob, DatasetCheck, Kind, Problem, check_class, inspect_folder, summarize
from episodes.decoders import leave_with_parent
from episodes.known_datasets import KNOWN
from episodes.spec import FILE_PATTERN, SPEC_FILE, SPLITS
from harness.console import print_json
from harness.errors import HarnessError, unknown
from harness.progress import bar

WRONG: Mapping[Kind, str] = {
    "order": "track order",
    "folder": "faulty file",
    "count": "wrong count",
    "corrupt": "corrupt record",
    "label": "wrong label",
    "image": "undecodable image",
}
"""What each kind of problem is called, in the order in which they are told."""
LABELS_SHOWN = 3  # class files with wrong labels: where one has them, mostly all have


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
    absent = {name: _why_absent(folder, present, name) for name in names if name not in present}
    ok = all(check.ok for check in checks) and not (datasets and absent)
    if as_json:
        print_json(_document(folder, checks, absent, images, ok))
        return ok
    console.print(_table(checks, absent if datasets else ()))
    lines = [line for check in checks for line in (*_problem_lines(check), *_order_lines(check))]
    if not images:
        lines.append("images were not decoded (--no-images)")
    if datasets:
        lines += [f"{KNOWN[name].display}: absent, as {why}" for name, why in absent.items()]
    elif absent:
        lines.append(f"published data sets not here: {', '.join(KNOWN[name].display for name in absent)}")
    for line in lines:
        console.print(Text(line), soft_wrap=True)
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


def _why_absent(folder: Path, present: Mapping[str, Path], name: str) -> str:
    if folder in present.values():
        return f"{folder} is itself a data set, {_printable(next(iter(present)))}"
    unfinished = next(folder.glob(f".{name}-*.part"), None)
    if unfinished is not None:
        return f"its build has not finished ({unfinished}); the same `records build` again goes on with it"
    return f"{folder / name} is no folder"


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


def _table(checks: Sequence[DatasetCheck], absent: Iterable[str]) -> Table:
    table = Table()
    for column in ("data set", "classes", "images", "order", "verdict"):
        table.add_column(column, justify="right" if column in ("classes", "images") else "left", overflow="fold")
    for check in checks:
        table.add_row(
            Text(_title(check)),
            _found(check.classes, check.expected_classes),
            _found(check.images, check.expected_images),
            Text(check.order or "-", style="red" if "order" in check.counts else ""),
            Text("ok", style="green") if check.ok else Text(_verdict(check), style="red"),
        )
    for name in absent:
        table.add_row(Text(KNOWN[name].display), "", "", "", "absent", style="dim")
    return table


def _title(check: DatasetCheck) -> str:
    """The published name, with the folder's where that is another."""
    name, known = _printable(check.folder.name), check.folder.known
    if known is None:
        return name
    return known.display if name == known.name else f"{known.display} ({name})"


def _found(found: Mapping[str, int], expected: Mapping[str, int]) -> Text:
    """The number there is, and where the splits have others than they should, the number there should be."""
    if all(found[split] == expected[split] for split in SPLITS):
        return Text(f"{sum(found.values()):,}")
    return Text(f"{sum(found.values()):,} / {sum(expected.values()):,}", style="red")


def _verdict(check: DatasetCheck) -> str:
    return ", ".join(_number(check.counts[kind], WRONG[kind]) for kind in WRONG if kind in check.counts)


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number > 1 else ''}"


def _problem_lines(check: DatasetCheck) -> Iterator[str]:
    if not check.ok:
        yield f"{_title(check)}: {_number(sum(check.counts.values()), 'problem')}"
    for kind in WRONG:
        problems = [problem for problem in check.problems if problem.kind == kind]
        shown = problems[:LABELS_SHOWN] if kind == "label" else problems
        yield from (f"  {_line(problem)}" for problem in shown)
        unnamed = check.counts.get(kind, 0) - sum(problem.records for problem in shown)
        if unnamed:
            yield f"  ... and {_number(unnamed, f'more {WRONG[kind]}')}"


def _order_lines(check: DatasetCheck) -> Iterator[str]:
    """What "tracks" means for a data set that may lie in any order."""
    if check.order == "tracks" and "order" not in check.counts:
        yield (
            f"{_title(check)}: no problem here, but neighbouring records are nearly identical, like frames of a film. "
            "Metabench draws from a whole class at random; code that reads records in their order would put "
            "near-copies into support and query"
        )


def _line(problem: Problem) -> str:
    record = "" if problem.record is None else f": record {problem.record}"
    offset = "" if problem.offset is None else f", byte {problem.offset}"
    same = f"; the same for {_number(problem.records - 1, 'more record')}" if problem.records > 1 else ""
    return _printable(f"{problem.path}{record}{offset}: {problem.reason}{same}")


def _printable(text: str) -> str:
    """One line that any terminal takes: file names may hold line breaks and bytes that are no text."""
    return " ".join(text.encode(errors="replace").decode().split())


def _document(
    folder: Path, checks: Sequence[DatasetCheck], absent: Mapping[str, str], images: bool, ok: bool
) -> dict[str, Any]:
    """The report as one JSON object."""
    missing = [
        {"name": name, "display": KNOWN[name].display, "state": "absent", "reason": why} for name, why in absent.items()
    ]
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
