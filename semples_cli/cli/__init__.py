"""The terminal: parses options, shows progress, prints results. Imports no torch before a command needs it."""
