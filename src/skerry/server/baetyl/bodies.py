"""What is read of the bodies of requests: the base, and the forms that many have."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

#: Labels, annotations and the like.
Texts = dict[str, str] | None


class Body(BaseModel):
    """Base of all bodies: camelCase, no coercion of types, and what is not known is ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, strict=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """Take null for absent, as Go's clients mean it."""
        return {name: each for name, each in given.items() if each is not None} if isinstance(given, dict) else given
