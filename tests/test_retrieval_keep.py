"""Which photo of a group is kept and why, on pictures whose history is known; and what people say of groups."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from index.catalog.different import Pair, pairs_of
from index.errors import PhotoIndexError
from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from retrieval.duplicates.apart import kept_apart
from retrieval.duplicates.find import find_duplicates
from retrieval.duplicates.keep import CRITERIA, DuplicateGroup, DuplicatePhoto, best_first
from retrieval.duplicates.quality import Quality, compression_step, judge
from retrieval.indexing.index_folders import index_folders
from retrieval.indexing.rebuild import rebuild_index
from retrieval.models.model import Model

Resampling = Image.Resampling
PICTURES = {
    name: Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((300, 200), Resampling.LANCZOS)
    for name in ("astronaut", "chelsea", "coffee", "rocket")
}
pictures = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


def saved(image: Image.Image, quality: int | None = None, *, camera: tuple[int, int] | None = None) -> bytes:
    """Return a JPEG of a quality, or a PNG; with EXIF data as of a camera whose pictures have so many pixels."""
    exif = Image.Exif()
    if camera:
        exif[0x010F], exif[0x0110] = "Canon", "EOS 5D"
        exif.get_ifd(0x8769).update({0xA002: camera[0], 0xA003: camera[1]})
    file = BytesIO()
    image.save(file, "JPEG" if quality else "PNG", exif=exif, **({"quality": quality} if quality else {}))
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def photo(name: str, data: bytes | None = None, **changes: object) -> DuplicatePhoto:
    quality = None if data is None else judge(data)
    made = DuplicatePhoto(Path("/photos", name), 1, 1, 100, 0, False, False, quality=quality)
    return replace(made, **changes)  # type: ignore[arg-type]


def kept(*photos: DuplicatePhoto, keep_in: Sequence[Path] = ()) -> tuple[str, tuple[str, ...]]:
    """Return the best photo and why, which is the same in whatever order they come."""
    [answer] = {
        (photos[order[numbers[0]]].path.relative_to("/photos").as_posix(), because)
        for order in permutations(range(len(photos)))
        for numbers, because in [best_first({place: photos[number] for place, number in enumerate(order)}, keep_in)]
    }
    return answer


@pictures
def test_an_enlarged_thumbnail_loses_against_its_smaller_original(picture: Image.Image) -> None:
    thumbnail = opened(saved(picture.resize((75, 50), Resampling.LANCZOS), 85))
    enlarged = photo("a/enlarged.jpg", saved(thumbnail.resize((1200, 800), Resampling.BICUBIC), 95), size=9999)
    assert kept(enlarged, photo("original.jpg", saved(picture, 80))) == ("original.jpg", ("detail",))


@pictures
@pytest.mark.parametrize("way", [Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS])
def test_an_original_is_better_than_the_same_enlarged(picture: Image.Image, way: Resampling) -> None:
    enlarged = photo("a/enlarged.jpg", saved(picture.resize((600, 400), way), 95))
    assert kept(enlarged, photo("original.jpg", saved(picture, 80))) == ("original.jpg", ("not_enlarged",))


@pictures
def test_an_original_is_better_than_the_same_made_smaller_or_cropped(picture: Image.Image) -> None:
    original = photo("original.jpg", saved(picture, 85))
    half = photo("a/half.jpg", saved(picture.resize((150, 100), Resampling.LANCZOS), 95))
    assert kept(original, half) == ("original.jpg", ("detail",))
    cropped = photo("a/cropped.jpg", saved(picture.crop((15, 10, 285, 190)), 85))
    assert kept(original, cropped)[0] == "original.jpg"


def test_a_frame_is_no_part_of_a_picture() -> None:
    framed = Image.new("RGB", (400, 300), "white")
    framed.paste(PICTURES["coffee"], (48, 48))
    assert judge(saved(framed)).pixels == pytest.approx(300 * 200, rel=0.08)
    older = photo("original.png", saved(PICTURES["coffee"]), mtime_ns=0)
    assert kept(older, photo("framed.png", saved(framed), mtime_ns=1)) == ("original.png", ("age",))


@pictures
def test_what_jpeg_took_is_seen_after_it_was_saved_again(picture: Image.Image) -> None:
    coarse = opened(saved(picture, 60))
    turned = np.asarray(opened(saved(picture.crop((0, 0, 293, 197)), 60)).transpose(Image.Transpose.ROTATE_180))
    steps = [judge(data).step for data in (saved(coarse, 60), saved(coarse, 97), saved(coarse))]
    assert steps[0] == steps[1] == steps[2] > 5
    assert compression_step(np.asarray(Image.fromarray(turned).convert("L"))) > 5
    assert judge(saved(picture)).step == 1
    original = photo("original.jpg", saved(picture, 90))
    assert kept(original, photo("a.jpg", saved(picture, 60))) == ("original.jpg", ("compression",))
    assert kept(original, photo("a.jpg", saved(coarse, 97))) == ("original.jpg", ("compression",))
    assert kept(original, photo("a.png", saved(coarse))) == ("original.jpg", ("compression",))


@pictures
def test_what_was_never_a_jpeg_is_better(picture: Image.Image) -> None:
    assert kept(photo("a.jpg", saved(picture, 95)), photo("long name.png", saved(picture))) == (
        "long name.png",
        ("format",),
    )


def test_camera_data_tell_the_original_from_a_copy() -> None:
    picture = PICTURES["coffee"]
    original = photo("original.jpg", saved(picture, 85, camera=(300, 200)))
    assert kept(original, photo("a.jpg", saved(picture, 85))) == ("original.jpg", ("camera",))
    assert kept(original, photo("a.png", saved(opened(saved(picture, 97))))) == ("original.jpg", ("camera",))
    # Made smaller by a program that kept the EXIF data of the original: they are of a picture of another size.
    smaller = saved(picture.resize((270, 180)), 95, camera=(300, 200))
    assert not judge(smaller).camera
    assert kept(original, photo("a.jpg", smaller)) == ("original.jpg", ("camera",))


def test_camera_data_that_are_damaged_are_none() -> None:
    data = saved(PICTURES["coffee"], 85, camera=(300, 200))
    assert judge(data).camera
    assert not judge(data.replace(b"Canon\0", b"\0\0\0\0\0\0").replace(b"EOS 5D", b"\0\0\0\0\0\0")).camera


def test_heic_of_a_camera_is_better_than_a_jpeg_made_of_it() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    pillow_heif.register_heif_opener()
    picture, file = PICTURES["chelsea"], BytesIO()
    exif = Image.open(BytesIO(saved(picture, 85, camera=(300, 200)))).info["exif"]
    picture.save(file, "HEIF", quality=80, exif=exif)
    jpeg = saved(opened(file.getvalue()), 95, camera=(300, 200))
    heic = photo("long name.heic", file.getvalue())
    assert kept(heic, photo("a.jpg", jpeg, size=10 * len(file.getvalue()))) == ("long name.heic", ("format",))


def test_camera_raw_comes_first() -> None:
    better = Quality(raw=False, detail=1e6, pixels=10**6, all_pixels=10**6, format=0, camera=True, step=1)
    raw = Quality(raw=True, detail=1e4, pixels=10**4, all_pixels=10**4, format=1, camera=False, step=4)
    assert kept(photo("a.jpg", quality=better), photo("long name.dng", quality=raw)) == ("long name.dng", ("raw",))


def test_a_picture_of_256_colours_is_worse_than_a_jpeg() -> None:
    picture, file = PICTURES["rocket"], BytesIO()
    picture.convert("P").save(file, "PNG")
    assert judge(file.getvalue()).format == 2
    assert kept(photo("a.png", file.getvalue()), photo("original.jpg", saved(picture, 92)))[0] == "original.jpg"


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (16, 16), (33, 40)])
def test_small_and_empty_pictures_can_be_judged(size: tuple[int, int]) -> None:
    for image in (Image.new("RGB", size, "red"), PICTURES["coffee"].resize(size)):
        quality = judge(saved(image))
        assert 0 <= quality.detail <= quality.pixels <= size[0] * size[1]


def test_of_the_same_bytes_the_trash_never_wins() -> None:
    live = photo("pictures/a.jpg")
    assert kept(live, photo("#recycle/a.jpg")) == ("pictures/a.jpg", ("place",))
    assert kept(live, photo("$RECYCLE.BIN/S-1-5/a.jpg", mtime_ns=-5)) == ("pictures/a.jpg", ("place",))


def test_of_the_same_bytes_the_oldest_is_kept_then_the_shortest_path() -> None:
    assert kept(photo("zzz.jpg", mtime_ns=1), photo("a.jpg", mtime_ns=2)) == ("zzz.jpg", ("age",))
    assert kept(photo("z.jpg"), photo("a (1).jpg"), photo("Backup/z.jpg")) == ("z.jpg", ("path",))
    assert kept(photo("z.jpg", id=1), photo("a.jpg", id=2)) == ("z.jpg", ("order",))
    assert kept(photo("z.jpg"), photo("a.jpg", link=True, mtime_ns=-1)) == ("z.jpg", ("file",))
    assert kept(photo("z.jpg", reference=True), photo("a.jpg", mtime_ns=-1)) == ("z.jpg", ("reference",))


def test_folders_that_were_named_come_first_in_their_order() -> None:
    photos = photo("a.jpg", mtime_ns=-1), photo("best/b.jpg"), photo("good/c.jpg")
    folders = Path("/photos/best"), Path("/photos/good")
    assert kept(*photos, keep_in=folders) == ("best/b.jpg", ("keep_in",))
    assert kept(*photos, keep_in=folders[::-1]) == ("good/c.jpg", ("keep_in",))
    assert kept(photos[0], photo("good times/c.jpg"), keep_in=folders) == ("a.jpg", ("age",))


def test_all_reasons_are_told_that_decided() -> None:
    assert kept(photo("b.jpg", mtime_ns=1), photo("c.jpg", mtime_ns=2), photo("aa.jpg", mtime_ns=1)) == (
        "b.jpg",
        ("age", "path"),
    )


def test_photos_of_a_library_are_not_spare() -> None:
    inside = photo("X.photoslibrary/originals/a.jpg", mtime_ns=9)
    assert kept(inside, photo("b.jpg")) == ("X.photoslibrary/originals/a.jpg", ("library",))
    assert DuplicateGroup("altered", (photo("b.jpg"), inside, photo("c.jpg"))).spare == (photo("c.jpg"),)


values = st.integers(0, 2)


@given(st.lists(st.tuples(*[values] * 3, st.sampled_from(["#recycle", "photos", "x"]), st.booleans()), min_size=2))
def test_names_of_files_and_folders_decide_nothing(drawn: list[tuple[int, int, int, str, bool]]) -> None:
    def best(letters: str) -> int:
        photos = {
            number: photo(f"{place}/{letters[folder] * 8}/{letters[name] * 4}.jpg", mtime_ns=time, link=link, id=number)
            for number, (folder, name, time, place, link) in enumerate(drawn)
        }
        return best_first(photos)[0][0]

    assert len({best(letters) for letters in ("abc", "cba", "bca")}) == 1


def test_every_criterion_has_words_and_is_asked() -> None:
    from commands.photo_tables import KEPT_BECAUSE

    assert tuple(KEPT_BECAUSE) == CRITERIA


@pytest.mark.slow
def test_the_original_is_kept_of_ordinary_photos(data_dir: Path) -> None:
    paths = sorted((data_dir / "photos").iterdir())[::6]
    wins: Counter[str] = Counter()
    for path in paths:
        data = path.read_bytes()
        picture = opened(data)
        width, height = picture.size
        thumbnail = picture.resize((160, 160 * height // width), Resampling.LANCZOS)
        half = picture.resize((width // 2, height // 2), Resampling.LANCZOS)
        copies = {
            "enlarged thumbnail": saved(opened(saved(thumbnail, 85)).resize((2 * width, 2 * height)), 90),
            "enlarged": saved(picture.resize((2 * width, 2 * height), Resampling.BICUBIC), 90),
            "half": saved(half, 92),
            "half, enlarged again": saved(half.resize(picture.size, Resampling.BICUBIC), 92),
            "cropped": saved(picture.crop((width // 20, height // 20, width, height)), 92),
            "resaved": saved(picture, 50),
        }
        for name, copy in copies.items():
            original = photo("a long name.jpg", data, mtime_ns=1)
            wins[name] += kept(original, photo("copy.jpg", copy))[0] == original.path.name
    shares = {name: wins[name] / len(paths) for name in wins}
    # Of a soft original, half the size holds as much; and what is a little soft is easily taken for enlarged.
    assert min(shares["enlarged thumbnail"], shares["resaved"], shares["cropped"]) >= 0.9, shares
    assert min(shares["half"], shares["half, enlarged again"], shares["enlarged"]) >= 0.7, shares


# What people say.


def jpeg_file(path: Path, name: str, quality: int = 92, *, day: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(PICTURES[name], quality))
    os.utime(path, (day * 86_400, day * 86_400))
    return path


OpenIndex = Callable[[], IndexWriter]


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model, device="cpu", threads=1)


@pytest.fixture
def index(tmp_path: Path, model: Model) -> Iterator[IndexWriter]:
    """Three exact copies of one picture, two altered ones of it, and another picture, in two folders."""
    for name in ("one/a.jpg", "one/b.jpg", "two/c.jpg"):
        jpeg_file(tmp_path / "photos" / name, "coffee")
    jpeg_file(tmp_path / "photos" / "one" / "worse.jpg", "coffee", 60)
    jpeg_file(tmp_path / "photos" / "two" / "worst.jpg", "coffee", 30)
    jpeg_file(tmp_path / "photos" / "two" / "rocket.jpg", "rocket")
    spec = model.spec
    with IndexWriter.open_for_writing(
        tmp_path / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
    ) as index:
        index_folders(index, model, [tmp_path / "photos"])
        yield index


def groups(index: PhotoIndex, **options: object) -> list[list[str]]:
    found = find_duplicates(index, min_score=1, **options)  # type: ignore[arg-type]
    return [[photo.path.stem for photo in group.photos] for group in found.groups]


def test_keep_in_decides_and_a_folder_that_is_not_indexed_is_refused(index: PhotoIndex, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    assert groups(index)[0][0] == "a"
    assert groups(index, keep_in=[photos / "two"]) == [["c", "a", "b"], ["c", "worst", "worse"]]
    with pytest.raises(PhotoIndexError):
        find_duplicates(index, keep_in=[photos / "three"])


def test_across_folders_leaves_out_what_lies_in_one_folder(index: PhotoIndex, tmp_path: Path) -> None:
    assert groups(index) == [["a", "b", "c"], ["a", "worse", "worst"]]
    assert groups(index, across_folders=True) == [["a", "c"], ["a", "worst"]]
    assert groups(index, folders=[tmp_path / "photos" / "one"]) == [["a", "b"], ["a", "worse"]]
    assert groups(index, folders=[tmp_path / "photos" / "one"], across_folders=True) == []


def test_a_burst_does_not_hide_a_copy_in_another_folder(tmp_path: Path, model: Model) -> None:
    for number in range(40):
        jpeg_file(tmp_path / "photos" / "burst" / f"{number}.jpg", "chelsea", 50 + number)
    jpeg_file(tmp_path / "photos" / "other" / "copy.jpg", "chelsea", 20)
    spec = model.spec
    with IndexWriter.open_for_writing(
        tmp_path / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
    ) as index:
        index_folders(index, model, [tmp_path / "photos"])
        found = groups(index, across_folders=True, likenesses=["altered"])
    assert [group[-1] for group in found] == ["copy"]


def test_photos_said_to_be_different_stay_apart(index: IndexWriter, tmp_path: Path, model: Model) -> None:
    photos = tmp_path / "photos"
    index.set_different([photos / "one" / "a.jpg", photos / "one" / "worse.jpg"])
    assert groups(index) == [["a", "b", "c"], ["a", "worst"]]
    # Of any copies of them, wherever they are now.
    (photos / "one" / "worse.jpg").rename(photos / "two" / "moved.jpg")
    index_folders(index, model, [photos])
    assert groups(index) == [["a", "b", "c"], ["a", "worst"]]
    index.set_different([photos / "two" / "c.jpg", photos / "two" / "moved.jpg"], different=False)
    assert groups(index) == [["a", "b", "c"], ["a", "moved", "worst"]]
    index.set_different([photos / "one" / "a.jpg", photos / "two" / "moved.jpg", photos / "two" / "worst.jpg"])
    assert groups(index) == [["a", "b", "c"]]


def test_files_of_the_same_bytes_can_be_said_to_be_different(index: IndexWriter, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    index.set_different([photos / "one" / "a.jpg", photos / "two" / "c.jpg"])
    assert groups(index, likenesses=["exact"]) == [["a", "b"]]
    index.set_different([photos / "one" / "b.jpg", photos / "one" / "a.jpg"])
    assert groups(index, likenesses=["exact"]) == [["b", "c"]]


def test_what_was_said_to_be_different_stays_so_when_its_folder_moves(
    index: IndexWriter, tmp_path: Path, model: Model
) -> None:
    photos = tmp_path / "photos"
    index.set_different([photos / "one" / "b.jpg", photos / "one" / "a.jpg"])
    before = groups(index, likenesses=["exact"])
    photos.rename(tmp_path / "album")
    index.rename(photos, tmp_path / "album")
    assert groups(index, likenesses=["exact"]) == before == [["a", "c"]]
    # The order of the two names changes with this one, and with it that of the pair.
    (tmp_path / "album" / "one" / "a.jpg").rename(tmp_path / "album" / "two" / "z.jpg")
    index_folders(index, model, [tmp_path / "album"])
    [group] = groups(index, likenesses=["exact"])
    assert len(group) == 2
    assert not {"b", "z"} <= set(group)


def test_what_cannot_be_said(index: IndexWriter, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for paths in (
        [photos / "one" / "a.jpg"],
        [photos / "one", photos / "two"],
        [photos / "one" / "a.jpg", photos / "x"],
    ):
        with pytest.raises(PhotoIndexError):
            index.set_different(paths)
    assert index.copies.different() == set()


def test_what_was_said_outlives_a_rebuild(index: IndexWriter, tmp_path: Path, model: Model) -> None:
    photos = tmp_path / "photos"
    index.set_different([photos / "one" / "a.jpg", photos / "one" / "worse.jpg"])
    index.set_exclude(["worst.*"])
    index.close()
    rebuild_index(tmp_path / "index", model, [])
    with PhotoIndex.open(tmp_path / "index") as again:
        assert again.exclude == ("worst.*",)
        assert groups(again) == [["a", "b", "c"]]


numbers = st.integers(0, 7)


@given(
    st.sets(st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1])),
    st.sets(st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1])),
)
def test_no_part_has_two_that_are_different(links: set[tuple[int, int]], said: set[tuple[int, int]]) -> None:
    photos = {number: photo(f"{number}.jpg", content_hash=bytes([number])) for number in range(8)}
    different: set[Pair] = {
        pair for one, other in said for pair in pairs_of([(bytes([one]), b"/a"), (bytes([other]), b"/b")])
    }
    if not said:
        return
    parts = list(kept_apart(photos, sorted(links), different))
    assert sorted(number for part in parts for number in part) == list(range(8))
    for part in parts:
        assert not {(one, other) for one in part for other in part} & said
    # What belongs together by links alone, and is not said to be different, is not divided.
    if len(said) == 1 and links == {(0, 1)} and said != {(0, 1)}:
        assert {0, 1} <= set(parts[0])
