"""Mask generators, one file each, behind one small protocol: images in, class scores and maps out."""
