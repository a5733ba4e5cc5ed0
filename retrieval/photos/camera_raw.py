"""Camera RAW files, by the preview that the camera put into them: developing one takes seconds."""

from io import BytesIO

from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from index.errors import PhotoError
from retrieval.photos.formats import NEEDED_PACKAGES

_NEW_SUBFILE_TYPE, _COMPRESSION, _SUB_IFDS, _DNG_VERSION = 254, 259, 330, 50706
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}  # LibRaw's flip as an EXIF orientation


def is_camera_raw(tiff: bytes) -> bool:
    """Whether a TIFF file is a camera RAW; Pillow would open many of those as the tiny thumbnail they begin with."""
    file = BytesIO(tiff)
    directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if tiff[2:3] == b"+" or tiff[3:4] == b"+" else 8))
    file.seek(directory.next or 0)
    directory.load(file)
    thumbnail_first = bool(directory.get(_NEW_SUBFILE_TYPE, 0) & 1) and _SUB_IFDS in directory
    own_compression = directory.get(_COMPRESSION, 1) not in TiffImagePlugin.COMPRESSION_INFO
    return _DNG_VERSION in directory or thumbnail_first or own_compression


def open_preview(data: bytes) -> Image.Image:
    """Return the preview in a camera RAW, not yet decoded; PhotoError where there is none, or no rawpy to find it."""
    try:
        import rawpy
    except ImportError:
        raise PhotoError(NEEDED_PACKAGES["rawpy"]) from None
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            preview, flip = raw.extract_thumb(), raw.sizes.flip
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise PhotoError("a camera RAW without a preview") from None
    if isinstance(preview.data, bytes):
        return JpegImagePlugin.jpeg_factory(BytesIO(preview.data))
    image = Image.fromarray(preview.data)
    image.getexif()[ExifTags.Base.Orientation] = _ORIENTATIONS.get(flip, 1)
    return image
