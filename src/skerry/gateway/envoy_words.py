"""Words that every message to Envoy is made of: packed messages, durations, and where discovered parts come from."""

from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message


def ads() -> ConfigSource:
    """Name our xDS stream as the source."""
    return ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def any_of(message: Message) -> AnyMessage:
    """Pack a message; equal messages give equal bytes."""
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return packed


def duration(seconds: float) -> Duration:
    """Write a time, to the nanosecond."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message
