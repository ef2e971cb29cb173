"""CAMs that other projects wrote: recognised, read without running anything in them, brought to our class numbers."""
