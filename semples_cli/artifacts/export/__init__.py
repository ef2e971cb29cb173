"""Masks in the forms that annotation tools and training code read: one file a format, behind `protocol.py`."""
