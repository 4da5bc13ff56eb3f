"""The chain of the audit log: what is hashed, what is signed, and that no single change goes unnoticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.audit import AuditEntry, AuditEvent, AuditVerification, FindingKind
from aetherium.domain.errors import InvalidInput
from aetherium.services.audit.chain import GENESIS, canonical, clean, document, hash_of, link
from aetherium.services.audit.exported import line, newest_known, verify_lines
from aetherium.services.audit.signing import Signer, checked_key, is_signed, signer_of

AT = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
SIGNER = Signer("a master key of some length")
OTHER = Signer("the key of somebody else")
EVENT = AuditEvent("key:a", "vm.create", "vm_1", project_id="prj_1", data={"n": 1})


def chain(count: int, *, seq: int = 1, previous: str = GENESIS) -> list[AuditEntry]:
    """That many entries."""
    entries = []
    for number in range(seq, seq + count):
        entries.append(link(replace(EVENT, resource=f"vm_{number}"), number, AT, previous))
        previous = entries[-1].hash
    return entries


def export(entries: Sequence[AuditEntry], *, signer: Signer = SIGNER, every: int = 4) -> list[str]:
    """An export with a checkpoint behind each so-many-th entry."""

    def lines() -> Iterator[dict[str, Any]]:
        yield {"audit": {"v": 1, "key": signer.key, "project_id": None}}
        for entry in entries:
            yield line(entry)
            if entry.seq % every == 0:
                yield line(signer.checkpoint(entry.seq, AT, entry.hash))
        yield line(signer.head(entries[-1].seq, entries[-1].hash))

    return [json.dumps(each) for each in lines()]


def found(lines: Sequence[str], *keys: str, **more: Any) -> set[tuple[int, FindingKind]]:
    """Where what is wrong with an export."""
    return {(each.seq, each.kind) for each in verified(lines, *keys, **more).findings}


def verified(lines: Sequence[str], *keys: str, **more: Any) -> AuditVerification:
    """An export, verified with our key if no other is given."""
    return verify_lines(lines, keys or (SIGNER.key,), **more)


class TestTheChain:
    def test_the_canonical_form_is_that_of_rfc_8785(self) -> None:
        # The names and their order are those of the RFC's section 3.2.3.
        value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
        assert [json.loads(canonical(value))[key] for key in json.loads(canonical(value))] == [
            2, 4, 6, 7, 1, 5, 3,
        ]  # fmt: skip
        text = '\u20ac$\u000f\nA\'B"\\\\"/'
        assert canonical({"b": text, "a": [None, True]}) == (
            '{"a":[null,true],"b":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'.encode()
        )

    def test_a_hash_can_be_computed_by_hand(self) -> None:
        (entry,) = chain(1)
        written = (
            '{"action":"vm.create","actor":"key:a","address":"","at":"2026-03-04T05:06:07.891011Z",'
            '"data":{"n":1},"outcome":"ok","previous":"' + "0" * 64 + '","project_id":"prj_1",'
            '"request_id":"","resource":"vm_1","seq":1,"v":1}'
        )
        assert entry.hash == hashlib.sha256(written.encode()).hexdigest()

    def test_a_moment_has_one_form(self) -> None:
        there = AT.astimezone(timezone(timedelta(hours=5)))
        assert link(EVENT, 1, there, GENESIS).hash == link(EVENT, 1, AT, GENESIS).hash

    def test_what_is_clean_stays_so(self) -> None:
        event = AuditEvent(
            "a" * 300,
            "x\0y",
            "\ud800",
            data={"f": 1.5, "big": 2**60, "in": {"\0": (b"x",)}, "n": float("nan")},
        )
        once = clean(event)
        assert once == clean(once)
        assert len(once.actor) == 255
        assert once.action == "x\ufffdy"
        assert once.resource == "?"
        assert once.data == {"f": "1.5", "big": str(2**60), "in": {"\ufffd": ["b'x'"]}, "n": "nan"}

    def test_data_is_a_fact_and_not_a_document(self) -> None:
        assert clean(replace(EVENT, data={"x": "y" * 20_000})).data == {"omitted_bytes": 20_008}

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=10,
        )
    )
    def test_a_database_gives_back_what_was_hashed(self, value: object) -> None:
        event = clean(replace(EVENT, data={"value": value}))
        entry = link(event, 1, AT, GENESIS)
        stored = replace(entry, event=replace(event, data=json.loads(json.dumps(event.data))))
        assert hash_of(stored) == entry.hash


class TestSignatures:
    def test_a_master_key_always_gives_the_same_key(self) -> None:
        assert Signer("a master key of some length").key == SIGNER.key
        assert SIGNER.key == "6f79e3fd08c2cc21104f803ed19f51b4fd1c09095e6d8c790d4ebbd9f8548b38"
        assert OTHER.key != SIGNER.key

    def test_what_is_signed_cannot_be_changed(self) -> None:
        head = SIGNER.head(3, "ab" * 32)
        assert signer_of(head, [OTHER.key, SIGNER.key]) == SIGNER.key
        assert signer_of(head, [OTHER.key]) is None
        for other in (replace(head, seq=4), replace(head, hash="cd" * 32), replace(head, signature="")):
            assert signer_of(other, [SIGNER.key]) is None
        mark = SIGNER.checkpoint(3, AT, "ab" * 32)
        assert is_signed(mark)
        for wrong in ({"seq": 4}, {"at": AT + timedelta(seconds=1)}, {"hash": ""}, {"key": OTHER.key}):
            assert not is_signed(replace(mark, **wrong))

    def test_a_head_is_no_checkpoint(self) -> None:
        head = SIGNER.head(3, "ab" * 32)
        mark = SIGNER.checkpoint(3, AT, "ab" * 32)
        assert signer_of(replace(head, signature=mark.signature), [SIGNER.key]) is None
        assert not is_signed(replace(mark, signature=head.signature))

    @pytest.mark.parametrize("wrong", ["", "ab", "zz" * 32, "ab" * 31, "ab" * 33])
    def test_a_key_that_is_none_is_refused(self, wrong: str) -> None:
        with pytest.raises(InvalidInput, match="public key"):
            checked_key(wrong)
        assert not is_signed(replace(SIGNER.checkpoint(1, AT, ""), key=wrong))


class TestExports:
    def test_one_that_nobody_has_touched_is_right(self) -> None:
        result = verified(export(chain(10)))
        assert (result.ok, result.entries, result.checkpoints, result.complete) == (True, 10, 2, True)
        assert result.head is not None
        assert result.head.seq == 10

    def test_an_empty_one_is_right(self) -> None:
        begin = json.dumps({"audit": {"v": 1, "key": SIGNER.key, "project_id": None}})
        end = json.dumps({"head": {"seq": 0, "hash": GENESIS, "signature": ""}})
        assert verified([begin, end]).ok

    def test_without_its_end_it_is_not_whole(self) -> None:
        assert found(export(chain(3))[:-1]) == {(3, FindingKind.TRUNCATED)}

    def test_another_key_is_told(self) -> None:
        assert found(export(chain(5)), OTHER.key) == {(4, FindingKind.FORGED), (5, FindingKind.FORGED)}

    def test_a_log_that_somebody_else_has_made_is_right_only_by_its_own_key(self) -> None:
        lines = export(chain(5), signer=OTHER)
        assert verify_lines(lines).ok
        assert not verified(lines).ok

    def test_a_chain_computed_anew_does_not_fit_to_the_signatures(self) -> None:
        entries, lines = chain(10), export(chain(10))
        changed = link(replace(EVENT, actor="key:b"), 6, AT, entries[4].hash)
        anew = [*entries[:5], changed]
        for entry in entries[6:]:
            anew.append(link(entry.event, entry.seq, AT, anew[-1].hash))
        numbers = [index for index, text in enumerate(lines) if '"entry"' in text]
        for index, entry in zip(numbers, anew, strict=True):
            lines[index] = json.dumps(line(entry))
        assert found(lines) == {(8, FindingKind.CHANGED), (10, FindingKind.CHANGED)}
        assert "5 to 8" in verified(lines).findings[0].what

    def test_all_of_it_set_back_shows_against_what_was_kept(self) -> None:
        entries = chain(10)
        known = newest_known(export(entries))
        assert known == {10: entries[-1].hash}
        earlier = export(entries[:5])
        assert verified(earlier).ok
        assert found(earlier, outside=known) == {(10, FindingKind.TRUNCATED)}
        assert found(export(chain(10, previous="f" * 64)), outside=known) >= {(10, FindingKind.CHANGED)}

    def test_an_answer_of_a_verification_can_be_kept(self) -> None:
        assert newest_known([json.dumps({"head": {"seq": 3, "hash": "ab"}, "findings": []})]) == {3: "ab"}

    def test_a_removed_checkpoint_is_told_where_one_has_to_be(self) -> None:
        lines = export(chain(3200), every=1000)
        assert verified(lines).ok
        left = [text for text in lines if '"checkpoint": {"seq": 2000' not in text]
        assert len(left) == len(lines) - 1
        assert found(left) == {(3000, FindingKind.REMOVED)}

    def test_many_findings_are_not_all_told(self) -> None:
        lines = [text.replace("key:a", "key:b") for text in export(chain(1500), every=1000)]
        result = verified(lines)
        assert (len(result.findings), result.complete) == (1000, False)

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            ([], "Line 1"),
            (["{"], "Line 1 cannot be used: it is not JSON"),
            (["[]"], "no JSON object"),
            (['{"entry": {}}'], "begins with"),
            (['{"audit": {"v": 2}}'], "begins with"),
            (['{"audit": {"v": 1, "key": "KEY", "project_id": "prj_1"}}'], "one project"),
            (['{"audit": {"v": 1, "key": "KEY", "project_id": null}}', '{"entry": {}}'], "Line 2"),
            (['{"audit": {"v": 1, "key": "KEY", "project_id": null}}', '{"error": {}}'], "Line 2"),
            ([*export(chain(2)), "{}"], "Line 5 cannot be used: it comes behind the end"),
        ],
    )
    def test_what_is_no_export_is_refused(self, lines: Sequence[str], message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            verified([text.replace("KEY", SIGNER.key) for text in lines])

    @given(st.data())
    def test_no_single_change_goes_unnoticed(self, data: st.DataObject) -> None:
        lines = export(chain(9))
        index = data.draw(st.integers(1, len(lines) - 1))
        name, content = next(iter(json.loads(lines[index]).items()))
        member = data.draw(st.sampled_from(sorted(content)))
        value = data.draw(st.none() | st.integers() | st.text() | st.just({"n": 2}))
        if content[member] != value:
            lines[index] = json.dumps({name: {**content, member: value}})
            assert _noticed(lines)

    @given(st.data())
    def test_no_removal_and_no_move_goes_unnoticed(self, data: st.DataObject) -> None:
        lines = export(chain(9))
        entries = [index for index, text in enumerate(lines) if '"entry"' in text]
        first, second = data.draw(st.lists(st.sampled_from(entries), min_size=2, max_size=2, unique=True))
        match data.draw(st.sampled_from(("remove", "swap", "move", "repeat", "exchange"))):
            case "remove":
                del lines[first]
            case "swap":
                lines[first], lines[second] = lines[second], lines[first]
            case "move":
                lines.insert(second, lines.pop(first))
            case "repeat":
                lines.insert(second, lines[first])
            case "exchange":  # of all but the numbers
                one, other = (json.loads(lines[index])["entry"] for index in (first, second))
                lines[first] = json.dumps({"entry": {**other, "seq": one["seq"]}})
                lines[second] = json.dumps({"entry": {**one, "seq": other["seq"]}})
        assert _noticed(lines)

    def test_what_was_moved_is_told_from_what_was_changed(self) -> None:
        entries = chain(6)
        entries[1], entries[2] = replace(entries[2], seq=2), replace(entries[1], seq=3)
        kinds = {each.seq: each.kind for each in verified(export(entries, every=9)).findings}
        assert kinds[2] is kinds[3] is FindingKind.REORDERED


def _noticed(lines: Sequence[str]) -> bool:
    try:
        return not verified(lines).ok
    except InvalidInput:
        return True


def test_a_document_has_all_of_an_entry() -> None:
    (entry,) = chain(1)
    names = set(document(entry))
    assert names == {"v", "seq", "at", "previous", *AuditEvent.__slots__}
