"""Reads and writes what we make: CAMs, masks, manifests, run records, reports."""
