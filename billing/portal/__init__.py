"""The owner's usage page: by a one-time link, in a browser, without JavaScript."""
