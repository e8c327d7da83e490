"""What stops an import, and what stops one line of it."""


class CannotImport(Exception):
    """The import cannot start, or cannot go on; the text tells the operator why.

    What was counted before stays counted: the same command goes on from there.
    """


class Unreadable(Exception):
    """One line cannot be made an event; the text is the reason in the rejects file."""
