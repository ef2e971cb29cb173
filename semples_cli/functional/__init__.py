"""Pure maths: arrays in, arrays out; no disk, no device choice, no logging."""
