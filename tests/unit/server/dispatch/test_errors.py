from typing import Any

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from skerry.api.dispatch_v1 import RunSpec
from skerry.api.errors import NotFound
from skerry.server.dispatch.bodies import RunBody, SecretBody
from skerry.server.dispatch.errors import WRONG_TYPE, of_model, refusal


@pytest.mark.parametrize(
    ("model", "body", "told"),
    [
        (RunBody, [], "body in body must be of type object"),
        (RunBody, {"blocking": "perhaps"}, "blocking in body must be of type boolean"),
        (RunBody, {"retries": "x"}, "retries in body must be of type integer"),
        (RunSpec, {"functionName": "f", "backoff": "q"}, "backoff in body: must be a duration such as"),
        (RunSpec, {"functionName": "f", "onFailure": {"fn": "q"}}, "onFailure.fn in body is no field that there is"),
        (SecretBody, {"name": "s", "secrets": {"a": 5}}, "secrets.a in body must be of type string"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_told_by_its_place_and_in_the_words_of_json(
    model: type[BaseModel], body: Any, told: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(body, by_name=False)
    refused = of_model(raised.value)
    assert refused.number == WRONG_TYPE
    assert refused.public.startswith(told)


def test_what_is_not_there_is_told_in_dispatchs_words_at_every_door() -> None:
    details = {"name": "hello", "group": "dispatch.skerry.dev", "kind": "functions"}
    told = refusal(NotFound('functions.dispatch.skerry.dev "hello" not found', details=details))
    assert told.status == 404
    assert orjson.loads(told.body) == {"code": 404, "message": "function hello not found"}
