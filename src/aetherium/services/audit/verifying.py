"""Looks at a whole log for what somebody has done to it.

Entries and checkpoints come one after another as they lie in the log, and then its end; what is kept in
memory does not grow with them. What is wrong is told where it shows:

- an entry whose hash is not that of its content was **changed**, or **reordered** if it is that of its
  content under another number;
- numbers that are missing were **removed**, ones that come twice **inserted**, ones that go down reordered;
- an entry that does not follow the one before, though both have the right hashes, or a signed hash that the
  chain does not have: from there back to the last signature that fits somebody has computed the chain anew;
- a signature for more entries than there are: the log was **truncated**;
- a signature that is none of the known keys' was **forged**; so is an end that is not signed.

Keys: those given, and those that an entry ``audit.key_changed`` names as their predecessors, which is covered
by the signatures behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aetherium.domain.audit import (
    AuditCheckpoint,
    AuditEntry,
    AuditFinding,
    AuditHead,
    AuditVerification,
    FindingKind,
)
from aetherium.services.audit.chain import GENESIS, hash_of
from aetherium.services.audit.log import CHECKPOINT_ENTRIES, INTERRUPTED, KEY_CHANGED, MOST_AT_ONCE
from aetherium.services.audit.signing import is_signed, signer_of

# Whoever has so many needs no more of them.
MOST_FINDINGS = 1000
# How far away an entry's own place is looked for.
_FAR = 100


class Verifier:
    """Call `show` for what there is, by number, then `end`.

    Args:
        keys: public keys whose signatures are right; the first one is the present one.
        outside: hashes of entries, by number, that were kept elsewhere.
    """

    def __init__(self, keys: Sequence[str], outside: Mapping[int, str] | None = None) -> None:
        self._keys = keys
        self._vouched = set(keys)
        self._strangers: dict[str, int] = {}
        self._last = AuditHead(0, GENESIS, "")
        self._entries = 0
        self._checkpoints = 0
        self._signed = 0  # up to here a signature fits
        self._findings: list[AuditFinding] = []
        self._wanted = dict(outside or {})
        self._beyond = 0

    @property
    def full(self) -> bool:
        """There are so many findings that the rest does not matter."""
        return len(self._findings) >= MOST_FINDINGS

    def show(self, item: AuditEntry | AuditCheckpoint) -> None:
        """The next one; a checkpoint behind its entry, if that is there."""
        if isinstance(item, AuditEntry):
            self._look_at_entry(item)
        else:
            self._look_at_checkpoint(item)

    def unreadable(self, after: int) -> None:
        """Something behind this number is nothing that was ever written."""
        self._find(after + 1, FindingKind.CHANGED, f"An entry or checkpoint behind {after} cannot be read.")

    def end(self, head: AuditHead | None, *, complete: bool = True) -> AuditVerification:
        """What was found."""
        if complete and not self.full:
            self._finish(head)
        for key, seq in self._strangers.items():
            if key not in self._vouched:
                what = f"The checkpoint at entry {seq} is signed by another key: {key}."
                self._find(seq, FindingKind.FORGED, what)
        found = tuple(sorted(self._findings, key=lambda finding: finding.seq))
        return AuditVerification(
            self._entries, self._checkpoints, self._keys[0], head, found, complete and not self.full
        )

    def _look_at_entry(self, entry: AuditEntry) -> None:
        self._entries += 1
        last, seq = self._last, entry.seq
        right = hash_of(entry) == entry.hash
        if seq <= last.seq:
            kind = FindingKind.INSERTED if seq == last.seq else FindingKind.REORDERED
            self._find(seq, kind, f"Entry {seq} comes behind entry {last.seq}.")
            return
        if seq > last.seq + 1:
            self._find(seq - 1, FindingKind.REMOVED, f"{_span(last.seq + 1, seq - 1)} missing.")
        elif right and entry.previous != last.hash:
            self._find(
                seq, FindingKind.CHANGED, f"Entry {seq} does not follow entry {last.seq} as it is now."
            )
        if not right:
            self._explain(entry)
        if entry.event.action == INTERRUPTED:
            why = f"Before entry {seq} the log was changed from outside: {entry.event.outcome}."
            self._find(seq, FindingKind.INTERRUPTED, why)
        elif entry.event.action == KEY_CHANGED:
            self._vouched.add(str(entry.event.data["previous"]))
        self._last = AuditHead(seq, entry.hash, "")
        if (wanted := self._wanted.pop(seq, None)) is not None:
            self._fit(seq, wanted == entry.hash)

    def _look_at_checkpoint(self, checkpoint: AuditCheckpoint) -> None:
        seq = checkpoint.seq
        if not is_signed(checkpoint):
            self._find(seq, FindingKind.FORGED, f"The signature of the checkpoint at entry {seq} is wrong.")
            return
        self._strangers.setdefault(checkpoint.key, seq)
        self._checkpoints += 1
        self._follow_up(seq)
        if seq > self._last.seq:
            self._beyond = max(self._beyond, seq)
        elif seq == self._last.seq:
            self._fit(seq, checkpoint.hash == self._last.hash)
        else:
            what = f"The checkpoint at entry {seq} comes behind entry {self._last.seq}."
            self._find(seq, FindingKind.REORDERED, what)

    def _finish(self, head: AuditHead | None) -> None:
        last = self._last
        if head is None:
            if last.seq:
                self._find(last.seq, FindingKind.TRUNCATED, "The end is missing.")
        elif signer_of(head, self._keys) is None:
            self._find(head.seq, FindingKind.FORGED, "The end is not signed by a known key.")
        elif head.seq > last.seq:
            self._beyond = max(self._beyond, head.seq)
        elif head.seq < last.seq:
            what = f"{_span(head.seq + 1, last.seq)} beyond the end."
            self._find(last.seq, FindingKind.INSERTED, what)
        else:
            self._follow_up(head.seq)
            self._fit(head.seq, head.hash == last.hash)
        self._beyond = max([self._beyond, *(seq for seq in self._wanted if seq > last.seq)])
        if self._beyond > last.seq:
            what = f"{_span(last.seq + 1, self._beyond)} missing from the end."
            self._find(self._beyond, FindingKind.TRUNCATED, what)

    def _explain(self, entry: AuditEntry) -> None:
        seq = entry.seq
        for place in range(max(1, seq - _FAR), seq + _FAR):
            if hash_of(replace(entry, seq=place)) == entry.hash:
                what = f"What is entry {seq} now was entry {place}."
                self._find(seq, FindingKind.REORDERED, what)
                return
        self._find(seq, FindingKind.CHANGED, f"Entry {seq} does not have the hash of its content.")

    def _fit(self, seq: int, fits: bool) -> None:
        if not fits:
            what = f"Of entries {self._signed + 1} to {seq} one was changed: the signed hash is another one."
            self._find(seq, FindingKind.CHANGED, what)
        self._signed = max(self._signed, seq)

    def _follow_up(self, seq: int) -> None:
        """Checkpoints are never further apart than so many entries."""
        if seq - self._signed > CHECKPOINT_ENTRIES + MOST_AT_ONCE:
            what = f"There is no checkpoint between the entries {self._signed} and {seq}."
            self._find(seq, FindingKind.REMOVED, what)

    def _find(self, seq: int, kind: FindingKind, what: str) -> None:
        if not self.full:
            self._findings.append(AuditFinding(seq, kind, what))


def _span(first: int, last: int) -> str:
    return f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
