from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.identity import canonical_hash, row_key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PARTS: dict[str, Any] = {
    "adapter_hash": "a",
    "backbone_hash": "b",
    "flags": {"augment": False},
    "domain": "icons",
    "records_hash": "r",
    "episode_hash": "e",
}


def test_the_hash_of_a_known_value_never_changes():
    # sha256 of the ten bytes {"a":"é"}, in UTF-8
    assert canonical_hash({"a": "é"}) == "b3a092a6af48807fa9482b2ee140105575daa26d5b24b3c0e60a7e2dee6683b1"


@given(st.dictionaries(st.text(), JSON))
def test_order_of_keys_changes_nothing(value):
    assert canonical_hash(dict(reversed(value.items()))) == canonical_hash(value)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="Out of range"):
        canonical_hash({"lr": float("nan")})


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_the_identity_changes_the_key(part):
    changed = PARTS | {part: {"augment": True} if part == "flags" else "other"}
    assert row_key(**changed) != row_key(**PARTS)


def test_parts_do_not_run_into_each_other():
    assert row_key(**PARTS | {"records_hash": "re", "episode_hash": ""}) != row_key(**PARTS)
