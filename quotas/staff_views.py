"""HTTP doors of staff to the quotas."""

from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import parse
from config.contract.doorbell import ring
from config.contract.idempotency import answer_once, key_of
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
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
        keyed=True,
        answer=ResetAnswer,
        answer_example={
            "updated": 1,
            "queued": 0,
            "periodKey": "2026-11",
            "dryRun": True,
            "wouldForgive": [],
        },
        errors=(409,),
    )
    def create(self, request: Request) -> HttpResponse:
        """Open the current period's counters; forced, forgive what was used in them.

        With an Idempotency-Key a repeat is answered as the first was, and forgives
        nothing more.
        """
        key = key_of(http(request))
        body = parse(ResetBody, request)
        if body.metric is not None:
            catalogue.require(body.metric)
        asked = ResetAsked(
            org_ids=tuple(dict.fromkeys(body.org_ids)),
            metric=body.metric,
            force=body.force,
            reason=body.reason,
        )
        who = str(request.user)
        answer, is_repeat = answer_once(
            # Keys of one member of staff mean nothing in another's requests.
            scope=f"admin/quotas/reset:{who}",
            key=key,
            body=body,
            act=lambda act_id: msgspec.to_builtins(
                _reset(asked, dry_run=body.dry_run, who=who, act_id=act_id)
            ),
            now=clock.real_now(),
        )
        return success(
            msgspec.convert(answer, ResetAnswer),
            headers={"Idempotent-Replayed": "true"} if is_repeat else None,
        )


def _reset(asked: ResetAsked, *, dry_run: bool, who: str, act_id: UUID | None) -> ResetAnswer:
    now = clock.now()
    updated = queued = 0
    overwritten: list[Overwritten] | None = None
    if dry_run:
        updated, found = resets.preview(asked=asked, now=now)
        overwritten = [Overwritten(row.org_id, row.metric, row.used) for row in found]
    elif (scope := resets.scope_of(asked)) > resets.MOST_AT_ONCE:
        # Nothing is lost where nobody hears it: beat opens periods every hour anyway.
        queued = scope if ring(reset_all, asked.metric or "") else 0
    else:
        updated = resets.reset(asked=asked, who=who, now=now, act_id=act_id)
    return ResetAnswer(
        updated=updated,
        queued=queued,
        period_key=f"{now:%Y-%m}",
        dry_run=dry_run,
        would_forgive=overwritten,
    )
