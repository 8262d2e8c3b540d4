"""Event drivers: what of their settings is refused, and where."""

from typing import Any

import pytest

from skerry.api.dispatch_drivers import EVENT_DRIVER
from skerry.api.model import from_document


def refused(**config: str) -> list[str]:
    """Return where a cron driver with these settings is invalid."""
    document: dict[str, Any] = {
        "metadata": {"name": "clock", "namespace": "default"},
        "spec": {"type": "cron", "config": [{"key": key, "value": value} for key, value in config.items()]},
    }
    driver = from_document(EVENT_DRIVER.model, document)
    return [f"{error.path}: {error.message}" for error in EVENT_DRIVER.validate(driver, None)]


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({}, 'spec.config[key="cron"].value: '),
        ({"cron": "every day"}, "spec.config[0].value: "),
        ({"cron": "* * * * *", "time-zone": "Europe/Nowhere"}, "spec.config[1].value: "),
        ({"cron": "* * * * *", "minute": "5"}, "spec.config: "),
    ],
)
def test_a_setting_of_a_clock_is_named_by_its_place(config: dict[str, str], place: str) -> None:
    (told,) = refused(**config)
    assert told.startswith(place)


def test_a_clock_with_all_of_its_settings_is_accepted() -> None:
    assert refused(cron="*/5 * * * *", **{"time-zone": "Europe/Berlin", "event-type": "tick"}) == []
