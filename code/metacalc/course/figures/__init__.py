"""The pictures of the chapters, a module a chapter. They draw; what they show is computed by the library."""

import metacalc.stage  # noqa: F401  (where the extra `figures` is missing, says so)
