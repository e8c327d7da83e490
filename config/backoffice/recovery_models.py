"""What lets a member of staff in who has lost their second factor."""

from django.conf import settings
from django.db import models


class RecoveryCode(models.Model):
    """One recovery code of an account, as a hash: it lets its owner in once, after the password.

    The codes are made together and shown once; new ones take the place of all before them.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    code_hash = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"recovery code {self.pk}"
