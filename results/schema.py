"""Tables of the result store; a change of any raises VERSION and says in MIGRATIONS how older files follow."""

VERSION = 3
APPLICATION_ID = 0x4D42_6E63  # "MBnc" in the file header: tells our files from other SQLite files

CREATE = """
CREATE TABLE rows (
    key TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    split TEXT NOT NULL,
    task INTEGER NOT NULL,
    episode_hash TEXT NOT NULL,
    protocol_hash TEXT NOT NULL,
    records_hash TEXT NOT NULL,
    spec_hash TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    seed INTEGER NOT NULL,
    adapter TEXT NOT NULL,
    adapter_version TEXT NOT NULL,
    hyperparameters TEXT NOT NULL,
    adapter_hash TEXT NOT NULL,
    backbone TEXT NOT NULL,
    backbone_hash TEXT NOT NULL,
    weights_sha256 TEXT NOT NULL,
    dtype TEXT NOT NULL,
    flags TEXT NOT NULL,
    seen TEXT NOT NULL CHECK (seen IN ('seen', 'unseen', 'unknown')),
    way INTEGER NOT NULL,
    n_support INTEGER NOT NULL,
    n_query INTEGER NOT NULL,
    accuracy REAL NOT NULL CHECK (accuracy BETWEEN 0 AND 1),
    wall_s REAL NOT NULL,
    created TEXT NOT NULL
);
CREATE INDEX rows_by_episode ON rows (episode_hash, domain, records_hash);
CREATE TABLE plans (
    plan_hash TEXT PRIMARY KEY,
    benchmark TEXT NOT NULL,
    split TEXT NOT NULL,
    seed INTEGER NOT NULL,
    tasks INTEGER NOT NULL,
    created TEXT NOT NULL,
    last_used TEXT NOT NULL,
    setting TEXT NOT NULL DEFAULT ''
);
CREATE TABLE plan_domains (
    plan_hash TEXT NOT NULL,
    position INTEGER NOT NULL,
    domain TEXT NOT NULL,
    records_hash TEXT NOT NULL,
    PRIMARY KEY (plan_hash, domain)
);
CREATE TABLE plan_episodes (
    plan_hash TEXT NOT NULL,
    domain TEXT NOT NULL,
    task INTEGER NOT NULL,
    episode_hash TEXT NOT NULL,
    PRIMARY KEY (plan_hash, domain, task)
) WITHOUT ROWID;
CREATE TABLE plan_entries (
    plan_hash TEXT NOT NULL,
    method TEXT NOT NULL,
    backbone TEXT NOT NULL,
    domain TEXT NOT NULL,
    adapter_hash TEXT NOT NULL,
    backbone_hash TEXT NOT NULL,
    flags TEXT NOT NULL,
    seen TEXT NOT NULL,
    contaminated INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (plan_hash, method, backbone, domain)
);
"""

MIGRATIONS = {
    1: "ALTER TABLE plan_entries ADD COLUMN contaminated INTEGER NOT NULL DEFAULT 0",
    2: "ALTER TABLE plans ADD COLUMN setting TEXT NOT NULL DEFAULT ''",
}
"""From each older version to the next one. Entries are written anew by every run, and so is a plan's setting, which
fills both columns in."""
