"""Events of a metric are read newest first from wherever a page begins.

The index takes the place of the one without the id, which is dropped once it is there.
"""

from django.db import migrations, models

from config.contract.indexes import add_index_at_work, remove_index_at_work

_TABLE = ("usageevent", "usage_usageevent")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("usage", "0013_read_voids_by_counter")]

    operations = [
        add_index_at_work(
            *_TABLE,
            models.Index(
                fields=["metric", "org_id", "counted_at", "id"], name="usage_event_newest_first"
            ),
        ),
        remove_index_at_work(
            *_TABLE,
            models.Index(fields=["metric", "org_id", "counted_at"], name="usage_event_by_time"),
        ),
    ]
