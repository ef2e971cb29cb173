"""One file per command: for each sample read, look, think, write. Steps neither load weights nor print."""
