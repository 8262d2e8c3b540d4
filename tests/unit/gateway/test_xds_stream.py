"""The bookkeeping of one stream, against an Envoy that answers as it is told to."""

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.gateway.snapshot import CLUSTER_TYPE, LISTENER_TYPE, Snapshot, pack
from skerry.gateway.xds_stream import MESSAGE_CHARACTERS_MAX, Stream, told


def clusters(**stats: str) -> Snapshot:
    return Snapshot.of(pack(name, Cluster(name=name, alt_stat_name=value)) for name, value in stats.items())


def test_a_refused_listener_is_not_offered_twice_before_envoy_has_answered() -> None:
    stream, snapshot = Stream(), Snapshot.of([pack("l", Listener(name="l"))])
    stream.receive(DeltaDiscoveryRequest(type_url=LISTENER_TYPE))
    [offer] = stream.due(snapshot)
    refusal = DeltaDiscoveryRequest(type_url=LISTENER_TYPE, response_nonce=offer.nonce)
    refusal.error_detail.message = "port taken"
    stream.receive(refusal)
    stream.retry()
    assert len(list(stream.due(snapshot))) == 1
    stream.retry()
    assert list(stream.due(snapshot)) == []


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abc"), st.sampled_from("123")),
            st.lists(st.booleans(), max_size=4),
        ),
        max_size=5,
    )
)
@settings(max_examples=100, deadline=None)
def test_an_envoy_that_takes_everything_in_the_end_has_the_last_snapshot(
    steps: list[tuple[dict[str, str], list[bool]]],
) -> None:
    stream, flying, held = Stream(), list[DeltaDiscoveryResponse](), dict[str, str]()
    stream.receive(DeltaDiscoveryRequest(type_url=CLUSTER_TYPE))

    def answer(*, takes: bool) -> None:
        response = flying.pop(0)
        request = DeltaDiscoveryRequest(type_url=CLUSTER_TYPE, response_nonce=response.nonce)
        if takes or not response.resources:  # nobody refuses that something goes
            held.update((resource.name, resource.version) for resource in response.resources)
            for name in response.removed_resources:
                held.pop(name, None)
        else:
            request.error_detail.message = "no"
        stream.receive(request)

    for stats, answers in steps:
        flying += stream.due(clusters(**stats))
        for takes in answers[: len(flying)]:
            answer(takes=takes)
    last = clusters(a="4", d="4")
    flying += stream.due(last)
    while flying:
        answer(takes=True)
    assert list(stream.due(last)) == []
    assert stream.is_settled(last)
    assert held == {name: each.version for name, each in last.resources[CLUSTER_TYPE].items()}


def test_what_is_as_it_was_before_a_refusal_is_offered_again() -> None:
    stream, first, second = Stream(), clusters(a="1"), clusters(a="2")
    stream.receive(DeltaDiscoveryRequest(type_url=CLUSTER_TYPE))
    for snapshot, error in ((first, ""), (second, "no"), (first, "")):
        assert not stream.is_settled(snapshot)
        [offer] = stream.due(snapshot)
        answer = DeltaDiscoveryRequest(type_url=CLUSTER_TYPE, response_nonce=offer.nonce)
        if error:
            answer.error_detail.message = error
        stream.receive(answer)
        assert stream.is_settled(snapshot)
    assert stream.rejections() == ()


def test_of_a_refusal_envoys_reason_is_told_and_not_all_of_what_it_refused() -> None:
    words = (
        'Error adding/updating listener(s) a/b: goo.gle/debugproto   \nname: "a"\nvalue: "secret\\n: x"\n'
        ": Proto constraint validation failed (Value: value does not match)\n"
    )
    assert told(words) == (
        "Error adding/updating listener(s) a/b: Proto constraint validation failed (Value: value does not match)"
    )
    assert told('Listener a: goo.gle/debugproto  \nname: "a"\nvalue: "secret') == f"Listener a: {told('')}"
    assert "see envoy.log" in told("")
    assert told("Invalid path: /nope.wasm\n") == "Invalid path: /nope.wasm"
    assert len(told("x" * 100_000)) == MESSAGE_CHARACTERS_MAX
