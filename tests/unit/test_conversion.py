"""Classes that documents and bodies become are known to msgspec before two threads can ask for them at once."""

from __future__ import annotations

import subprocess
import sys

RACE = """
import sys, threading
sys.setswitchinterval(1e-6)
import msgspec
from {module} import {kind}
barrier = threading.Barrier(8)

def ask():
    barrier.wait()
    try:
        msgspec.convert({{}}, {kind})
    except msgspec.ValidationError:
        pass

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

LEARNED = (
    ("shared.mail.state", "MailboxState"),
    ("shared.mail.tasks", "StepTask"),
    ("shared.oauth.consents", "Consent"),
    ("shared.http.fields", "Connect"),
)


def test_first_conversions_may_race() -> None:
    for module, kind in LEARNED:
        code = RACE.format(module=module, kind=kind)
        assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_whatever_is_converted_is_marked() -> None:
    """The decorator is all that prevents it, so every class that is converted has to carry it."""
    for module, kind in LEARNED:
        source = __import__(module, fromlist=[kind]).__file__
        with open(source, encoding="utf-8") as text:
            before, _, _ = text.read().partition(f"class {kind}")
        assert "@convertible" in before.rsplit("\n\n\n", 1)[-1], (module, kind)
