"""Which worker carries out which kind of change.

A worker runs with no transaction open. It first looks at the subscription as it
is now: after a crash or a lost answer the change may already be there, and then
there is nothing to ask. Imported by whoever runs the engine.
"""

from billing.changes import beginnings, endings, engine, schedules, upgrades
from billing.models import Operation

engine.WORKERS.update(
    {
        Operation.Kind.UPGRADE: upgrades.upgrade,
        Operation.Kind.DOWNGRADE: schedules.downgrade,
        Operation.Kind.KEEP_PLAN: schedules.keep_plan,
        Operation.Kind.CANCEL: endings.cancel,
        Operation.Kind.RESUME: endings.resume,
        Operation.Kind.SUBSCRIBE: beginnings.subscribe,
        Operation.Kind.CHECKOUT: beginnings.open_checkout,
    }
)
