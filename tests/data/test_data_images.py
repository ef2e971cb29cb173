import io
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from semples_cli.data.images import read_image, read_image_size
from semples_cli.errors import DataError

# Upright: 2 high, 3 wide, six colours that nearest or lossless formats keep.
UPRIGHT = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [0, 0, 0]]],
    np.uint8,
)

# EXIF value → what a camera held that way would have stored, written out by hand as rows of UPRIGHT's pixels a..f.
STORED = {
    1: ["abc", "def"],
    2: ["cba", "fed"],
    3: ["fed", "cba"],
    4: ["def", "abc"],
    5: ["ad", "be", "cf"],
    6: ["cf", "be", "ad"],
    7: ["fc", "eb", "da"],
    8: ["da", "eb", "fc"],
}
PIXELS = dict(zip("abcdef", UPRIGHT.reshape(6, 3), strict=True))


def stored(orientation):
    return np.array([[PIXELS[letter] for letter in row] for row in STORED[orientation]], np.uint8)


def save(path, array, mode=None, **how):
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **how)
    return path


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_every_exif_orientation_is_applied(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", stored(orientation), exif=exif, **how)
    np.testing.assert_array_equal(read_image(path), UPRIGHT)
    assert read_image_size(path) == (2, 3)


@pytest.mark.parametrize("orientation", STORED)
def test_jpeg_orientation_is_applied_too(tmp_path, orientation):
    big = np.kron(stored(orientation), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", big, quality=100, subsampling=0, exif=exif)
    image = read_image(path)
    assert image.shape == (32, 48, 3)
    centres = image[8::16, 8::16].astype(int)
    assert np.abs(centres - UPRIGHT).max() <= 3
    assert read_image_size(path) == (32, 48)


def test_exif_behind_the_pixels_of_a_png_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = save(tmp_path / "a.png", stored(6), exif=exif).read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    chunk, others = content[start:end], content[:start] + content[end:]
    path = tmp_path / "late.png"
    path.write_bytes(others[:-12] + chunk + others[-12:])
    np.testing.assert_array_equal(read_image(path), UPRIGHT)
    assert read_image_size(path) == (2, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.gif"])
def test_the_size_is_read_without_decoding(tmp_path, name, monkeypatch):
    path = save(tmp_path / name, UPRIGHT)

    def load(self):
        pytest.fail("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert read_image_size(path) == (2, 3)


def test_an_orientation_that_does_not_exist_changes_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    path = save(tmp_path / "a.png", UPRIGHT, exif=exif)
    np.testing.assert_array_equal(read_image(path), UPRIGHT)
    assert read_image_size(path) == (2, 3)


def test_the_array_is_contiguous_writable_uint8(tmp_path):
    for name, mode in (("a.png", "RGB"), ("b.png", "L"), ("c.png", "RGBA")):
        image = read_image(save(tmp_path / name, UPRIGHT, mode))
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert image.flags.writeable
        image[0, 0] = 1


RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_sixteen_bit_ramp_stays_a_ramp(tmp_path, name):
    path = save(tmp_path / name, RAMP)
    expected = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(read_image(path), np.repeat(expected[..., None], 3, axis=2))


def test_sixteen_bits_are_rounded_to_the_nearest_level(tmp_path):
    path = save(tmp_path / "a.png", np.array([[128, 129, 385, 386, 65406, 65407]], np.uint16))
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [0, 1, 1, 2, 254, 255])


def test_big_endian_sixteen_bit_is_scaled(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 16 16 65535\n" + RAMP.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(path)[..., 0], np.arange(256).reshape(16, 16))
    path = tmp_path / "b.tif"
    Image.frombytes("I;16B", (16, 16), RAMP.astype(">u2").tobytes()).save(path)
    np.testing.assert_array_equal(read_image(path)[..., 0], np.arange(256).reshape(16, 16))


def test_thirty_two_bit_integers_within_sixteen_bits_are_scaled(tmp_path):
    path = save(tmp_path / "a.tif", RAMP.astype(np.int32))
    np.testing.assert_array_equal(read_image(path)[..., 1], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_beyond_sixteen_bits_are_refused(tmp_path, value):
    path = save(tmp_path / "a.tif", np.full((2, 2), value, np.int32))
    with pytest.raises(DataError, match=r"a\.tif: pixel values .* do not fit 16 bits; convert it to 8"):
        read_image(path)


def test_floating_point_pixels_are_refused_with_the_reason(tmp_path):
    path = save(tmp_path / "a.tif", np.full((2, 2), 0.5, np.float32))
    with pytest.raises(DataError, match=r"a\.tif: floating-point pixels have no agreed range; convert"):
        read_image(path)


def test_sixteen_bit_images_are_turned_too(tmp_path):
    values = np.array([[0, 257, 514], [771, 1028, 65535]], np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", np.rot90(values), exif=exif)
    np.testing.assert_array_equal(read_image(path)[..., 0], [[0, 1, 2], [3, 4, 255]])


def test_alpha_is_composited_on_white(tmp_path):
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    image = read_image(save(tmp_path / "a.png", pixels))
    np.testing.assert_array_equal(image, [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]])


def test_grey_alpha_is_composited_on_white(tmp_path):
    pixels = np.array([[[100, 255], [100, 0], [0, 51]]], np.uint8)
    path = tmp_path / "a.png"
    Image.frombytes("LA", (3, 1), pixels.tobytes()).save(path)
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [100, 255, 204])


def palette_image():
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_a_transparent_palette_entry_is_white(tmp_path, transparency):
    path = tmp_path / "a.png"
    palette_image().save(path, transparency=transparency)
    np.testing.assert_array_equal(read_image(path), [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]])


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp", "a.tif"])
def test_a_palette_is_looked_up(tmp_path, name):
    path = tmp_path / name
    palette_image().save(path)
    np.testing.assert_array_equal(read_image(path), [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])


def test_a_transparent_colour_of_an_rgb_image_is_white(tmp_path):
    path = save(tmp_path / "a.png", UPRIGHT, transparency=(0, 255, 0))
    expected = UPRIGHT.copy()
    expected[0, 1] = 255
    np.testing.assert_array_equal(read_image(path), expected)


def test_cmyk_is_converted(tmp_path):
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, 8:, 1] = 255  # magenta
    path = tmp_path / "a.tif"
    Image.frombytes("CMYK", (16, 16), ink.tobytes()).save(path)
    image = read_image(path)
    np.testing.assert_array_equal(image[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(image[0, 15], [255, 0, 255])
    path = tmp_path / "a.jpg"
    Image.frombytes("CMYK", (16, 16), ink.tobytes()).save(path, quality=100)
    assert np.abs(read_image(path)[0, 15].astype(int) - [255, 0, 255]).max() <= 3


def test_one_bit_and_grey_are_converted(tmp_path):
    bits = np.array([[0, 255, 255], [255, 0, 0]], np.uint8)
    for name, mode in (("a.png", "1"), ("b.tif", "1"), ("c.png", "L")):
        image = read_image(save(tmp_path / name, bits, mode))
        np.testing.assert_array_equal(image, np.repeat(bits[..., None], 3, axis=2))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_only_the_first_frame_is_read(tmp_path, name):
    frames = [Image.fromarray(np.full((4, 5, 3), value, np.uint8)) for value in (255, 0)]
    how = {"lossless": True} if name == "a.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **how)
    image = read_image(tmp_path / name)
    assert image.shape == (4, 5, 3)
    assert (image == 255).all()


NOISE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif", "a.gif", "a.webp", "a.ppm"])
def test_a_truncated_file_is_refused_not_half_read(tmp_path, name, share):
    path = save(tmp_path / name, NOISE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=rf"{name}: .*take it out of the folder"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"\0" * 100])
@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_what_is_no_image_is_refused(tmp_path, content, read):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: .*take it out of the folder"):
        read(path)


@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_a_missing_file_is_said_to_be_missing(tmp_path, read):
    with pytest.raises(DataError, match=r"gone\.png: no such image; correct the path"):
        read(tmp_path / "gone.png")


@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_a_folder_is_no_image(tmp_path, read):
    with pytest.raises(DataError, match="take it out of the folder"):
        read(tmp_path)


def test_max_pixels_is_checked_before_anything_is_decoded(tmp_path):
    path = save(tmp_path / "a.png", NOISE)
    damaged = path.read_bytes()[:200]  # the header is whole, the pixels are not
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"64 × 48 is 3072 pixels, more than the 3071 allowed.*--max-pixels 3072"):
        read_image(path, max_pixels=3071)
    assert read_image(save(path, NOISE), max_pixels=3072).shape == (64, 48, 3)


def bomb(path, side):
    """A PNG whose header promises side × side pixels, and whose data holds none."""
    save(path, NOISE[:1, :1])
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("side", [10_001, 14_000, 60_000])
def test_a_decompression_bomb_is_refused_by_us_without_pillows_warning(tmp_path, side):
    limit = Image.MAX_IMAGE_PIXELS
    path = bomb(tmp_path / "a.png", side)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="--max-pixels"):
            read_image(path)
        assert read_image_size(path) == (side, side)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_an_image_beyond_pillows_limit_is_read_where_it_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = save(tmp_path / "a.png", NOISE)
    np.testing.assert_array_equal(read_image(path), NOISE)


def test_threads_leave_pillows_limit_as_it_was(tmp_path):
    path = save(tmp_path / "a.png", NOISE)
    limit = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(read_image_size, [path] * 400))
    assert sizes == [(64, 48)] * 400
    assert limit is not None
    assert limit == Image.MAX_IMAGE_PIXELS


def test_unicode_and_upper_case_names(tmp_path):
    path = save(tmp_path / "Füße 図.PNG", UPRIGHT)
    np.testing.assert_array_equal(read_image(path), UPRIGHT)


def test_one_pixel_and_odd_sizes(tmp_path):
    for height, width in ((1, 1), (17, 31)):
        path = save(tmp_path / f"{height}.png", np.zeros((height, width, 3), np.uint8))
        assert read_image(path).shape == (height, width, 3)
        assert read_image_size(path) == (height, width)


def image_or_message(path):
    try:
        return read_image(path, max_pixels=1_000_000)
    except DataError as error:
        return str(error)


@pytest.fixture(scope="module")
def damaged_path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "a"


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "TIFF", "GIF"]), data=st.data())
def test_damage_anywhere_gives_an_image_or_a_data_error(damaged_path, kind, data):
    buffer = io.BytesIO()
    Image.fromarray(NOISE[:8, :8]).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] ^= data.draw(st.integers(1, 255))
    damaged_path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd tags, which is no error
        outcome = image_or_message(damaged_path)
    assert outcome.startswith(str(damaged_path)) if isinstance(outcome, str) else outcome.dtype == np.uint8
