"""What was denied, kept so that support finds the decision again."""

from django.db import models
from django.db.models import F, Q


class Code(models.TextChoices):
    """Why a use was denied, in the words of the API."""

    PAYMENT_REQUIRED = "PAYMENT_REQUIRED", "Payment required"
    RATE_LIMITED = "RATE_LIMITED", "Quota exceeded"


class Denial(models.Model):
    """The denials of one counter at one version, with one code, in one minute.

    `used` and `included` (grants counted in) are the numbers of the newest of them.
    Where nothing was ever granted there is no counter: no period, version 0. Instants
    are the installation's. Rows are forgotten after `DENIAL_DAYS`.
    """

    org_id = models.CharField(max_length=30)
    metric = models.CharField(max_length=64)
    code = models.CharField(max_length=16, choices=Code)
    minute = models.DateTimeField()
    counter_version = models.BigIntegerField(default=0)
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    period_key = models.CharField(max_length=16, blank=True)
    used = models.BigIntegerField(null=True, blank=True)
    included = models.BigIntegerField(null=True, blank=True)
    count = models.PositiveBigIntegerField()
    first_at = models.DateTimeField()
    first_request_id = models.CharField(max_length=128, blank=True)
    first_correlation_id = models.CharField(max_length=128, blank=True)
    last_at = models.DateTimeField()
    last_request_id = models.CharField(max_length=128, blank=True)
    last_correlation_id = models.CharField(max_length=128, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "metric", "minute", "code", "counter_version", "period_start"],
                name="denial_one_per_minute",
                nulls_distinct=False,
            ),
        ]
        indexes = [
            # Forgetting what is old.
            models.Index(fields=["minute"], name="denial_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.org_id} {self.metric} {self.minute:%Y-%m-%d %H:%M} x{self.count}"

    @property
    def remaining(self) -> int | None:
        """Units that were left, never negative; None where there was no counter."""
        if self.used is None or self.included is None:
            return None
        return max(0, self.included - self.used)


class DeniedRequestQuerySet(models.QuerySet["DeniedRequest"]):
    """Denied requests by what a customer quotes."""

    def known_as(self, quoted: str) -> "DeniedRequestQuerySet":
        """Keep those whose request, correlation or use id this is: three index look-ups."""
        return self.filter(
            Q(request_id=quoted)
            | Q(correlation_id=quoted) & ~Q(correlation_id=F("request_id"))
            | Q(use_id=quoted) & ~Q(use_id="")
        )


class DeniedRequest(models.Model):
    """One denied use by its ids: what a customer quotes is found here.

    Of each `Denial` the first `DENIAL_REQUESTS` are kept. `use_id` is the
    `request_id` that the client gave the use it reported.
    """

    denial = models.ForeignKey(Denial, on_delete=models.CASCADE, related_name="requests")
    at = models.DateTimeField()
    value = models.PositiveBigIntegerField()
    door = models.CharField(max_length=10)
    decided_by = models.CharField(max_length=10)
    request_id = models.CharField(max_length=128, blank=True)
    correlation_id = models.CharField(max_length=128, blank=True)
    use_id = models.CharField(max_length=128, blank=True)

    objects = DeniedRequestQuerySet.as_manager()

    class Meta:
        indexes = [
            # Each of the ids by which support looks for a denial; the correlation id
            # is most often the request id and then stands in one index only.
            models.Index(fields=["request_id"], name="denied_by_request"),
            models.Index(
                fields=["correlation_id"],
                condition=~Q(correlation_id=F("request_id")),
                name="denied_by_correlation",
            ),
            models.Index(fields=["use_id"], condition=~Q(use_id=""), name="denied_by_use"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id or self.use_id} at {self.at:%Y-%m-%d %H:%M:%S}"
