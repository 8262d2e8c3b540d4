"""deploy/Containerfile: parsed, since its base images are not at hand where tests run."""

import json
import re
import shlex

from skerry.kit.compiled_modules import FOLDER
from skerry.testing.deployed import DEPLOY, ROOT, require_command, require_settings

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    text = (DEPLOY / "Containerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def arguments_of(wanted: str) -> list[str]:
    return [rest for word, rest in instructions() if word == wanted]


def copied() -> list[str]:
    """List what is copied from the sources."""
    return [source for rest in arguments_of("COPY") if "--from" not in rest for source in shlex.split(rest)[:-1]]


def ignored() -> list[str]:
    return (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()


def test_what_is_copied_is_there_and_sent_along():
    sent = {line[1:] for line in ignored() if line[:1] == "!"}
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in sent, f"{source} is left out by Containerfile.dockerignore"


def test_every_stage_that_is_copied_from_exists():
    stages = {rest.partition(" AS ")[2] for rest in arguments_of("FROM")}
    used = {match[1] for rest in arguments_of("COPY") if (match := re.search(r"--from=(\S+)", rest))}
    assert used
    assert used <= stages


def test_what_is_compiled_is_of_the_images_own_python_and_put_where_skerry_looks_for_it():
    compiled = FOLDER.relative_to(ROOT)
    assert str(compiled) in ignored(), "what this machine has compiled may be for another one"
    [(source, target)] = [rest.split()[1:] for rest in arguments_of("COPY") if rest.startswith("--from=compiled ")]
    assert source in {f"{folder}/{compiled}/" for folder in arguments_of("WORKDIR")}
    [(image, _)] = [rest.split(" AS ") for rest in arguments_of("FROM") if rest.endswith(" AS python")]
    assert arguments_of("FROM")[-2:] == ["python AS compiled", "python"]
    version = re.search(r"/python:(3\.\d+)-", image)
    assert version
    assert target == f"/usr/local/lib/python{version[1]}/site-packages/{compiled.relative_to('src')}/"


def test_it_runs_a_command_with_settings_that_skerry_knows():
    [entrypoint], [command] = arguments_of("ENTRYPOINT"), arguments_of("CMD")
    words: list[str] = json.loads(entrypoint) + json.loads(command)
    program, *arguments = words
    assert program == "skerry"
    require_command(arguments)
    [environment] = arguments_of("ENV")
    settings = require_settings(dict(pair.split("=", 1) for pair in shlex.split(environment)))
    assert arguments_of("EXPOSE") == [str(settings.api_address.port)]
    assert arguments_of("VOLUME") == [str(settings.data_dir)]


def test_it_does_not_run_as_root():
    [user] = arguments_of("USER")
    assert int(user.partition(":")[0]) > 0
