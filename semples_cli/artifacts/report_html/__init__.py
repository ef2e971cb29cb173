"""The report as one HTML page that needs nothing else: template, style and script, plots, thumbnails."""

DEFAULT_GALLERY = 2000
"""Images that a page shows unless told otherwise; about 10 MB a thousand."""
