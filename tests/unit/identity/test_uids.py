"""User ids: safe in paths whatever an issuer calls people, and never the same for two of them."""

from __future__ import annotations

import unicodedata

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import refs
from shared.identity.uids import is_uid, own_uid, uid_apart, uid_of

OWN = "u_" + "abcdefghijklmnopqrstuvwxyz"
HOSTILE = [
    "../x", "..", ".", "a/b", "/", "//", "a\\b", "%2e%2e%2fx", "a:b", "ann:app", "__x__", "__name__", " ", "ann ", "ann\n",
    "a\0b", "", "h_", "h_x", "h_0x", "x" * 65, "x" * 4_096, "é", "e\u0301", "\u0430nn", "ann\u200b", "\u202eann", "\uff41nn",
    "\ud800", "auth0|1", "google-oauth2|110169484474386276334", OWN, OWN.upper(), "users/ann", "ann/../bob",
]  # fmt: skip
"""Subjects that would do harm as they are, or look like somebody else's."""

subjects = st.one_of(
    st.text(min_size=1), st.sampled_from([text for text in HOSTILE if text]), st.from_regex(r"[uh]_[a-z0-9]{1,54}")
)
issuers = st.one_of(
    st.sampled_from(["https://a.example", "https://a.example/", "https://b.example"]), st.text(min_size=1)
)


@pytest.mark.parametrize("subject", ["ann", "user_abc123", "A-1", "x" * 64, "u_x", "u_" + "A" * 26, "i_1"])
def test_a_plain_subject_is_its_own_uid(subject: str) -> None:
    assert uid_of(subject) == subject


@pytest.mark.parametrize("subject", HOSTILE)
def test_any_other_subject_becomes_a_digest(subject: str) -> None:
    if subject == OWN.upper():
        return  # as plain as any: only lower case is given by our own
    assert uid_of(subject).startswith("h_")
    assert len(uid_of(subject)) == 54


@pytest.mark.parametrize("subject", HOSTILE)
@pytest.mark.parametrize(
    "uid", [uid_of, lambda subject: uid_apart("https://a.example", subject)], ids=["plain", "apart"]
)
def test_no_subject_leaves_its_place_in_the_store(uid, subject):
    made = uid(subject)
    assert is_uid(made)
    assert len(made) <= 64
    for path in (refs.user(made), refs.grant(made, "google:1"), refs.data_key(made)):
        assert ".." not in path
        assert path.split("/")[1] == made
    assert refs.owner(refs.mailbox_id(made, "primary", "GOOGLE")) == made
    assert refs.owner(refs.app_stream(made)) == made


def test_look_alikes_are_different_people():
    alike = ["ann", "Ann", "\u0430nn", "ann\u200b", "\uff41nn", "ann ", "é", "e\u0301"]
    assert len({unicodedata.normalize("NFKC", text).strip().casefold() for text in alike}) < len(alike)
    assert len({uid_of(text) for text in alike}) == len(alike)
    assert len({uid_apart("https://a.example", text) for text in alike}) == len(alike)


@given(subjects, subjects)
def test_within_an_issuer_uids_do_not_collide(one: str, other: str) -> None:
    assert (uid_of(one) == uid_of(other)) == (one == other)
    assert (uid_apart("https://a.example", one) == uid_apart("https://a.example", other)) == (one == other)


@given(issuers, subjects, issuers, subjects)
@example("https://a.example", "b", "https://a.exampleb", "")
@example('a", "b', "c", "a", 'b", "c')
def test_across_issuers_uids_do_not_collide(issuer: str, one: str, another: str, other: str) -> None:
    assert (uid_apart(issuer, one) == uid_apart(another, other)) == ((issuer, one) == (another, other))


@given(issuers, subjects, subjects)
def test_no_issuer_can_make_an_id_of_another_family(issuer: str, one: str, other: str) -> None:
    plain, apart = uid_of(one), uid_apart(issuer, other)
    assert plain != apart
    assert own_uid(plain) is None
    assert own_uid(apart) is None
    assert uid_of(apart) != apart, "nobody can be called what somebody else's digest is"
    if plain.startswith("h_"):
        assert uid_of(plain) != plain


def test_a_subject_that_spells_out_what_another_issuers_digest_is_over_is_not_its_person() -> None:
    issuer, subject = "https://a.example", "ann"
    spelt = orjson.dumps([text.encode().hex() for text in (issuer, subject)]).decode()
    assert uid_of(spelt)[2:] == uid_apart(issuer, subject)[3:], "the digests are the same"
    assert uid_of(spelt) != uid_apart(issuer, subject)


@pytest.mark.parametrize("subject", [OWN.upper(), OWN[:-1], OWN + "a", OWN + "\n", "u_" + "1" * 26, "ann", "../x", ""])
def test_our_own_ids_have_one_form(subject: str) -> None:
    assert own_uid(OWN) == OWN
    assert own_uid(subject) is None


@pytest.mark.parametrize("text", ["../x", "a/b", "", "x" * 65, "ann\n", "__x__", "é", "a:b", "a b", "."])
def test_what_is_no_uid_is_told_from_one(text: str) -> None:
    assert is_uid("ann")
    assert not is_uid(text)
