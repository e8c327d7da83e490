"""How workers speak with the broker: a hang of it costs a message its acknowledgement, no slot."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from kombu import Connection
from kombu.transport import redis, virtual

logger = structlog.get_logger("metergate.broker")


class _QoS(redis.QoS):
    """Frees a message's slot also where the broker did not hear that it was worked off.

    kombu frees it after the broker's answer, and its caller only logs that none came:
    after as many as there are slots a worker would be deaf for ever. Where the
    connection was lost, kombu has taken the channel apart, and what it raises then
    (an AttributeError) would end the worker. In either case the message comes again
    after the visibility time-out, and does no harm.
    """

    def ack(self, delivery_tag: Any) -> None:
        with _unheard("acknowledged"):
            super().ack(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        with _unheard("rejected"):
            super().reject(delivery_tag, requeue=requeue)
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        with _unheard("restored"):
            super().restore_unacked(client)
        if self._delivered is not None:
            self._delivered.clear()


@contextmanager
def _unheard(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever kombu and its transport raise
        logger.warning("broker_did_not_hear", what=what, error=type(error).__name__)


class _Channel(redis.Channel):
    QoS = _QoS


class _Transport(redis.Transport):
    Channel = _Channel


class BrokerConnection(Connection):
    """Looks every second whether a broker that went away is back; Celery waits up to 30."""

    def get_transport_cls(self) -> Any:
        """Return our transport in place of kombu's for Valkey."""
        transport = super().get_transport_cls()
        return _Transport if transport is redis.Transport else transport

    def _ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        every_second = {"interval_start": 1, "interval_step": 0, "interval_max": 1}
        return super()._ensure_connection(*args, **{**every_second, **kwargs})
