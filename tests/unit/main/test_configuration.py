from pathlib import Path

import pytest

from skerry.kit.errors import ConfigurationError
from skerry.main.configuration import Settings, load_settings
from skerry.main.setting_values import Address, Labels


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path):
    (tmp_path / "skerry.toml").write_text('workers = 3\nlog_level = "debug"\nhttp_address = "127.0.0.1:1"\n')
    environment = {"SKERRY_DATA_DIR": str(tmp_path), "SKERRY_WORKERS": "4", "SKERRY_HTTP_ADDRESS": "127.0.0.1:2"}
    settings = load_settings({"http_address": "127.0.0.1:3", "workers": None}, environment)
    assert settings.http_address == Address("127.0.0.1", 3)
    assert settings.workers == 4
    assert settings.log_level == "DEBUG"
    assert settings.api_address == Settings().api_address
    assert settings.data_dir == tmp_path


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({"api_address": "6443"}, {}, "--api-address: '6443' does not fit: must be HOST:PORT"),
        ({"api_address": "host:99999"}, {}, "--api-address"),
        ({}, {"SKERRY_WORKERS": "many"}, "SKERRY_WORKERS: 'many' does not fit: must be a whole number"),
        ({"workers": "0"}, {}, "workers: must be between 1 and 256, not 0"),
        ({}, {"SKERRY_FUNCTION_CONCURRENCY_MAX": "0"}, "function_concurrency_max: must be at least 1, not 0"),
        ({}, {"SKERRY_MAX_REQUESTS_INFLIGHT": "0"}, "max_requests_inflight: must be above 0, not 0"),
        ({}, {"SKERRY_AUDIT_READS": "maybe"}, "SKERRY_AUDIT_READS: 'maybe' does not fit: must be true or false"),
        ({}, {"SKERRY_OIDC_ISSUER_URL": "https://a.b"}, "oidc_client_id: must be set where oidc_issuer_url is"),
        ({}, {"SKERRY_OIDC_GROUPS_CLAIM": "groups"}, "oidc_issuer_url: must be set where another oidc_ setting is"),
        ({}, {"SKERRY_API_NAMES": "lb, *.b"}, r"api_names: '\*.b' is no host name and no address"),
        ({"log_level": "loud"}, {}, "log_level: must be DEBUG, INFO, WARNING or ERROR, not 'LOUD'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_origin(flags: dict[str, str], environment: dict[str, str], message: str):
    with pytest.raises(ConfigurationError, match=message):
        load_settings(flags, environment)


@pytest.mark.parametrize("written", ['"db.internal, 10.0.0.0/8"', '["db.internal", "10.0.0.0/8"]'])
def test_a_list_is_written_with_commas_or_as_a_list(tmp_path: Path, written: str):
    (tmp_path / "skerry.toml").write_text(f"egress_allow = {written}")
    settings = load_settings({}, {"SKERRY_DATA_DIR": str(tmp_path)})
    assert settings.egress_allow == ("db.internal", "10.0.0.0/8")


def test_all_settings_that_do_not_fit_are_told_at_once():
    environment = {"SKERRY_WORKERS": "many", "SKERRY_DRAIN_SECONDS": "long"}
    with pytest.raises(ConfigurationError) as raised:
        load_settings({}, environment)
    assert sorted(raised.value.public.split("; ")) == [
        "SKERRY_DRAIN_SECONDS: 'long' does not fit: must be a number, such as 10 or 0.5",
        "SKERRY_WORKERS: 'many' does not fit: must be a whole number",
    ]


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path):
    file = tmp_path / "given.toml"
    file.write_text("wrokers = 3")
    with pytest.raises(
        ConfigurationError, match=r"unknown settings wrokers \(do you mean workers\?\); known are .*workers"
    ):
        load_settings({}, {}, file=file)


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="--config: there is no file"):
        load_settings({}, {}, file=tmp_path / "absent.toml")


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:8080", "localhost:443"])
def test_addresses_are_written_as_they_are_read(text: str):
    assert str(Address.parse(text)) == text


def test_labels_of_the_machine_are_read_as_those_of_an_object():
    settings = load_settings({}, {"SKERRY_NODE_LABELS": "zone=a, example.com/tier=front"})
    assert settings.node_labels.pairs == (("example.com/tier", "front"), ("zone", "a"))
    assert Labels.parse(str(settings.node_labels)) == settings.node_labels


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("NODE_LABELS", "zone", "'zone': must be KEY=VALUE"),
        ("NODE_LABELS", "zone=not a label", "a valid label must"),
        ("NODE_LABELS", "-=a", "name part must"),
        ("ROOT_NAMESPACE", "Istio_System", "root_namespace: must be the name of a namespace"),
        ("ENVOY_HEAP_BYTES_MAX", "1", "envoy_heap_bytes_max: must be at least 268435456, not 1"),
    ],
)
def test_wrong_settings_of_the_node_are_refused(name: str, text: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        load_settings({}, {f"SKERRY_{name}": text})


def test_settings_of_fetching_are_read_and_written_as_lists_of_words():
    settings = load_settings(
        {}, {"SKERRY_INSECURE_REGISTRIES": "a:5000, b", "SKERRY_FETCH_BLOCKED_NETWORKS": "10.0.0.0/8"}
    )
    assert settings.insecure_registries == ("a:5000", "b")
    assert settings.as_text()["insecure_registries"] == "a:5000, b"


def test_code_is_read_from_the_folder_that_skerry_is_started_in_unless_that_is_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert load_settings({}, {}).fetch_file_dirs == (str(tmp_path),)
    (tmp_path / "skerry.toml").write_text("fetch_file_dirs = []")
    assert load_settings({}, {}, file=tmp_path / "skerry.toml").fetch_file_dirs == ()
    monkeypatch.chdir("/")
    assert load_settings({}, {}).fetch_file_dirs == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("FETCH_BYTES_MAX", "0", "fetch_bytes_max: must be above 0"),
        ("FETCH_SECONDS_MAX", "-1", "fetch_seconds_max: must be above 0"),
        ("FETCH_BLOCKED_NETWORKS", "10.0.0.0/8, ten", "fetch_blocked_networks: 'ten' is no CIDR"),
        ("FETCH_CA_FILE", "/nowhere/ca.pem", "fetch_ca_file: there is no file /nowhere/ca.pem"),
        ("FETCH_FILE_DIRS", "modules", "fetch_file_dirs: 'modules' is no absolute path"),
    ],
)
def test_wrong_settings_of_fetching_are_refused(name: str, text: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        load_settings({}, {f"SKERRY_{name}": text})
