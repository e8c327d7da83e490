"""The voids behind one counter are found by an index.

Made while everybody works. A run that was cut off leaves an index that PostgreSQL does not
use: running again drops it first.
"""

from django.db import migrations, models

from config.contract.indexes import add_index_at_work


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("usage", "0012_voided_units_by_day")]

    operations = [
        add_index_at_work(
            "usagevoid",
            "usage_usagevoid",
            models.Index(fields=["org_id", "metric", "period_start"], name="usage_void_by_counter"),
        ),
    ]
