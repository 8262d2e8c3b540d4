"""The JSON Schemas of models, as pydantic tells them, with the sentences under their fields as descriptions.

pydantic can read those sentences itself when a class is made, each class from its source: that was a third of the start
of every command, which shows them to nobody. Here they are read a module at a time, when a schema is asked for.

Invariant: what is returned is shared by all who ask for it, and is not to be changed.
"""

import ast
import inspect
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from skerry.api.model import Document

#: Sets of models that are asked for together, and modules with models: more than there are.
SETS_MAX, MODULES_MAX = 256, 256

#: Whose values are JSON as they stand.
_PLAIN = frozenset({str, int, float, bool, type(None)})


def model_schemas(models: Sequence[type[BaseModel]], ref_template: str = "{model}") -> Mapping[str, Document]:
    """Return the schemas of models, and of all they refer to, by the names of their classes.

    Args:
        models: what is asked for.
        ref_template: how a schema refers to another one.
    """
    return _made(tuple(models), ref_template)


@lru_cache(maxsize=SETS_MAX)
def _made(models: tuple[type[BaseModel], ...], ref_template: str) -> Mapping[str, Document]:
    _, made = models_json_schema(
        [(model, "validation") for model in models],
        by_alias=True,
        ref_template=ref_template,
        schema_generator=_Generator,
    )
    found: dict[str, Document] = made.get("$defs", {})
    return found


class _Generator(GenerateJsonSchema):
    """Makes schemas with the sentences of the fields in them."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        properties = made.get("properties", {})
        for name, field in model.model_fields.items():
            alias = field.validation_alias if isinstance(field.validation_alias, str) else name
            if (sentence := _sentence(model, name)) and alias in properties:
                properties[alias].setdefault("description", sentence)
        return made

    def encode_default(self, dft: Any) -> Any:
        # pydantic would make a serializer for each default; most need none.
        return dft if type(dft) in _PLAIN else super().encode_default(dft)


def _sentence(model: type[BaseModel], field: str) -> str:
    """Return what stands under a field, in the class that has it or the nearest one above; "" for nothing."""
    for cls in model.__mro__:
        if sentence := _sentences(cls.__module__).get(cls.__qualname__, {}).get(field):
            return sentence
    return ""


@lru_cache(maxsize=MODULES_MAX)
def _sentences(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sentences under the fields of a module's classes; none where its source is not at hand."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # TypeError: a module of C
        return {}
    return {node.name: dict(_under_fields(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _under_fields(cls: ast.ClassDef) -> list[tuple[str, str]]:
    return [
        (field.target.id, inspect.cleandoc(below.value.value))
        for field, below in pairwise(cls.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    ]
