"""The deployment as gcloud commands: complete, least in rights, repeatable, and in words that gcloud knows."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.cloud import script
from infra.cloud.project import BUILDER, CALLERS, Command, email
from infra.cloud.services import NUMBER, deploy, service
from infra.local.catalogue import ROOT
from shared.settings import Settings
from tests.unit.infra.commands import FUNCTIONS, IMAGE, PLACE, PROJECT, SERVICES, SETTINGS, TRIGGERS, flag, verb_of


def starting(commands: list[Command], *words: str) -> list[Command]:
    return [command for command in commands if command.words[: len(words)] == words]


def grants(commands: list[Command]) -> Iterator[tuple[str, str, str]]:
    """Who may do what with what."""
    for command in commands:
        if "add-iam-policy-binding" in command.words:
            thing = command.words[command.words.index("add-iam-policy-binding") + 1]
            condition = [word for word in command.words if word.startswith("--condition=expression")]
            where = condition[0].partition('"')[2].partition('"')[0] if condition else thing
            yield (
                flag(command, "member").removeprefix("serviceAccount:").partition("@")[0],
                flag(command, "role"),
                where,
            )


def test_every_function_is_deployed_from_one_image_and_told_which_it_is() -> None:
    assert [command.words[2] for command in SERVICES] == [service(function) for function in FUNCTIONS]
    for function, command in zip(FUNCTIONS, SERVICES, strict=True):
        environment = dict(
            pair.split("=", 1) for pair in flag(command, "update-env-vars").removeprefix("^|^").split("|")
        )
        assert flag(command, "image") == IMAGE
        assert environment["FUNCTION_SOURCE"] == f"functions/{function.name}/main.py"
        assert environment["FUNCTION_TARGET"] == function.entry_point
        assert environment["THREADS"] == str(function.concurrency) == flag(command, "concurrency")
        assert environment["BACKEND"] == "cloud"
        assert environment["OAUTH_RETURN_URLS"] == SETTINGS["OAUTH_RETURN_URLS"]
        assert flag(command, "service-account") == email(function.identity, PLACE)
        assert len(service(function)) <= 49


def test_deploying_does_not_say_who_may_call() -> None:
    assert not [word for command in SERVICES for word in command.words if "unauthenticated" in word or "member" in word]


def test_a_function_may_be_called_by_its_trigger_alone_or_by_everyone() -> None:
    callers = {what: who for who, role, what in grants(TRIGGERS) if role == "roles/run.invoker"}
    assert callers == {
        service(function): "allUsers" if function.public else CALLERS[function.trigger[0]] for function in FUNCTIONS
    }


def test_everything_that_a_trigger_needs_is_made() -> None:
    topics = {command.words[3] for command in starting(PROJECT, "pubsub", "topics", "create")}
    queues = {command.words[3] for command in starting(PROJECT, "tasks", "queues", "create")}
    assert {value for function in FUNCTIONS for kind, value in [function.trigger] if kind == "topic"} <= topics
    assert {value for function in FUNCTIONS for kind, value in [function.trigger] if kind == "queue"} == queues
    made = {command.words[3] for command in starting(TRIGGERS, "pubsub", "subscriptions", "create")}
    assert made == {function.name for function in FUNCTIONS if function.trigger[0] == "topic"}
    jobs = {command.words[4] for command in starting(TRIGGERS, "scheduler", "jobs", "create")}
    assert jobs == {function.name for function in FUNCTIONS if function.trigger[0] == "schedule"}


def test_no_account_may_more_than_its_function_needs() -> None:
    granted = set(grants(PROJECT))
    root = f"projects/{PLACE.project}/databases"
    for function in FUNCTIONS:
        mine = {(role, what) for who, role, what in granted if who == function.identity}
        wanted = {("roles/datastore.user", f"{root}/(default)")}
        wanted |= {("roles/datastore.user", f"{root}/keys")} if function.grants != "none" else set()
        wanted |= {("roles/secretmanager.secretAccessor", secret) for secret in function.secrets}
        wanted |= {("roles/cloudtasks.enqueuer", "sync"), ("roles/cloudtasks.viewer", "sync")}
        wanted |= {("roles/pubsub.publisher", topic) for topic in function.publishes}
        assert mine == wanted, function.name
    for caller in CALLERS.values():
        assert not [role for who, role, _ in granted if who == caller]
    assert not {role for _, role, _ in granted if re.search(r"admin|owner|editor", role)}


def test_the_builder_deploys_and_does_not_open() -> None:
    project_wide = {role for who, role, what in grants(PROJECT) if who == BUILDER and what == PLACE.project}
    assert project_wide == {"roles/logging.logWriter", "roles/storage.objectViewer", "roles/run.developer"}


def test_each_thing_is_made_so_that_it_may_be_there_already() -> None:
    for command in [*PROJECT, *TRIGGERS]:
        assert command.may_exist == ("create" in verb_of(command)), command.words


def test_secrets_and_what_the_place_decides_are_no_settings_of_a_function() -> None:
    environ = {str(spec): "x" for spec in script.DECIDED} | {"JWT_ISSUER": "i", "PATH": "p", "GMAIL_TOPIC": "mine"}
    chosen = script.chosen(environ, FUNCTIONS, PLACE)
    assert set(chosen) == {"JWT_ISSUER", "GMAIL_TOPIC", "GOOGLE_REDIRECT_URI"}
    assert chosen["GMAIL_TOPIC"] == "mine"
    known = {str(spec.metadata["env"]) for spec in Settings.__dataclass_fields__.values()}
    assert known >= script.DECIDED


def test_a_setting_that_would_break_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="JWT_ISSUER may not hold"):
        list(deploy(FUNCTIONS, PLACE, IMAGE, {"JWT_ISSUER": "a|b"}))


@pytest.mark.parametrize(
    "word", ["plain", "two words", "it's", "$(id)", "`id`", "^|^A=b;c", "", f"https://a-{NUMBER}.run.app/x y", NUMBER]
)
def test_a_word_reaches_gcloud_as_it_is(word: str) -> None:
    said = subprocess.run(
        ["bash", "-c", f"number=123; printf %s {script.quoted(word)}"], capture_output=True, text=True, check=True
    )
    assert said.stdout == word.replace(NUMBER, "123")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a gcloud that writes its words down, and finds things there already where ``present`` exists."""
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(
        """#!/usr/bin/env bash
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/calls"
case "$*" in
  *"format=value(projectNumber)"*) echo 123 ;;
  "auth list"*) cat "$here/account" 2>/dev/null ;;
  *versions\\ add*) cat >"$here/added"; cat "$here/refused" 2>/dev/null; exit 0 ;;
  *" create "*) if [[ -e $here/present ]]; then echo "ERROR: ALREADY_EXISTS: it already exists" >&2; exit 1; fi ;;
  "projects describe"*) [[ -e $here/project ]] || exit 1 ;;
esac
if [[ -e $here/denied && $* == *add-iam* ]]; then echo "PERMISSION_DENIED" >&2; exit 1; fi
"""
    )
    gcloud.chmod(0o755)
    return tmp_path


def bash(made: Path, text: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash"],
        input=text,
        capture_output=True,
        text=True,
        env={"PATH": f"{made}:/usr/bin:/bin", **environ},
        timeout=60,
    )


WHOLE = script.script(FUNCTIONS, PLACE, script.PARTS, IMAGE, SETTINGS)


@pytest.mark.parametrize("present", [False, True], ids=["nothing", "everything"])
def test_the_script_goes_through_whatever_is_there_already(made: Path, present: bool) -> None:
    if present:
        (made / "present").touch()
    done = bash(made, WHOLE, GOOGLE_CLIENT_SECRET="canary")
    assert done.returncode == 0, done.stderr
    calls = (made / "calls").read_text().splitlines()
    for command in [*PROJECT, *SERVICES, *TRIGGERS]:
        assert " ".join(command.words).replace(NUMBER, "123") in calls
    assert f"[{len([*PROJECT, *SERVICES, *TRIGGERS])}/" in done.stderr
    assert (made / "added").read_text() == "canary"
    assert "canary" not in done.stderr + done.stdout + "".join(calls)


def test_any_other_failure_ends_the_script_with_what_gcloud_said(made: Path) -> None:
    (made / "denied").touch()
    done = bash(made, WHOLE)
    assert done.returncode != 0
    assert "PERMISSION_DENIED" in done.stderr
    assert not starting(
        [Command(tuple(line.split())) for line in (made / "calls").read_text().splitlines()], "run", "deploy"
    )


def sh(*arguments: str, path: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(ROOT / "infra/deploy.sh"), *arguments],
        capture_output=True, text=True, timeout=60, env={"PATH": path, "PYTHON": shutil.which("true") or "", **environ},
    )  # fmt: skip


def test_what_is_missing_is_one_clear_sentence(made: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bare = tmp_path_factory.mktemp("bin")
    for name in ("dirname", "bash"):
        (bare / name).symlink_to(shutil.which(name) or "")
    for arguments, path, words in (
        ((), str(bare), "Name the Google Cloud project"),
        (("p",), str(bare), "Name the region"),
        (("p", "europe-west1"), str(bare), "There is no gcloud: install"),
        (("p", "europe-west1"), f"{made}:{bare}:/usr/bin:/bin", "gcloud knows no account"),
    ):
        done = sh(*arguments, path=path)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert done.stderr.startswith("deploy.sh: ")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    (made / "account").write_text("ann@example.org")
    assert "There is no project p" in sh("p", "europe-west1", path=f"{made}:/usr/bin:/bin").stderr
    assert "There is no nowhere" in sh("p", "r", path=str(bare), PYTHON="nowhere").stderr


def test_arguments_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--project", "a b", "--region", "europe-west1"],
        ["--project", "brainstem-prod", "--region", "$(id)"],
        ["--project", "brainstem-prod", "--region", "europe-west1", "--part", "services"],
    ):
        with pytest.raises(SystemExit):
            script.main(arguments, {})
        assert "must be" in (said := capsys.readouterr().err) or "needs" in said


def test_a_function_that_is_added_to_the_file_is_deployed_without_another_word() -> None:
    added = replace(FUNCTIONS[-1], name="more", entry_point="more", identity="brainstem-more", path="/more")
    text = script.script([*FUNCTIONS, added], PLACE, script.PARTS, IMAGE, {})
    assert "run deploy brainstem-more " in text
    assert "iam service-accounts create brainstem-more\n" in text
    assert "pubsub subscriptions create more " in text
