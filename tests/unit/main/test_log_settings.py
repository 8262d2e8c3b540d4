import pytest

from skerry.kit.errors import ConfigurationError
from skerry.main.log_settings import LogSettings, read_log_settings


def test_flags_are_before_the_environment_and_that_is_before_the_defaults() -> None:
    environment = {"SKERRY_LOG_STYLE": "json", "SKERRY_LOG_LEVEL": "warning"}
    assert read_log_settings({}, {}) == LogSettings("INFO", "text")
    assert read_log_settings({"log_style": None, "log_level": None}, environment) == LogSettings("WARNING", "json")
    assert read_log_settings({"log_style": "text", "log_level": "debug"}, environment) == LogSettings("DEBUG", "text")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"log_level: .* not 'LOUD'; log_style: .* not 'xml'"):
        read_log_settings({"log_level": "loud"}, {"SKERRY_LOG_STYLE": "xml"})
