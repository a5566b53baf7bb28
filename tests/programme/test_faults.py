from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from programme.faults import in_words


class Inside(BaseModel):
    deep: int = 0


class Written(BaseModel):
    model_config = ConfigDict(extra="forbid")

    needed: int
    text: str = ""
    listed: tuple[str, ...] = ()
    table: dict[str, str] = Field(default_factory=dict)
    inside: Inside = Inside()
    yes: bool = True
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    days: Annotated[int, Field(ge=0, lt=100, multiple_of=7)] = 7
    name: Annotated[str, Field(min_length=2, max_length=3, pattern="^[a-z]*$")] = "ab"
    few: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("a",)
    mark: Literal[".", ","] = "."

    @field_validator("table")
    @classmethod
    def _ours(cls, table: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        del info
        if "no" in table:
            raise ValueError("say yes")
        return table


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"colour": 1}, "there is no such key"),
        ({"needed": None}, "it must be a whole number"),
        ({"needed": "x"}, "it must be a whole number"),
        ({"needed": 1.5}, "it must be a whole number"),
        ({"text": 3}, "it must be text, in quotes"),
        ({"listed": 3}, 'it must be a list, such as ["a", "b"]'),
        ({"table": 3}, "it must be a section of keys"),
        ({"table": {"no": "x"}}, "say yes"),
        ({"inside": 3}, "it must be a section of keys"),
        ({"yes": "perhaps"}, "it must be true or false"),
        ({"share": "much"}, "it must be a number"),
        ({"share": 0}, "it must be greater than 0.0"),
        ({"share": 2}, "it must be at most 1.0"),
        ({"share": float("nan")}, "it must be a finite number"),
        ({"days": -7}, "it must be at least 0"),
        ({"days": 105}, "it must be less than 100"),
        ({"days": 8}, "it must be a multiple of 7"),
        ({"name": "a"}, "it must have at least 2 characters"),
        ({"name": "abcd"}, "it must have at most 3 characters"),
        ({"name": "A1"}, "it must match the pattern ^[a-z]*$"),
        ({"few": []}, "it needs 1 or more entries"),
        ({"few": ["a", "b", "c"]}, "it must have at most 2 entries"),
        ({"mark": ";"}, "it must be one of '.' or ','"),
    ],
)
def test_a_fault_is_said_in_our_own_words(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Written.model_validate({"needed": 1} | content)

    assert in_words(caught.value.errors()[0]) == said


def test_what_is_missing_is_said_to_be() -> None:
    with pytest.raises(ValidationError) as caught:
        Written.model_validate({})

    assert in_words(caught.value.errors()[0]) == "it is missing"


def test_a_fault_nobody_foresaw_keeps_the_words_it_came_with() -> None:
    assert in_words({"type": "url_scheme", "msg": "no such scheme"}) == "no such scheme"
