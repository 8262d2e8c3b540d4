"""Envoy's messages to what filters requests for it (ext_proc): what it shows, and what it is answered.

Pure. Owns the messages; does not own what filters decide, nor the way that messages come. This module is what the
engine's `filtering.FilterCodec` asks for.

Envoy's traps that this module knows, each from its source or seen in a real one:

- `mode_override` counts in the answer to a head alone, and says everything anew.
- Of a body whose length nobody has declared Envoy shows as much as it may hold (`BUFFERED_PARTIAL`); the rest follows
  what the answer leaves of the begin. Only of one that is whole (`BUFFERED`) the content-length can be set anew.
- To replace a body that was not shown, the head's answer says CONTINUE_AND_REPLACE; Envoy drops what it has received.
- A body of another length than its content-length is refused; where that can't be set it is taken away.
- Headers are taken away before they are set.
- A header is added beside others of its name by the old `append`: that action of `append_action` is its default value,
  and so taken for none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    CommonResponse,
    HeaderMutation,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
)
from google.protobuf.message import DecodeError

Phase = Literal["request", "response"]

_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
#: What is shown: the message, and whether it is a body.
_SHOWN: dict[str, tuple[Phase, bool]] = {
    "request_headers": ("request", False),
    "response_headers": ("response", False),
    "request_body": ("request", True),
    "response_body": ("response", True),
}


@dataclass(frozen=True, slots=True)
class Arrived:
    """What Envoy shows.

    Attributes:
        phase: of what message.
        is_body: whether it is the body, which had been asked for, or the head.
        fields: the headers, with `:method` and the like; values as Latin-1.
        body: of the message, or its begin where it is over the limit.
        is_last: whether the message ends here.
    """

    phase: Phase
    is_body: bool
    fields: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    is_last: bool = False


def read(message: bytes) -> Arrived:
    """Read what Envoy shows; raises ValueError."""
    try:
        request = ProcessingRequest.FromString(message)
    except DecodeError as error:
        raise ValueError("not a message of Envoy's") from error
    kind = request.WhichOneof("request")
    if kind not in _SHOWN:
        raise ValueError(f"Envoy shows {kind}")
    phase, is_body = _SHOWN[kind]
    shown = getattr(request, kind)
    if is_body:
        return Arrived(phase, is_body, body=shown.body, is_last=shown.end_of_stream)
    fields = [(header.key, header.raw_value.decode("latin-1") or header.value) for header in shown.headers.headers]
    return Arrived(phase, is_body, fields, is_last=shown.end_of_stream)


def ask_for_body(phase: Phase, *, is_measured: bool) -> bytes:
    """Answer a head: show its body, too; `is_measured` where its length was declared, and is within the limit."""
    mode = ProcessingMode(response_header_mode=ProcessingMode.SEND)  # an override says everything anew
    kind = ProcessingMode.BUFFERED if is_measured else ProcessingMode.BUFFERED_PARTIAL
    setattr(mode, f"{phase}_body_mode", kind)
    response = ProcessingResponse(mode_override=mode)
    getattr(response, f"{phase}_headers").response.status = CommonResponse.CONTINUE
    return bytes(response.SerializeToString())


def go_on(
    phase: Phase,
    changes: tuple[Mapping[str, Sequence[str]], Sequence[str]],
    body: bytes | None,
    *,
    had_body: bool,
    is_measured: bool,
    is_last: bool,
) -> bytes:
    """Answer a head, or its body where `had_body`: the message goes on.

    Args:
        phase: of what message.
        changes: new values by name, and names of headers that are gone.
        body: a new one; None where it stays.
        had_body: whether it is the body that is answered.
        is_measured: as it was asked for.
        is_last: whether nothing more of the request, nor of its answer, is to be shown.
    """
    response = ProcessingResponse()
    if is_last and not had_body:  # else Envoy would begin to show the answer before it has read that this was all
        response.mode_override.response_header_mode = ProcessingMode.SKIP
    common = getattr(response, f"{phase}_body" if had_body else f"{phase}_headers").response
    common.status = CommonResponse.CONTINUE
    if body is not None:
        if not had_body:
            common.status = CommonResponse.CONTINUE_AND_REPLACE
        common.body_mutation.body = body
    new, gone = changes
    if body is not None and is_measured and had_body:
        new = {**new, "content-length": [str(len(body))]}
    elif body is not None:
        gone = [*gone, "content-length"]
    if new or gone:
        common.header_mutation.CopyFrom(_mutation(new, gone))
    return bytes(response.SerializeToString())


def respond(status: int, fields: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """Answer whatever was shown: the client gets this response."""
    grouped: dict[str, list[str]] = {}
    for name, value in fields:
        grouped.setdefault(name, []).append(value)
    immediate = ImmediateResponse(headers=_mutation(grouped, ()), body=body, details="edge_function")
    immediate.status.code = status  # an open enum: any status of HTTP's
    return bytes(ProcessingResponse(immediate_response=immediate).SerializeToString())


def _mutation(new: Mapping[str, Sequence[str]], gone: Sequence[str]) -> HeaderMutation:
    mutation = HeaderMutation(remove_headers=gone)
    for name, values in new.items():
        for number, value in enumerate(values):
            header = HeaderValue(key=name, raw_value=value.encode("latin-1"))
            option = HeaderValueOption(header=header, append_action=_OVERWRITE)
            if number:
                option.append.value = True
            mutation.set_headers.append(option)
    return mutation
