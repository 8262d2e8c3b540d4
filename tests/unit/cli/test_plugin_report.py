from skerry.cli.plugin_report import report
from skerry.main.rehearsal import Exchange, LogLine, Message, Rehearsal

ASKED = Message("GET /", (("host", "a.test"), ("x-request-id", "1")))
ANSWERED = Message("200", (("content-type", "text/plain"),), b"hello\n")


def told(past: Exchange, through: Exchange | None, *log: LogLine) -> str:
    return "\n".join(report(Rehearsal(past, through, "", "", log)))


def test_what_varies_by_itself_is_no_change() -> None:
    again = Message("GET /", (("host", "a.test"), ("x-request-id", "2")))
    text = told(Exchange(ASKED, ANSWERED), Exchange(again, ANSWERED))
    assert "request, as the upstream got it: unchanged" in text
    assert "response, as the client got it: unchanged" in text
    assert "\n  +" not in text
    assert "\n  -" not in text


def test_changes_of_start_headers_and_body_are_marked() -> None:
    other = Message("404", (("content-type", "text/html"),), b"bye\n")
    lines = told(Exchange(ASKED, ANSWERED), Exchange(ASKED, other)).split("\n")
    assert {"  - 200", "  + 404", "  - content-type: text/plain", "  + content-type: text/html"} <= set(lines)
    assert {"  - hello", "  + bye"} <= set(lines)


def test_a_removed_header_that_varies_is_a_change() -> None:
    without = Message("GET /", (("host", "a.test"),))
    text = told(Exchange(ASKED, ANSWERED), Exchange(without, ANSWERED))
    assert "  - x-request-id: (varies)" in text


def test_the_order_of_a_headers_values_counts_and_that_of_names_does_not() -> None:
    one = Message("GET /", (("b", "1"), ("a", "2"), ("a", "1")))
    other = Message("GET /", (("a", "2"), ("a", "1"), ("b", "1")))
    assert "upstream got it: unchanged" in told(Exchange(one, ANSWERED), Exchange(other, ANSWERED))
    swapped = Message("GET /", (("a", "1"), ("a", "2"), ("b", "1")))
    assert "upstream got it: unchanged" not in told(Exchange(one, ANSWERED), Exchange(swapped, ANSWERED))


def test_a_lost_end_of_line_is_told() -> None:
    bare = Message("200", ANSWERED.headers, b"hello")
    assert "  + (no newline at the end)" in told(Exchange(ASKED, ANSWERED), Exchange(ASKED, bare))


def test_bodies_that_are_no_text_or_too_long_are_told_by_size() -> None:
    for body in (b"\xff\xfe", b"a\n" * 1000):
        text = told(Exchange(ASKED, ANSWERED), Exchange(ASKED, Message("200", ANSWERED.headers, body)))
        assert f"  + ({len(body)} bytes, sha256 " in text


def test_a_request_that_did_not_arrive_and_an_answer_that_did_not_come_are_told() -> None:
    text = told(Exchange(ASKED, ANSWERED), Exchange(None, None))
    assert "request, as the upstream got it: the upstream was not asked" in text
    assert "response, as the client got it: no response came" in text


def test_a_module_cannot_write_to_the_terminal_itself() -> None:
    text = told(Exchange(ASKED, ANSWERED), None, LogLine("info", "one\n\x1b[2Jtwo"))
    assert "  info     one\n           \\x1b[2Jtwo" in text
