"""``infra/functions.yaml`` lists every function once, and nothing that is not there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from infra.local.catalogue import ROOT, CatalogueError, Function, load, routed

FUNCTIONS = {function.name: function for function in load()}


def test_every_folder_has_an_entry_and_every_entry_a_folder() -> None:
    assert {path.parent.name for path in (ROOT / "functions").glob("*/main.py")} == FUNCTIONS.keys()


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_the_entry_point_is_in_the_source(function: Function) -> None:
    tree = ast.parse(function.source.read_text(encoding="utf-8"))
    assert function.entry_point in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_only_what_reads_mail_hands_out_tokens_or_ends_an_account_opens_grants() -> None:
    assert {name for name, function in FUNCTIONS.items() if function.grants == "open"} == {"sync", "oauth", "privacy"}


def test_the_keys_that_sign_are_read_by_one_function_alone() -> None:
    assert [name for name, function in FUNCTIONS.items() if "signing-keys" in function.secrets] == ["auth"]


@pytest.mark.parametrize("secret", ["google-client-secret", "microsoft-client-secret"])
def test_a_clients_secret_goes_only_to_those_who_ask_the_token_endpoint(secret: str) -> None:
    holders = {name for name, function in FUNCTIONS.items() if secret in function.secrets}
    assert holders == {"oauth", "sync", "privacy"}


def test_the_vault_key_goes_only_to_those_who_seal_or_open() -> None:
    holders = {name for name, function in FUNCTIONS.items() if "vault-key" in function.secrets}
    assert holders == {name for name, function in FUNCTIONS.items() if function.grants != "none"}


def test_only_what_people_their_browsers_and_microsoft_call_is_public() -> None:
    assert {name: function.public for name, function in FUNCTIONS.items() if function.public} == {
        "api": ("/*",),
        "auth": ("/api/auth/*", "/api/v1/auth/*"),
        "oauth": ("/oauth/*", "/api/auth/accounts", "/api/auth/accounts/*"),
        "graph_push": ("/graph_push", "/graph_push/lifecycle"),
    }


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_what_is_public_is_routed_to_the_function(function: Function) -> None:
    prefixes = {prefix: other.name for other in FUNCTIONS.values() for prefix in other.prefixes}
    for rule in function.public:
        prefix = routed(prefixes, rule.replace("*", "x"))
        assert prefix is not None
        assert prefixes[prefix] == function.name


def test_only_what_must_answer_at_once_is_kept_running() -> None:
    assert {name: function.min_instances for name, function in FUNCTIONS.items() if function.min_instances} == {
        "graph_push": 1
    }


def test_public_paths_match_exactly_or_by_their_beginning() -> None:
    api = FUNCTIONS["api"]
    assert api.is_public("/anything/at/all")
    assert FUNCTIONS["graph_push"].is_public("/graph_push/lifecycle")
    assert not FUNCTIONS["graph_push"].is_public("/graph_push/other")
    assert not FUNCTIONS["sync"].is_public("/sync/step")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("path: /sync", "path: /tick"), "the same path"),
        (("path: /sync", "path: /x\n    also: [/tick]"), "the same path"),
        (("path: /sync", "path: /sync/"), "a path is"),
        (("path: /sync", "path: /a/b/c/d/e"), "a path is"),
        (("path: /sync", "path: /sync\n    too: [/x]"), "missing or unknown"),
        (("identity: brainstem-sync", "identity: brainstem-tick"), "the same identity"),
        (("{queue: sync}", "{queue: sync, topic: gmail}"), "exactly one"),
        (("{queue: sync}", "{cron: daily}"), "exactly one"),
        (("grants: open", "grants: all"), "grants must be"),
        (("    memory: 512Mi\n", ""), "missing or unknown"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(change: tuple[str, str], reason: str, tmp_path: Path) -> None:
    text = (ROOT / "infra" / "functions.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / "functions.yaml"
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(CatalogueError, match=reason):
        load(path)
