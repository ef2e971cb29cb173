"""Reads what users bring: images, labels, class lists, datasets in known layouts."""
