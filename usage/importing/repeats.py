"""Numbering identical lines without remembering every line.

A request logged twice in one second is two identical lines, and two events. To
number them exactly, a first pass marks each line in a Bloom filter; only a line
whose marks were all there already can be a repeat, and only those are counted
in the second pass. A false alarm costs the memory of one entry, never a wrong
number.
"""

import struct
from hashlib import blake2b

_probes = struct.Struct("<4I").unpack
_BITS_PER_LINE = 16
#: At most 512 MiB of marks.
_MOST_BITS = 32


class Repeats:
    """Ordinals of identical lines: `look` at every line first, then ask `ordinal`."""

    def __init__(self, likely_lines: int) -> None:
        wanted = (likely_lines * _BITS_PER_LINE).bit_length()
        bits = 1 << min(max(wanted, 20), _MOST_BITS)
        self._mask = bits - 1
        self._marks = bytearray(bits // 8)
        self._counts: dict[bytes, int] = {}

    def look(self, raw: bytes) -> bytes:
        """First pass: mark a line, and keep it when it may have been there before.

        Returns the line's fingerprint.
        """
        mark = fingerprint(raw)
        marks, mask, is_new = self._marks, self._mask, False
        for probe in _probes(mark):
            place, bit = (probe & mask) >> 3, 1 << (probe & 7)
            if not marks[place] & bit:
                marks[place] |= bit
                is_new = True
        if not is_new:
            self._counts[mark] = 0
        return mark

    def restart(self) -> None:
        """Second pass: number from 1 again, where another log begins in the same file."""
        self._counts = dict.fromkeys(self._counts, 0)

    def ordinal(self, raw: bytes) -> int:
        """Second pass: return which of the identical lines this is, from 1."""
        mark = fingerprint(raw)
        before = self._counts.get(mark)
        if before is None:
            return 1
        self._counts[mark] = before + 1
        return before + 1

    @property
    def kept(self) -> int:
        """How many lines are remembered one by one."""
        return len(self._counts)


def fingerprint(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=16).digest()
