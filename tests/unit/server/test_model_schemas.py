"""The schemas of models: with a sentence for each field, also where its class inherits it."""

from typing import Annotated

from pydantic import Field

from skerry.api.model import Model
from skerry.server.model_schemas import model_schemas


class Above(Model):
    """What others extend."""

    kept_here: str
    """Told by the class above."""
    own_words: Annotated[str, Field(description="Told by the field.")] = "x"
    """Not told, since the field speaks for itself."""


class Below(Above):
    """Extends it."""

    second_one: Above | None = None
    """Told of another model."""
    silent: int = 3


def test_a_field_is_described_by_the_sentence_under_it_wherever_it_is_declared() -> None:
    properties = model_schemas([Below])["Below"]["properties"]
    told = {name: schema.get("description") for name, schema in properties.items()}
    assert told == {
        "keptHere": "Told by the class above.",
        "ownWords": "Told by the field.",
        "secondOne": "Told of another model.",
        "silent": None,
    }


def test_defaults_and_references_are_told() -> None:
    schemas = model_schemas([Below], "#/schemas/{model}")
    assert schemas.keys() == {"Above", "Below"}
    assert schemas["Below"]["properties"]["silent"]["default"] == 3
    assert {"$ref": "#/schemas/Above"} in schemas["Below"]["properties"]["secondOne"]["anyOf"]


def test_who_asks_again_gets_what_was_made_before() -> None:
    assert model_schemas([Above]) is model_schemas([Above])
