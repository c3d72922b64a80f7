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
from infra.cloud.project import BUILDER, CALLERS, DEAD_LETTERS, Command, email
from infra.cloud.services import AGENT, NUMBER, connect, deploy, service
from infra.local.catalogue import ROOT, topics
from shared.adapters.embedded.subscriptions import Subscription
from shared.adapters.embedded.tasks import QueueConfig
from shared.identity.signing import Ring
from shared.settings import Settings
from tests.unit.infra.commands import (
    FUNCTIONS,
    IMAGE,
    PLACE,
    PROJECT,
    QUESTIONS,
    SERVICES,
    SETTINGS,
    TRIGGERS,
    WHOLE,
    flag,
    verb_of,
)


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


def test_instances_are_kept_running_where_a_function_needs_them_and_elsewhere_left_as_they_are() -> None:
    for function, command in zip(FUNCTIONS, SERVICES, strict=True):
        said = [word for word in command.words if word.startswith("--min-instances")]
        assert said == ([f"--min-instances={function.min_instances}"] if function.min_instances else [])
    assert {function.name for function in FUNCTIONS if function.min_instances} == {"graph_push"}


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


def test_what_a_push_subscription_gives_up_is_kept_as_a_dead_letter_after_as_many_attempts_as_at_home() -> None:
    pushed = [function.name for function in FUNCTIONS if function.trigger[0] == "topic"]
    for verb in ("create", "update"):
        made = starting(TRIGGERS, "pubsub", "subscriptions", verb)
        assert [command.words[3] for command in made] == pushed
        for command in made:
            assert flag(command, "dead-letter-topic") == DEAD_LETTERS
            assert int(flag(command, "max-delivery-attempts")) == Subscription("s", "t", "/").max_attempts
    [kept] = starting(PROJECT, "pubsub", "subscriptions", "create", DEAD_LETTERS)
    assert (flag(kept, "topic"), flag(kept, "expiration-period")) == (DEAD_LETTERS, "never")
    assert starting(PROJECT, "pubsub", "topics", "create", DEAD_LETTERS)
    rights = {(role, what) for who, role, what in grants(TRIGGERS) if AGENT.startswith(f"serviceAccount:{who}@")}
    assert rights >= {("roles/pubsub.subscriber", name) for name in pushed} | {("roles/pubsub.publisher", DEAD_LETTERS)}


def test_pubsub_itself_may_make_the_tokens_of_its_pushes_and_of_nothing_else() -> None:
    assert [(who, what) for who, role, what in grants(TRIGGERS) if role == "roles/iam.serviceAccountTokenCreator"] == [
        (f"service-{NUMBER}", email(CALLERS["topic"], PLACE))
    ]


def test_messages_stay_in_the_region() -> None:
    made = starting(PROJECT, "pubsub", "topics", "create")
    assert {command.words[3] for command in made} == {*topics(FUNCTIONS), DEAD_LETTERS}
    assert {flag(command, "message-storage-policy-allowed-regions") for command in made} == {PLACE.region}


def test_a_task_ends_after_a_day_because_its_attempts_are_over_by_then() -> None:
    for queue in starting(TRIGGERS, "tasks", "queues", "update"):
        attempts, day = int(flag(queue, "max-attempts")), int(flag(queue, "max-retry-duration").removesuffix("s"))
        longest = int(flag(queue, "max-backoff").removesuffix("s"))
        assert attempts == QueueConfig().max_attempts
        assert 0 < sum(min(longest, 2**attempt) for attempt in range(attempts)) < day == 86_400


@pytest.mark.parametrize(
    ("seconds", "schedule"), [("60", "* * * * *"), ("300.0", "*/5 * * * *"), ("1800", "*/30 * * * *")]
)
def test_the_schedule_is_the_period_of_the_setting(seconds: str, schedule: str) -> None:
    jobs = starting(list(connect(FUNCTIONS, PLACE, {"TICK_SECONDS": seconds})), "scheduler", "jobs")
    assert [(job.words[2], flag(job, "schedule")) for job in jobs] == [("create", schedule), ("update", schedule)]


def test_a_job_that_is_there_keeps_its_schedule_where_no_period_is_given() -> None:
    create, update = starting(list(connect(FUNCTIONS, PLACE, {})), "scheduler", "jobs")
    assert flag(create, "schedule") == "* * * * *"
    assert not [word for word in update.words if word.startswith("--schedule")]


@pytest.mark.parametrize("seconds", ["0", "30", "90", "61", "420", "3600", "7200", "nan", "inf", "often"])
def test_a_period_that_cloud_scheduler_cannot_keep_is_refused_before_anything_is_made(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script.main(
            ["--project", "brainstem-prod", "--region", "europe-west1", "--part", "project"], {"TICK_SECONDS": seconds}
        )
    said = capsys.readouterr()
    assert "TICK_SECONDS must be" in said.err
    assert said.out == ""


def test_no_account_may_more_than_its_function_needs() -> None:
    granted = set(grants(PROJECT))
    root = f"projects/{PLACE.project}/databases"
    for function in FUNCTIONS:
        mine = {(role, what) for who, role, what in granted if who == function.identity}
        wanted = {("roles/datastore.user", f"{root}/(default)")}
        wanted |= {("roles/datastore.user", f"{root}/keys")} if function.grants != "none" else set()
        wanted |= {("roles/secretmanager.secretAccessor", secret) for secret in function.secrets}
        for queue in ("sync", "privacy"):
            wanted |= {("roles/cloudtasks.enqueuer", queue), ("roles/cloudtasks.viewer", queue)}
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
    assert script.chosen(environ) == {"JWT_ISSUER": "i", "GMAIL_TOPIC": "mine"}
    assert set(script.decided(FUNCTIONS, PLACE)) == {
        "AUTH_ISSUER",
        "GMAIL_TOPIC",
        "GOOGLE_REDIRECT_URI",
        "MICROSOFT_REDIRECT_URI",
        "GRAPH_NOTIFICATION_URL",
    }
    known = {str(spec.metadata["env"]) for spec in Settings.__dataclass_fields__.values()}
    assert known >= script.DECIDED


def test_a_setting_that_would_break_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="JWT_ISSUER may not hold"):
        list(deploy(FUNCTIONS, PLACE, IMAGE, {"JWT_ISSUER": "a|b"}, {}))


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
    """A folder with a gcloud that writes its words down, and finds things there already where ``present`` exists.

    It fails at what ``fails`` says, and looks for services, versions and states in files of these names; of the states it
    answers one line at each look. The folder's ``sleep`` takes no time.
    """
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(
        """#!/usr/bin/env bash
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/calls"
next() { head -n 1 "$here/$1"; tail -n +2 "$here/$1" >"$here/rest"; mv "$here/rest" "$here/$1"; }
if [[ -e $here/fails && $* == *"$(cat "$here/fails")"* ]]; then echo "ERROR: UNAVAILABLE: 503" >&2; exit 1; fi
case "$*" in
  *"format=value(projectNumber)"*) echo 123 ;;
  "auth list"*) cat "$here/account" 2>/dev/null || true ;;
  "run services list"*) cat "$here/services" 2>/dev/null || true ;;
  "secrets versions list "*) cat "$here/versions" 2>/dev/null || true ;;
  "firestore indexes composite list"*) if [[ -e $here/indexes ]]; then next indexes; fi ;;
  "firestore operations list"*) if [[ -e $here/operations ]]; then next operations; fi ;;
  *versions\\ add*) tee "$here/added-$4" >"$here/added"; cat "$here/refused" 2>/dev/null; exit 0 ;;
  *" create "*) if [[ -e $here/present ]]; then echo "ERROR: ALREADY_EXISTS: it already exists" >&2; exit 1; fi ;;
  "projects describe"*) if [[ ! -e $here/project ]]; then echo "ERROR: PERMISSION_DENIED" >&2; exit 1; fi ;;
esac
if [[ -e $here/denied && $* == *add-iam* ]]; then echo "PERMISSION_DENIED" >&2; exit 1; fi
"""
    )
    gcloud.chmod(0o755)
    (tmp_path / "sleep").write_text('#!/usr/bin/env bash\necho >>"$(dirname "$0")/slept"\n')
    (tmp_path / "sleep").chmod(0o755)
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


def called(made: Path) -> list[str]:
    return (made / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("present", "secret"),
    [(False, "GOOGLE_CLIENT_SECRET"), (True, "GOOGLE_CLIENT_SECRET"), (True, "MICROSOFT_CLIENT_SECRET")],
)
def test_the_script_goes_through_whatever_is_there_already(made: Path, present: bool, secret: str) -> None:
    if present:
        (made / "present").touch()
        (made / "services").write_text("".join(f"{service(function)}\n" for function in FUNCTIONS))
    done = bash(made, WHOLE, **{secret: "canary"})
    assert done.returncode == 0, done.stderr
    calls = called(made)
    for command in [*PROJECT, *SERVICES, *TRIGGERS]:
        words = command.words if present or not command.when_new else (*command.words, command.when_new)
        assert " ".join(words).replace(NUMBER, "123") in calls
    assert f"[{len([*PROJECT, *SERVICES, *TRIGGERS])}/" in done.stderr
    assert (made / "added").read_text() == "canary"
    added = [line.split()[3] for line in calls if line.startswith("secrets versions add")]
    assert secret.lower().replace("_", "-") == added[-1]
    assert "canary" not in done.stderr + done.stdout + "".join(calls)


def test_any_other_failure_ends_the_script_with_what_gcloud_said(made: Path) -> None:
    (made / "denied").touch()
    done = bash(made, WHOLE)
    assert done.returncode != 0
    assert "PERMISSION_DENIED" in done.stderr
    assert not [line for line in called(made) if line.startswith("run deploy")]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: "-".join(verb_of(question)))
def test_a_question_without_an_answer_is_never_taken_for_a_no(made: Path, question: Command) -> None:
    (made / "fails").write_text(" ".join(question.words))
    done = bash(made, WHOLE)
    assert done.returncode != 0
    assert "503" in done.stderr
    assert called(made)[-1] == " ".join(question.words)


@pytest.mark.parametrize("key", ["vault-key", "tombstone-key", "signing-keys"])
def test_a_key_of_ours_is_made_where_there_is_none_and_never_again(made: Path, key: str) -> None:
    assert "secrets versions list" in {" ".join(verb_of(question)) for question in QUESTIONS}
    text = script.script(FUNCTIONS, PLACE, ["project"], "", {})
    (made / "fails").write_text("secrets versions list")
    assert bash(made, text).returncode != 0
    assert not (made / "added").exists()
    (made / "fails").unlink()
    assert bash(made, text).returncode == 0
    added = (made / f"added-{key}").read_bytes()
    assert len(Ring.of(added).keys) == 1 if key == "signing-keys" else len(added) == 32
    adding = [line for line in called(made) if line.startswith(f"secrets versions add {key} ")]
    assert len(adding) == 1
    (made / "versions").write_text(f"projects/1/secrets/{key}/versions/1\n")
    assert bash(made, text).returncode == 0
    assert [line for line in called(made) if line.startswith(f"secrets versions add {key} ")] == adding


def test_what_somebody_has_set_or_removed_at_a_service_is_not_put_back(made: Path) -> None:
    (made / "services").write_text("brainstem-oauth\nbrainstem-apiary\n")
    assert bash(made, WHOLE).returncode == 0
    deployed = {line.split()[2]: line for line in called(made) if line.startswith("run deploy ")}
    assert set(deployed) == {service(function) for function in FUNCTIONS}
    for name, line in deployed.items():
        for setting in ("GMAIL_TOPIC=", "GOOGLE_REDIRECT_URI=", "MICROSOFT_REDIRECT_URI=", "GRAPH_NOTIFICATION_URL="):
            assert (setting in line) == (name != "brainstem-oauth"), name


def test_what_is_exported_is_set_at_every_service_in_place_of_the_default(made: Path) -> None:
    (made / "services").write_text("brainstem-oauth\n")
    mine = {"GMAIL_TOPIC": "mine", "GOOGLE_REDIRECT_URI": "https://mine.test/"}
    assert bash(made, script.script(FUNCTIONS, PLACE, ["services"], IMAGE, mine)).returncode == 0
    for line in called(made):
        if line.startswith("run deploy "):
            assert [line.count(f"|{name}={value}|") for name, value in mine.items()] == [1, 1]
            assert [line.count(f"{name}=") for name in mine] == [1, 1]


def test_nothing_is_deployed_before_its_indexes_are_built(made: Path) -> None:
    (made / "indexes").write_text("READY CREATING\nREADY READY\nREADY READY\n")
    (made / "operations").write_text("SUCCESSFUL\nSUCCESSFUL PROCESSING\nSUCCESSFUL FAILED\n")
    done = bash(made, WHOLE)
    assert done.returncode == 0, done.stderr
    assert (made / "slept").read_text().count("\n") == 2
    assert done.stderr.count("waiting for indexes: 1 to go") == 2
    calls = called(made)
    looks = [at for at, line in enumerate(calls) if line.startswith("firestore operations list")]
    assert len(looks) == 3
    assert max(looks) < min(at for at, line in enumerate(calls) if line.startswith("run deploy"))
    assert min(looks) > max(at for at, line in enumerate(calls) if line.startswith("firestore indexes fields update"))


def test_indexes_are_not_waited_for_without_end(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "LOOKS", 3)
    text = script.script(FUNCTIONS, PLACE, script.PARTS, IMAGE, SETTINGS)
    (made / "indexes").write_text("CREATING\n" * 10)
    done = bash(made, text)
    assert done.returncode == 1
    assert "Indexes are still being built. Run this again later" in done.stderr
    assert (made / "slept").read_text().count("\n") == 2
    (made / "indexes").write_text("READY NEEDS_REPAIR\n")
    done = bash(made, text)
    assert done.returncode == 1
    assert "An index could not be built" in done.stderr
    assert not [line for line in called(made) if line.startswith("run deploy")]


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
    for question, words in (("auth list", "gcloud does not say which"), ("projects describe", "UNAVAILABLE: 503")):
        (made / "fails").write_text(question)
        done = sh("p", "europe-west1", path=f"{made}:/usr/bin:/bin")
        assert done.returncode != 0
        assert words in done.stderr
        assert "There is no project" not in done.stderr
        assert "knows no account" not in done.stderr
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
    [pushed] = [function for function in FUNCTIONS if function.name == "senders"]
    added = replace(pushed, name="more", entry_point="more", identity="brainstem-more", path="/more")
    text = script.script([*FUNCTIONS, added], PLACE, script.PARTS, IMAGE, {})
    assert "run deploy brainstem-more " in text
    assert "iam service-accounts create brainstem-more\n" in text
    assert "pubsub subscriptions create more " in text
