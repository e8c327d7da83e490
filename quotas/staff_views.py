"""HTTP doors of staff to the quotas."""

from django.http import HttpResponse
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import parse
from config.contract.doorbell import ring
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet
from quotas import catalogue, resets
from quotas.bodies import Overwritten, ResetAnswer, ResetBody
from quotas.resets import ResetAsked
from quotas.tasks import reset_all
from tokens.authentication import StaffAuthentication
from tokens.permissions import needs_staff_permission


class ResetViewSet(ContractViewSet):
    """POST /api/admin/quotas/reset."""

    authentication_classes = [StaffAuthentication]
    permission_classes = [needs_staff_permission("quotas.reset_usagecounter")]

    @documented(
        summary="Reset quotas",
        tag="staff",
        body=ResetBody,
        body_example={
            "dryRun": True,
            "orgIds": ["org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C"],
            "force": True,
            "reason": "Our gateway looped",
        },
        answer=ResetAnswer,
        answer_example={
            "updated": 1,
            "queued": 0,
            "periodKey": "2026-11",
            "dryRun": True,
            "wouldForgive": [],
        },
        errors=(413, 415),
    )
    def create(self, request: Request) -> HttpResponse:
        """Open the current period's counters; forced, forgive what was used in them."""
        body = parse(ResetBody, request)
        if body.metric is not None:
            catalogue.require(body.metric)
        asked = ResetAsked(
            org_ids=tuple(dict.fromkeys(body.org_ids)),
            metric=body.metric,
            force=body.force,
            reason=body.reason,
        )
        now = clock.now()
        updated = queued = 0
        overwritten: list[Overwritten] | None = None
        if body.dry_run:
            updated, found = resets.preview(asked=asked, now=now)
            overwritten = [Overwritten(one.org_id, one.metric, one.used) for one in found]
        elif (scope := resets.scope_of(asked)) > resets.MOST_AT_ONCE:
            # Nothing is lost where nobody hears it: beat opens periods every hour anyway.
            queued = scope if ring(reset_all, body.metric or "") else 0
        else:
            updated = resets.reset(asked=asked, who=str(request.user), now=now)
        return success(
            ResetAnswer(
                updated=updated,
                queued=queued,
                period_key=f"{now:%Y-%m}",
                dry_run=body.dry_run,
                would_forgive=overwritten,
            )
        )
