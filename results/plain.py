"""Tables as plain values, for JSON."""

import math
from typing import Any

import pandas as pd


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """An object for each line; what is missing (NaN, NaT, None) is None."""
    return [
        {str(key): None if _missing(value) else value for key, value in line.items()}
        for line in table.to_dict("records")
    ]


def _missing(value: object) -> bool:
    return value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value))
