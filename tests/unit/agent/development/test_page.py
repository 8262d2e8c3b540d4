from skerry.agent.development.page import Failure, excerpt

FILES = {"src/main.ts": "\n".join(f"line {n}" for n in range(1, 12))}


def test_the_excerpt_is_of_the_innermost_frame_that_is_the_authors():
    stack = "    at pad (../node_modules/left-pad/index.js:3:1)\n    at fetch (src/main.ts:10:5)\nat src/main.ts:1:1"
    assert excerpt(stack, FILES).splitlines() == [
        "src/main.ts",
        "   7 | line 7",
        "   8 | line 8",
        "   9 | line 9",
        "> 10 | line 10",
        "  11 | line 11",
    ]


def test_without_a_frame_of_the_author_there_is_no_excerpt():
    assert excerpt("", FILES) == ""
    assert excerpt("at x (other.ts:1:1)", FILES) == ""
    assert excerpt("at x (src/main.ts:999:1)", FILES) == "src/main.ts"


def test_a_page_shows_what_was_thrown_as_text():
    page = Failure("Error: <script>alert(1)</script>", "at <b>", "a < b").as_html()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<pre>a &lt; b</pre><pre>at &lt;b&gt;</pre>" in page
    assert Failure("t", "d", "e").as_text() == "t\n\nd\n\ne\n"
    assert Failure("t").as_text() == "t\n"
