from skerry.engine.fetching import EventKind
from skerry.engine.thread_fetching import ThreadSubrequests


def test_many_that_nobody_waits_for_are_ended_at_once():
    """Where the end of each looked at all others, this took the worker minutes."""
    subrequests = ThreadSubrequests(None)
    for _ in range(100_000):
        subrequests.start(b"GET\nhttp://a.test/", b"")
    subrequests.end()
    assert subrequests.take() is None


def test_a_subrequest_has_one_event_at_most():
    subrequests = ThreadSubrequests(None)
    number = subrequests.start(b"GET\nhttp://a.test/", b"")
    for _ in range(10):
        subrequests.read(number)
    assert [event.kind for event in iter(subrequests.take, None)] == [EventKind.FAILED]


def test_to_read_one_that_is_over_is_an_error_that_is_told():
    subrequests = ThreadSubrequests(None)
    number = subrequests.start(b"GET\nhttp://a.test/", b"")
    subrequests.cancel(number)
    subrequests.read(number)
    event = subrequests.take()
    assert event is not None
    assert (event.id, event.kind) == (number, EventKind.FAILED)
