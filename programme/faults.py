"""What is wrong with a value somebody wrote into a file, in our own sentences."""

from collections.abc import Mapping
from typing import Any

# By the name pydantic gives the fault; braces hold the bounds it names.
_SAID = {
    "extra_forbidden": "there is no such key",
    "missing": "it is missing",
    "string_type": "it must be text, in quotes",
    "tuple_type": 'it must be a list, such as ["a", "b"]',
    "list_type": 'it must be a list, such as ["a", "b"]',
    "dict_type": "it must be a section of keys",
    "model_type": "it must be a section of keys",
    "model_attributes_type": "it must be a section of keys",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "decimal_type": "it must be a number",
    "decimal_parsing": "it must be a number",
    "date_type": "it must be a day, such as 2018-01-31",
    "date_parsing": "it must be a day, such as 2018-01-31",
    "date_from_datetime_parsing": "it must be a day, such as 2018-01-31",
    "date_from_datetime_inexact": "it must be a day, such as 2018-01-31",
    "timezone_aware": "it must be an instant with its timezone, such as 2018-01-31T09:30:00Z",
    "datetime_parsing": "it must be an instant, such as 2018-01-31T09:30:00Z",
    "datetime_from_date_parsing": "it must be an instant, such as 2018-01-31T09:30:00Z",
    "datetime_type": "it must be an instant, such as 2018-01-31T09:30:00Z",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "finite_number": "it must be a finite number",
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "multiple_of": "it must be a multiple of {multiple_of}",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
    "string_pattern_mismatch": "it must match the pattern {pattern}",
    "too_short": "it needs {min_length} or more entries",
    "too_long": "it must have at most {max_length} entries",
    "literal_error": "it must be one of {expected}",
}


def in_words(fault: Mapping[str, Any]) -> str:
    """Say one fault that pydantic found, as a clause without a full stop.

    Parameters
    ----------
    fault : of `ValidationError.errors()`
    """
    context = fault.get("ctx", {})
    if fault["type"] == "value_error":
        return str(context["error"])
    said = _SAID.get(str(fault["type"]))
    return str(fault["msg"]) if said is None else said.format(**context)
