"""Is a path on a network file system? (SQLite's write-ahead log needs shared memory, which those do not have.)"""

from pathlib import Path

NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "panfs"}
    | {"wekafs", "fuse.glusterfs", "fuse.sshfs", "fuse.ceph"}
)


def on_network(path: Path, mounts: str | None = None) -> bool:
    """Whether the file system that holds `path` is shared over a network, by its type in the mount table.

    mounts: text in the form of Linux's /proc/self/mounts, read from there by default; no table, no suspicion.
    """
    if mounts is None:
        table = Path("/proc/self/mounts")
        mounts = table.read_text(errors="replace") if table.exists() else ""
    path = path.resolve()
    depth, kind = -1, ""
    for line in mounts.splitlines():
        _, point, fs_type, *_ = line.split(" ")
        mount = Path(point.replace("\\040", " "))
        if path.is_relative_to(mount) and len(mount.parts) >= depth:
            depth, kind = len(mount.parts), fs_type  # of two mounts on one point the later hides the earlier
    return kind in NETWORK_TYPES
