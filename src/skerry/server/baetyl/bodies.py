"""What is read of the bodies of requests: the base, and the forms that many have."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from skerry.api.baetyl_v1alpha1 import RESERVED_WORD
from skerry.api.model import ObjectMeta
from skerry.server.baetyl import errors

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


def refuse_reserved(name: str) -> None:
    """Refuse a name that is for what Skerry makes itself, before anything else is looked at."""
    if RESERVED_WORD in name:
        raise errors.BaetylError("nonBaetyl", f"The name ({name}) may not contain {RESERVED_WORD}.")


def updated_at(meta: ObjectMeta) -> str | None:
    """Return when an object was written last: the newest time of those who manage its fields."""
    times = [str(each["time"]) for each in meta.managed_fields or () if each.get("time")]
    return max([*times, meta.creation_timestamp or ""]) or None
