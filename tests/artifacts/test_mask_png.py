"""Mask PNGs: round trips, exact colours, and refusals of what holds no class indices."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from PIL import Image

from semples_cli.artifacts.mask_png import find_masks, read_mask, voc_palette, write_mask
from semples_cli.errors import ArtifactError, SettingsError


def png(values, depth, colour_type, palette=None):
    """A PNG by hand, one sample a pixel, so that no library has a say in its pixels."""
    height, width = values.shape
    rows = b""
    for row in values:
        bits = "".join(format(int(value), f"0{depth}b") for value in row)
        rows += b"\0" + int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    colours = b"" if palette is None else chunk(b"PLTE", palette)
    return b"\x89PNG\r\n\x1a\n" + header + colours + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


ALL_VALUES = np.arange(256, dtype=np.uint8).reshape(8, 32)


class TestWriteAndRead:
    @pytest.mark.parametrize("mode", ["palette", "L"])
    @pytest.mark.parametrize("size", [(1, 1), (17, 31), (256, 1)])
    def test_round_trip(self, tmp_path, mode, size):
        values = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
        write_mask(tmp_path / "a" / "b.png", values, mode)
        np.testing.assert_array_equal(read_mask(tmp_path / "a" / "b.png"), values)

    @given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
    def test_round_trip_of_anything(self, tmp_path_factory, values):
        path = tmp_path_factory.mktemp("masks") / "x.png"
        write_mask(path, values)
        np.testing.assert_array_equal(read_mask(path), values)

    def test_a_palette_mask_shows_voc_colours(self, tmp_path):
        write_mask(tmp_path / "x.png", ALL_VALUES)
        with Image.open(tmp_path / "x.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), voc_palette()[ALL_VALUES])

    def test_a_grey_mask_is_its_own_indices(self, tmp_path):
        write_mask(tmp_path / "x.png", ALL_VALUES, "L")
        with Image.open(tmp_path / "x.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), ALL_VALUES)

    def test_the_same_mask_gives_the_same_bytes(self, tmp_path):
        for name in ("x.png", "y.png"):
            write_mask(tmp_path / name, ALL_VALUES)
        assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()

    def test_a_transposed_array(self, tmp_path):
        write_mask(tmp_path / "x.png", ALL_VALUES.T)
        np.testing.assert_array_equal(read_mask(tmp_path / "x.png"), ALL_VALUES.T)

    def test_an_unknown_mode_is_refused(self, tmp_path):
        with pytest.raises(SettingsError, match="'RGB': choose palette or L"):
            write_mask(tmp_path / "x.png", ALL_VALUES, "RGB")

    @pytest.mark.parametrize("values", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8)])
    def test_what_is_no_mask_is_refused_and_nothing_written(self, tmp_path, values):
        with pytest.raises(ArtifactError, match=r"x\.png: a mask is \(height, width\) uint8"):
            write_mask(tmp_path / "x.png", values)
        assert not list(tmp_path.iterdir())


def test_voc_palette_as_published():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128)}
    published |= {20: (0, 64, 128), 255: (224, 224, 192)}
    for value, colour in published.items():
        assert tuple(palette[value]) == colour
    assert len({tuple(colour) for colour in palette.tolist()}) == 256


class TestReadKinds:
    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    def test_palettes_of_any_depth_give_their_indices(self, tmp_path, depth):
        values = (np.arange(3 * 31).reshape(3, 31) % 2**depth).astype(np.uint8)
        reversed_grey = bytes(c for v in range(2**depth) for c in (255 - v,) * 3)
        (tmp_path / "x.png").write_bytes(png(values, depth, 3, reversed_grey))
        np.testing.assert_array_equal(read_mask(tmp_path / "x.png"), values)

    @pytest.mark.parametrize("depth", [1, 2, 4])
    def test_grey_of_fewer_bits_is_refused_for_readers_rescale_it(self, tmp_path, depth):
        (tmp_path / "x.png").write_bytes(png(np.ones((2, 2), np.uint8), depth, 0))
        with pytest.raises(ArtifactError, match=rf"{depth}-bit grey PNG.*save the mask as palette or 8-bit grey"):
            read_mask(tmp_path / "x.png")

    @pytest.mark.parametrize(
        ("mode", "message"),
        [
            ("RGB", "8-bit RGB PNG"),
            ("RGBA", "8-bit RGBA PNG"),
            ("LA", "8-bit grey with alpha PNG"),
            ("I;16", "16-bit grey PNG"),
            ("1", "1-bit grey PNG"),
        ],
    )
    def test_pictures_are_refused_with_the_cure(self, tmp_path, mode, message):
        Image.new(mode, (3, 2)).save(tmp_path / "x.png")
        with pytest.raises(
            ArtifactError, match=message + ".*save the mask as palette or 8-bit grey PNG with 0 for back"
        ):
            read_mask(tmp_path / "x.png")

    def test_a_jpeg_under_a_png_name_is_refused(self, tmp_path):
        Image.new("L", (30, 30)).save(tmp_path / "x.png", "JPEG")
        with pytest.raises(ArtifactError, match=r"x\.png: this file is not a PNG"):
            read_mask(tmp_path / "x.png")


class TestDamage:
    def test_empty(self, tmp_path):
        (tmp_path / "x.png").touch()
        with pytest.raises(ArtifactError, match="is empty"):
            read_mask(tmp_path / "x.png")

    def test_missing(self, tmp_path):
        with pytest.raises(ArtifactError, match=r"x\.png: cannot read this mask: No such file"):
            read_mask(tmp_path / "x.png")

    def test_cut_off_anywhere(self, tmp_path):
        path = tmp_path / "x.png"
        values = np.random.default_rng(0).integers(0, 256, (17, 31)).astype(np.uint8)
        write_mask(path, values)
        whole = path.read_bytes()
        for length in range(0, len(whole) - 12, 7):  # the last 12 bytes only say that the file ends
            path.write_bytes(whole[:length])
            with pytest.raises(ArtifactError, match=r"x\.png: this (PNG|file) is"):
                read_mask(path)

    def test_a_flipped_byte_in_the_pixels(self, tmp_path):
        path = tmp_path / "x.png"
        write_mask(path, np.random.default_rng(0).integers(0, 256, (17, 31)).astype(np.uint8))
        whole = path.read_bytes()
        start = whole.index(b"IDAT") + 4
        for at in range(start, len(whole) - 16, 11):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(ArtifactError, match=r"this PNG is damaged .*write or fetch it again"):
                read_mask(path)

    def test_an_absurd_size_in_the_header(self, tmp_path):
        data = bytearray(png(np.zeros((2, 2), np.uint8), 8, 0))
        data[16:24] = struct.pack(">II", 100_000, 100_000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / "x.png").write_bytes(data)
        with pytest.raises(ArtifactError, match=r"100000 × 100000 pixels, more than the 178956970 .*fetch it again"):
            read_mask(tmp_path / "x.png")


class TestFindMasks:
    def test_ids_are_relative_paths_in_order(self, tmp_path):
        for name in ("b.png", "a/1.png", "a/b/2.v1.png", "C.PNG", "ü 1.png"):
            write_mask(tmp_path / name, ALL_VALUES)
        found = find_masks(tmp_path)
        assert list(found) == ["C", "a/1", "a/b/2.v1", "b", "ü 1"]
        assert found["a/1"] == tmp_path / "a" / "1.png"

    def test_what_is_no_mask_is_left_out(self, tmp_path):
        write_mask(tmp_path / "a.png", ALL_VALUES)
        write_mask(tmp_path / "a" / "overlays" / "b.png", ALL_VALUES)
        for name in (".semples/x.png", "overlays/a.png", "sub/.cache/y.png", "._a.png", "b.png.partial", "c.jpg"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        (tmp_path / "folder.png").mkdir()
        assert list(find_masks(tmp_path)) == ["a", "a/overlays/b"]

    def test_a_folder_below_a_hidden_one_can_be_given_itself(self, tmp_path):
        write_mask(tmp_path / ".hidden" / "a.png", ALL_VALUES)
        assert list(find_masks(tmp_path / ".hidden")) == ["a"]

    def test_no_folder(self, tmp_path):
        with pytest.raises(ArtifactError, match="no such folder; give the folder"):
            find_masks(tmp_path / "nowhere")

    def test_two_files_of_one_id(self, tmp_path):
        for name in ("a.png", "a.PNG"):
            write_mask(tmp_path / name, ALL_VALUES)
        if len(list(tmp_path.iterdir())) < 2:
            pytest.skip("the file system knows no case")
        with pytest.raises(ArtifactError, match="both the mask of 'a': remove one"):
            find_masks(tmp_path)


def test_pillow_itself_would_have_rescaled_four_bit_grey():
    """The reason for the refusal; if this fails one day, it can go."""
    image = Image.open(io.BytesIO(png(np.ones((1, 1), np.uint8), 4, 0)))
    assert np.asarray(image).tolist() == [[17]]
