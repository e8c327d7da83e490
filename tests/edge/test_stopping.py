"""SIGTERM: what was taken in is answered, what comes later is not, and the process ends."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.conf import settings

from tests.edge.gate import APPLICATION, Gate
from tests.edge.test_crowds import checks, gets, known, of
from tests.edge.wire import PATIENCE, head, wire
from tests.support.live import env_of_web, web

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_was_taken_in_before_sigterm_is_answered_and_then_the_process_ends_well(
    tmp_path: Path,
) -> None:
    gate = Gate(tmp_path)
    env = env_of_web(
        GATE=str(tmp_path), PUBLIC_URL=settings.PUBLIC_URL, ALLOWED_HOSTS="metergate.example.com"
    )
    with web(env, application=APPLICATION) as live, ExitStack() as stack:
        org = known(live)
        gate.close()
        stack.callback(gate.open)
        idle = stack.enter_context(wire(live))
        body = b'{"orgId": "%s", "metric": "api_call"}' % org.id.encode()
        slow = stack.enter_context(wire(live))
        about = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        slow.send(head("POST", "/api/quota/check", *of(org, *about)), body[:5])
        requests = [checks(org, "X-Held: hot")] * (settings.WEB_HOT_THREADS + 3)
        requests += [gets("/api/me/entitlements", org, "X-Held: wide")] * 4
        links = [stack.enter_context(wire(live)) for _ in requests]
        for link, request in zip(links, requests, strict=True):
            link.send(request)
        gate.wait_for(hot=settings.WEB_HOT_THREADS // 2, wide=1)

        assert live.process is not None
        live.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while live.is_listening():
            assert time.monotonic() < end
            time.sleep(0.05)
        slow.send(body[5:])
        gate.open()

        assert [link.receive().status for link in [*links, slow]] == [200] * (len(links) + 1)
        assert idle.is_closed()
        assert live.process.wait(PATIENCE) == 0
