"""What the fixtures of conftest.py are made of; apart from it, because each room has a conftest of that name."""

CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
CLASSES = ("boat", "cat", "dog")
# Image id → (height, width), classes.
PHOTOS = {
    "a/1": ((24, 40), ("cat",)),
    "a/2": ((24, 40), ("boat", "dog")),
    "b": ((40, 24), ("dog",)),
    "empty": ((17, 31), ()),
    "one": ((24, 40), ("boat",)),
}
