from pathlib import Path

import pytest

from results.filesystem import on_network

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local xfs rw 0 0
//nas/data /mnt/my\\040data cifs rw 0 0
server:/x /over nfs rw 0 0
tmpfs /over tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/runs/results.sqlite", False),
        ("/home/user/runs", True),
        ("/homework/runs", False),
        ("/home/local/runs", False),
        ("/mnt/my data/runs", True),
        ("/over/runs", False),
    ],
)
def test_the_innermost_mount_decides(path, expected):
    assert on_network(Path(path), MOUNTS) is expected


def test_without_a_mount_table_nothing_is_suspected():
    assert on_network(Path("/home/user"), "") is False
