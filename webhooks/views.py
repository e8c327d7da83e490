"""HTTP doors of the inbox."""

from django.http import HttpResponse
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import parse, read_raw
from config.contract.context import context_of
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens.authentication import StaffAuthentication
from tokens.permissions import needs_staff_permission
from webhooks.bodies import ReceivedAnswer, ReplayAnswer, ReplayBody, StripeEventBody
from webhooks.intake import receive
from webhooks.replay import replay

#: Bytes of an event at most.
EVENT_CAP = 512 * 1024


class StripeWebhookViewSet(ContractViewSet):
    """POST /api/webhooks/stripe."""

    @documented(
        summary="Receive an event of Stripe's",
        description="Signed by Stripe over the raw body (`Stripe-Signature`).",
        tag="webhooks",
        status=202,
        body=StripeEventBody,
        body_example={
            "id": "evt_1TQkz2Lx8yQk3v",
            "object": "event",
            "type": "customer.subscription.updated",
            "created": 1795000000,
            "livemode": False,
            "data": {"object": {"id": "sub_1TQkz2Lx8yQk3v", "object": "subscription"}},
        },
        answer=ReceivedAnswer,
        answer_example={"received": True, "eventId": "evt_1TQkz2Lx8yQk3v", "duplicate": False},
        headers=[("Stripe-Signature", "`t=<Unix seconds>,v1=<hex>`, one `v1` per secret")],
        public=True,
    )
    def receive(self, request: Request) -> HttpResponse:
        """Store the event and answer; a worker does the rest."""
        # The raw body first: nothing may have parsed what the signature is over.
        body = read_raw(request, cap=EVENT_CAP)
        received = receive(
            body,
            signature=http(request).headers.get("Stripe-Signature", ""),
            correlation_id=context_of(request).call_state.correlation_id,
            now=clock.now(),
            real_now=clock.real_now(),
        )
        response = success(
            ReceivedAnswer(received=True, event_id=received.event_id, duplicate=received.duplicate)
        )
        response.status_code = 202
        return response


class ReplayViewSet(ContractViewSet):
    """POST /api/admin/webhooks/replay."""

    authentication_classes = [StaffAuthentication]
    permission_classes = [needs_staff_permission("webhooks.replay_webhookevent")]

    @documented(
        summary="Process events again",
        description="Handled events too. Each is processed under a new correlation id.",
        tag="webhooks",
        body=ReplayBody,
        body_example={"eventIds": ["evt_1TQkz2Lx8yQk3v", "evt_unknown"]},
        answer=ReplayAnswer,
        answer_example={"enqueued": 1, "unknown": ["evt_unknown"], "alreadyQueued": []},
    )
    def create(self, request: Request) -> HttpResponse:
        """Queue them; a worker does the rest."""
        body = parse(ReplayBody, request)
        replayed = replay(body.event_ids, by=str(request.user))
        return success(
            ReplayAnswer(
                enqueued=replayed.enqueued,
                unknown=replayed.unknown,
                already_queued=replayed.already_queued,
            )
        )
