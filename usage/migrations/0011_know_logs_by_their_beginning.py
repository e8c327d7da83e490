"""Logs that were imported are known by their first lines, whatever their files are called.

A source imported before has no row: its lines keep the names they were counted under.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0010_counters_keep_their_latest_instant")]

    operations = [
        migrations.CreateModel(
            name="ImportedLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("part", models.CharField(blank=True, default="", max_length=33)),
                (
                    "head",
                    models.TextField(help_text="Digests of the first lines, 16 hex digits each."),
                ),
                (
                    "lines",
                    models.PositiveBigIntegerField(help_text="How many lines of it were seen."),
                ),
                (
                    "tails",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="Digests of the lines that files of it ended with.",
                    ),
                ),
                (
                    "is_named",
                    models.BooleanField(
                        default=False,
                        help_text=(
                            "The operator named its source: it is known under that name only."
                        ),
                    ),
                ),
                (
                    "filters",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Which filters chose among its lines.",
                        max_length=32,
                    ),
                ),
                (
                    "is_whole",
                    models.BooleanField(
                        default=False,
                        help_text="Every line that its filters let pass was counted.",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="logs",
                        to="usage.importrun",
                    ),
                ),
            ],
        ),
    ]
