"""The whole machine under fire, a small run of what ``make demo`` does: the verdict has to be that all is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.local.catalogue import ROOT

EML = b"""From: =?utf-8?q?Z=C3=BCleyha?= <z@example.org>
To: demo@example.org
Subject: =?utf-8?b?R3LDvMOfZQ==?= %d
Date: Tue, 03 Nov 2026 09:00:00 +0100
Message-ID: <eml-%d@example.org>

Until tomorrow, %d.
"""


def _demo(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.watched_demo", "--json", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:] + done.stdout[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_every_mail_arrives_once_while_pushes_are_lost_doubled_and_early() -> None:
    verdict = _demo("--mails", "150", "--changes", "30", "--refuse", "4", "--seed", "7")
    assert verdict["ok"] is True
    assert verdict["lost"] == verdict["duplicates"] == 0
    assert 1 <= verdict["gaps"] <= 8  # what the providers refuse to serve, unless it was deleted meanwhile
    assert verdict["contiguous"] is verdict["consumer_ok"] is True
    assert verdict["expected"] == verdict["stored"] + verdict["gaps"]
    assert verdict["expected"] > 200
    assert verdict["events"] >= verdict["stored"] / 2
    assert verdict["p50_ms"] <= verdict["p95_ms"]
    assert (verdict["backend"], verdict["providers"]) == ("embedded", ["GOOGLE", "MICROSOFT"])
    for provider in ("GOOGLE", "MICROSOFT"):
        mailbox = verdict["mailboxes"][provider]
        assert mailbox["pushes"]["dropped"] > 0, provider
        assert mailbox["expected"] == mailbox["stored"] + mailbox["gaps"] > 100, provider
        assert mailbox["lost"] == mailbox["duplicates"] == mailbox["differences"] == 0, provider
    for figure in ("expected", "stored", "events", "gaps"):
        assert verdict[figure] == sum(mailbox[figure] for mailbox in verdict["mailboxes"].values()), figure
    assert {"move", "read", "category", "new folder"} & verdict["mailboxes"]["MICROSOFT"]["changes"].keys()


@pytest.mark.parametrize("provider", ["google", "microsoft"])
def test_one_mailbox_alone_is_judged_alone(provider: str) -> None:
    verdict = _demo("--mails", "100", "--changes", "10", "--seed", "3", "--provider", provider)
    assert verdict["ok"] is True
    assert verdict["providers"] == list(verdict["mailboxes"]) == [provider.upper()]


def test_five_kills_at_random_moments_change_nothing() -> None:
    verdict = _demo("--mails", "300", "--changes", "25", "--kills", "5", "--seed", "11")
    assert verdict["ok"] is True
    assert verdict["kills"] == 5


@pytest.mark.parametrize("kind", ["mbox", "maildir", "eml"])
def test_a_persons_own_mail_is_in_or_a_gap_with_its_reason(kind: str, tmp_path: Path) -> None:
    source = tmp_path / kind
    mails = [EML.replace(b"%d", str(number).encode()) for number in range(30)]
    if kind == "mbox":
        source.write_bytes(b"".join(b"From - Tue Nov  3 09:00:00 2026\n" + mail + b"\n" for mail in mails))
    elif kind == "maildir":
        for name in ("cur", "new", "tmp"):
            (source / name).mkdir(parents=True)
        for number, mail in enumerate(mails):
            (source / "cur" / f"{number}.host:2,S").write_bytes(mail)
    else:
        source.mkdir()
        for number, mail in enumerate(mails):
            (source / f"{number}.eml").write_bytes(mail)
        (source / "broken.eml").write_bytes(b"\0\0\0")
    verdict = _demo("--mbox", str(source), "--changes", "5")
    assert verdict["ok"] is True
    assert len(verdict["mailboxes"]) == 2
    for mailbox in verdict["mailboxes"].values():
        assert mailbox["stored"] >= 25
        assert mailbox["gaps"] == (1 if kind == "eml" else 0)
