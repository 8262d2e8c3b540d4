from skerry.gateway.trial import REASON_CHARACTERS_MAX, reason_in

LINE = "[2026-11-21 05:17:12.709][10452][{level}][{component}] [source/a/b.cc:1] {text}\n"


def line(text: str, component: str = "wasm", level: str = "error") -> str:
    return LINE.format(text=text, component=component, level=level)


def test_a_modules_own_words_are_told_without_what_envoy_puts_around_them() -> None:
    words = (
        line("wasm log probe trial: the key is missing", level="critical")
        + line("Wasm VM failed Failed to configure base Wasm plugin")
        + line("Plugin trial failed to load", level="critical")
        + line("Plugin configured to fail closed failed to load", level="critical")
        + line("gRPC config rejected", component="config")
    )
    assert reason_in(words) == "the key is missing; Wasm VM failed Failed to configure base Wasm plugin"


def test_each_line_is_told_once_and_no_more_than_fits() -> None:
    assert reason_in(line("same") * 3) == "same"
    assert len(reason_in("".join(line(f"{number} words") for number in range(1000)))) == REASON_CHARACTERS_MAX


def test_no_words_are_no_reason() -> None:
    assert reason_in("") == reason_in("not a log line") == ""
