"""What every group of settings shares."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from hybridsearch.errors import nearest


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys and names the nearest known one; all
    its numbers are finite: JSON has no others, and nan passes every limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(
                        f"unknown setting {key!r}{nearest(str(key), cls.model_fields)}"
                    )
        return data


class Named(Section):
    """A section that may be written as one word: `data: digits` means `data: {name: digits}`."""

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data
