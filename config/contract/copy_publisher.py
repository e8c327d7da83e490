"""Puts fields into the copy: newer ones only, and not after their time."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import redis
from django.conf import settings

from config.contract.server_clock import ServerClock
from config.contract.wire import Wire

ORDER_WIDTH = 44
#: Seconds after which Valkey ignores a publish. Longer than anybody waits for it; not
#: much, since what was written meanwhile is newer.
_TAKEN_WITHIN = 0.5

# Fields only if newer. The key's life starts when it is made and nothing
# prolongs it: a field whose publish was lost must die in time. Answers the time
# in milliseconds, negative where the publish came too late.
_SCRIPT = """
local width = tonumber(ARGV[1])
local life = tonumber(ARGV[2])
local where = ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[4]) then
  return -now
end
if where == 'beside' then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > life + 5 then  -- the clocks of both sides tick in milliseconds
    return now
  end
end
for i = 5, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  local missing = not held and where ~= 'over'
  if missing or held and string.sub(held, 1, width) < string.sub(ARGV[i + 1], 1, width) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], life)
end
return now
"""
_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Field:
    """One field to publish. The higher `(epoch, major, minor)` wins."""

    name: str
    epoch: int
    major: int
    minor: int
    payload: bytes

    def packed(self) -> bytes:
        """Return the order, sortable as text, and the payload."""
        return b"%08d%018d%018d" % (self.epoch, self.major, self.minor) + self.payload


class Where(StrEnum):
    """What a publish may make: a key; a field in a key that is old enough; nothing at all."""

    ANYWHERE = "anywhere"
    BESIDE = "beside"
    OVER = "over"


def key_of(org_id: str) -> str:
    """Return the key of an organisation's copy."""
    return f"o:{{{org_id}}}"


class Publisher:
    """Runs the script that compares and replaces. Its methods raise redis.RedisError.

    `known_at`, by `time.monotonic()`, is when the fields were known to be the
    newest: a key that is made of them dies `COPY_TTL` later.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._clock = ServerClock()

    def publish(
        self,
        org_id: str,
        fields: Iterable[Field],
        *,
        known_at: float,
        where: Where = Where.ANYWHERE,
    ) -> bool:
        """Publish fields of one organisation. Returns False where Valkey refused them as late."""
        # Twice: where its clock was set, the first answer told so.
        return any(self._run(org_id, fields, known_at, where) for _ in range(2))

    def publish_many(self, fields: Mapping[str, Iterable[Field]], *, known_at: float) -> None:
        """Publish fields of many organisations at once, each for itself and without a word."""
        sent_at, server_time = self._now()
        commands = [
            (
                "EVALSHA",
                _SCRIPT_SHA,
                *_arguments(org_id, found, sent_at - known_at, server_time, Where.ANYWHERE),
            )
            for org_id, found in fields.items()
        ]
        answers = self._wire.ask_all(commands)
        if any(isinstance(one, redis.exceptions.NoScriptError) for one in answers):
            self._wire.ask("SCRIPT", "LOAD", _SCRIPT)
            answers = self._wire.ask_all(commands)
        times = [abs(one) for one in answers if isinstance(one, int)]
        if times:
            self._learn(max(times) / 1000, sent_at)

    def meet(self) -> None:
        """Learn the time of the server that answers now, which may be another than before."""
        self._ask_time()

    def _run(self, org_id: str, fields: Iterable[Field], known_at: float, where: Where) -> bool:
        sent_at, server_time = self._now()
        arguments = _arguments(org_id, fields, sent_at - known_at, server_time, where)
        try:
            answer = self._wire.ask("EVALSHA", _SCRIPT_SHA, *arguments)
        except redis.exceptions.NoScriptError:
            answer = self._wire.ask("EVAL", _SCRIPT, *arguments)
        self._learn(abs(answer) / 1000, sent_at)
        return bool(answer > 0)

    def _now(self) -> tuple[float, float]:
        """Return the time, ours and Valkey's."""
        ahead = self._clock.ahead
        if ahead is None:
            ahead = self._ask_time()
        now = time.monotonic()
        return now, now + ahead

    def _ask_time(self) -> float:
        sent_at = time.monotonic()
        seconds, microseconds = self._wire.ask("TIME")
        return self._learn(int(seconds) + int(microseconds) / 1_000_000, sent_at)

    def _learn(self, server_time: float, sent_at: float) -> float:
        return self._clock.learn(server_time, sent_at=sent_at, received_at=time.monotonic())


def _arguments(
    org_id: str, fields: Iterable[Field], age: float, server_time: float, where: Where
) -> list[bytes | int | str]:
    arguments: list[bytes | int | str] = [
        1,
        key_of(org_id),
        ORDER_WIDTH,
        int((settings.COPY_TTL - age) * 1000),
        where.value,
        int((server_time + _TAKEN_WITHIN) * 1000),
    ]
    for field in fields:
        arguments += (field.name, field.packed())
    return arguments
