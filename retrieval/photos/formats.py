"""Which files are photos: by suffix when a folder is searched, by their first bytes when they are opened."""

_CAMERA_RAW = "3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf rw2 rwl sr2 srf srw x3f"
_PICTURES = (
    "apng avif bmp dib gif heic heics heif heifs hif insp j2c j2k jfi jfif jif jp2 jpc jpe jpeg jpf jpg jps jpx jxl "
    "mpo pbm pgm png pnm ppm tif tiff webp"
)
_OTHER_PICTURES = (
    "afphoto ai bpg cdr cin cur dds djvu dpx emf eps exr fit fits flif hdp hdr ico jng jpm jxr kra miff pcd pct pcx "
    "pfm pict psb psd qoi ras sgi svg svgz tga wdp wmf xbm xcf xpm"
)


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


PHOTO_SUFFIXES = _suffixes(f"{_CAMERA_RAW} {_PICTURES}")
"""Suffixes, in lower case, of the files that a search of a folder takes for photos."""

UNREAD_SUFFIXES = _suffixes(_OTHER_PICTURES)
"""Suffixes of other pictures, which are counted and left out: drawings, layers of an editor, kinds that are rare."""

RAW = "camera RAW"
HEIF = "HEIF"
JPEG_XL = "JPEG XL"

NEEDED_PACKAGES = {
    "pillow_heif": "a HEIC photo, which needs: pip install 'fc7[heif]'",
    "rawpy": "a camera RAW, which needs: pip install 'fc7[raw]'",
    "pillow_jxl": "a JPEG XL photo, which needs: pip install 'fc7[jxl]'",
    "imagecodecs": "a TIFF of a rare kind, which needs: pip install 'fc7[tiff]'",
}
"""By optional package, why a photo that needs it is skipped."""

# An allow-list: a file can be named anything, and Pillow also reads formats that start other programs (EPS) or have no
# signature at all (TGA), so that any text could be one.
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    *((b"P%d%c" % (kind, space), "PPM") for kind in range(1, 7) for space in b" \t\n\r#"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"FUJIFILMCCD-RAW", RAW),
    *((magic, RAW) for magic in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),  # Olympus, then Panasonic and Leica
    *((magic, RAW) for magic in (b"II\x1a\0\0\0HEAPCCDR", b"\0MRM", b"FOVb")),  # Canon's CRW, Minolta, Sigma
    (b"\xff\x0a", JPEG_XL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
)
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"), HEIF),
    b"crx ": RAW,  # Canon's CR3
}


def photo_format(data: bytes) -> str | None:
    """Return the format of a file's bytes, in Pillow's name for it, or RAW; None for what is not a photo."""
    if data[4:8] == b"ftyp":
        # AVIF, HEIC, CR3 and most videos share one container: the major brand or a compatible one says which.
        box = data[: int.from_bytes(data[:4], "big")][:256]
        brands = [box[8:12], *(box[start : start + 4] for start in range(16, len(box), 4))]
        formats = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return min(formats, key=("AVIF", RAW, HEIF).index, default=None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] == b"II*\0" and (data[8:10] == b"CR" or data[8:12] == b"IIII"):  # Canon's CR2, Phase One's IIQ
        return RAW
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)
