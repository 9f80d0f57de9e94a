"""`metabench doctor` says what a run would trip over, before it does."""

import json
import resource
import shutil
from pathlib import Path

import pytest

from harness.commands import doctor
from harness.commands.doctor import examine


def states(findings):
    return {finding.what: finding.state for finding in findings}


def test_a_sound_machine_passes_and_every_line_names_what_was_looked_at(metabench):
    done = metabench("doctor", "--out", "runs", "--records", "records")
    assert done.status == 0, done.out
    for what in ("torch", "open files", "cache (METABENCH_CACHE)", "results (--out)", "shipped backbone", "optional"):
        assert what in done.out
    assert "records of reds" in done.out
    assert "records of blues" in done.out


def test_json_holds_the_same_findings(metabench):
    findings = json.loads(metabench("doctor", "--json", "--records", "records").out)
    assert {"what", "state", "detail"} == set(findings[0])
    assert {finding["state"] for finding in findings} <= {"ok", "warning", "fails"}


def test_nothing_is_left_behind(metabench, workspace):
    before = sorted(workspace.rglob("*"))
    metabench("doctor", "--out", "runs")
    assert sorted(workspace.rglob("*")) == before


def test_a_store_that_is_none_fails_with_the_advice_of_a_run(metabench, workspace):
    (workspace / "runs").mkdir()
    (workspace / "runs/results.sqlite").write_text("no database, and long enough to be looked at as one")
    done = metabench("doctor")
    assert done.status == 1
    assert "move it away or choose another --out" in " ".join(done.out.split())


def test_records_with_a_missing_class_file_fail_by_name(tiny_records, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_records, broken)
    (broken / "reds/0.tfrecords").unlink()
    (finding,) = [f for f in examine(out=tmp_path, cache=tmp_path, records=broken) if f.what == "records of reds"]
    assert finding.state == "fails"
    assert "0.tfrecords" in finding.detail


def test_a_folder_without_data_sets_fails(tmp_path):
    findings = examine(out=tmp_path, cache=tmp_path, records=tmp_path / "none")
    assert states(findings)["records (--records)"] == "fails"


def test_a_folder_that_cannot_be_written_fails(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.Path, "touch", refuse)  # root may write anywhere
    found = {finding.what: finding for finding in examine(out=tmp_path, cache=tmp_path, records=None)}
    assert found["results (--out)"].state == "fails"
    assert "Permission denied" in found["results (--out)"].detail


def test_few_open_files_and_little_disk_are_warned_about(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(doctor, "ROOM_B", 10**18)
    found = states(examine(out=tmp_path, cache=tmp_path, records=None))
    assert found["open files (ulimit -n)"] == found["results (--out)"] == "warning"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="the machine has no /dev/shm")
def test_little_shared_memory_is_warned_about(tmp_path, monkeypatch):
    real = doctor.shutil.disk_usage
    monkeypatch.setattr(
        doctor.shutil,
        "disk_usage",
        lambda place: real(place)._replace(free=64 * 1000**2 if "shm" in str(place) else 10**13),
    )
    assert states(examine(out=tmp_path, cache=tmp_path, records=None))["shared memory"] == "warning"
