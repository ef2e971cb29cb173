"""The built-in world: a renderer with exact ground truth, and a tiny CLIP trained on it."""
