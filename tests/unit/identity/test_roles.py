"""The table of permissions, cell by cell, and what falls outside of it."""

from __future__ import annotations

import itertools

import pytest

from shared.errors import Forbidden
from shared.identity.roles import ACTIONS, ROLES, has_permission, require_permission
from shared.identity.tokens import Principal

QUESTIONS = [(resource, action) for resource in ACTIONS for action in sorted(ACTIONS[resource])]

WITH_OTHERS = """
                        owner  admin  service
profile/read            no     no     no
profile/write           no     no     no
mail/connect            no     no     no
mail/disconnect         no     no     no
mail/read               no     no     no
events/read             no     no     no
events/write            no     no     no
status/read             no     yes    no
audit/read              no     yes    no
sessions/read           no     yes    no
sessions/revoke         no     yes    no
provider_token/read     no     no     yes
export/create           no     no     no
export/read             no     no     no
account/delete          no     no     no
"""


def cells() -> dict[tuple[str, str, str], bool]:
    head, *lines = WITH_OTHERS.strip().splitlines()
    table = {}
    for line in lines:
        name, *answers = line.split()
        resource, _, action = name.partition("/")
        for role, said in zip(head.split(), answers, strict=True):
            table[role, resource, action] = said == "yes"
    return table


def test_the_table_of_these_tests_has_a_cell_for_every_role_and_question() -> None:
    asked = {(role, *question) for role, question in itertools.product(ROLES, QUESTIONS)}
    assert set(cells()) == asked
    assert len(asked) == 45


@pytest.mark.parametrize(("role", "resource", "action"), sorted(cells()))
def test_what_each_role_may_do_with_what_is_somebody_elses(role: str, resource: str, action: str) -> None:
    allowed = has_permission(Principal("ann", role=role), resource, action, "bob")
    assert allowed is cells()[role, resource, action]


@pytest.mark.parametrize(("role", "resource", "action"), sorted(cells()))
def test_everybody_may_do_everything_with_what_is_theirs(role: str, resource: str, action: str) -> None:
    assert has_permission(Principal("ann", role=role), resource, action, "ann")


@pytest.mark.parametrize("role", ["", "Admin", "ADMIN", "admin ", "root", "owner,admin"])
@pytest.mark.parametrize(("resource", "action"), QUESTIONS)
@pytest.mark.parametrize("owner", ["ann", "bob"])
def test_a_role_that_is_not_in_the_table_may_do_nothing(role: str, resource: str, action: str, owner: str) -> None:
    assert not has_permission(Principal("ann", role=role), resource, action, owner)


@pytest.mark.parametrize("role", sorted(ROLES))
@pytest.mark.parametrize("uid", ["", "ann"])
def test_nobodys_data_belong_to_nobody(role: str, uid: str) -> None:
    assert not any(has_permission(Principal(uid, role=role), *question, "") for question in QUESTIONS)


@pytest.mark.parametrize("question", [("mail", "Read"), ("mails", "read"), ("", ""), ("audit", "delete")])
@pytest.mark.parametrize("owner", ["ann", "bob"])
def test_a_misspelt_question_is_said_aloud(question: tuple[str, str], owner: str) -> None:
    with pytest.raises(ValueError, match="no permission"):
        has_permission(Principal("ann", role="admin"), *question, owner)


def test_what_is_required_and_not_allowed_is_forbidden() -> None:
    require_permission(Principal("eve", role="admin"), "audit", "read", "ann")
    with pytest.raises(Forbidden, match="role"):
        require_permission(Principal("eve"), "audit", "read", "ann")
