from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.data.augment import (
    BLURRED_TO,
    CROP_RATIO,
    ERASED_AREA,
    ERASED_RATIO,
    Normalisation,
    blurred,
    centre_crops,
    erased,
    random_crops,
    recompressed,
)

PLAIN = Normalisation(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
SIZE, CROP = 9, 6


def numbered(n: int) -> torch.Tensor:
    """Pictures (n, 9, 9, 3) whose every pixel tells its row and column, and that are told from their neighbours."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return torch.stack([rows, columns, 10 * rows + columns], dim=2).to(torch.uint8).expand(n, SIZE, SIZE, 3)


def places(crops: torch.Tensor) -> list[tuple[int, int, bool]]:
    """Top, left and whether mirrored, of each crop of a numbered picture; fails if one is no crop."""
    found = []
    for crop in crops:
        top, mirrored = int(crop[0, 0, 0]), bool(crop[1, 0, 0] > crop[1, 0, -1])
        left = int(crop[1, 0, -1 if mirrored else 0])
        side = crop.shape[1]
        expected = numbered(1)[0, top : top + side, left : left + side].permute(2, 0, 1).float()
        assert torch.equal(crop, expected.flip(2) if mirrored else expected)
        found.append((top, left, mirrored))
    return found


def test_every_crop_is_a_crop_of_its_picture_and_half_are_mirrored() -> None:
    torch.manual_seed(0)
    found = places(random_crops(numbered(2000), CROP, PLAIN, mirror=True))
    mirrored = sum(flipped for _, _, flipped in found)
    assert 900 < mirrored < 1100  # 4.5 deviations of a fair coin
    for place in range(2):
        counts = [sum(crop[place] == start for crop in found) for start in range(SIZE - CROP + 1)]
        assert min(counts) > 400, "every place, the first and the last included, is as likely"
        assert sum(counts) == 2000
    corners = {(top, left) for top, left, _ in found}
    assert len(corners) == 16, "rows and columns are drawn independently"


def test_each_picture_keeps_its_own_row() -> None:
    pixels = torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1).expand(20, SIZE, SIZE, 3)
    crops = random_crops(pixels, CROP, PLAIN, mirror=True)
    assert torch.equal(crops, pixels[:, :CROP, :CROP].permute(0, 3, 1, 2).float())


def test_nothing_is_mirrored_that_must_not_be() -> None:
    assert not any(flipped for _, _, flipped in places(random_crops(numbered(50), CROP, PLAIN, mirror=False)))


def test_a_crop_as_large_as_the_picture_is_the_picture() -> None:
    whole = numbered(3).permute(0, 3, 1, 2).float()
    assert torch.equal(random_crops(numbered(3), SIZE, PLAIN, mirror=False), whole)
    assert torch.equal(centre_crops(numbered(3), SIZE, PLAIN), whole)


def test_the_same_seed_draws_the_same_crops() -> None:
    torch.manual_seed(4)
    first = random_crops(numbered(30), CROP, PLAIN, mirror=True, colour_noise=0.1)
    torch.manual_seed(4)
    assert torch.equal(random_crops(numbered(30), CROP, PLAIN, mirror=True, colour_noise=0.1), first)
    assert not torch.equal(random_crops(numbered(30), CROP, PLAIN, mirror=True), first)


def test_the_mean_picture_moves_with_the_crop() -> None:
    # Where the mean picture is the picture itself, nothing is left wherever the crop lies, mirrored or not.
    mean = numbered(1)[0].permute(2, 0, 1).float()
    crops = random_crops(numbered(200), CROP, replace(PLAIN, mean=mean), mirror=True)
    assert not crops.any()
    assert not centre_crops(numbered(2), CROP, replace(PLAIN, mean=mean)).any()


def test_mean_colour_and_deviation() -> None:
    mean, deviation = torch.tensor([10.0, 20.0, 30.0]).reshape(3, 1, 1), torch.tensor([2.0, 4.0, 5.0]).reshape(3, 1, 1)
    torch.manual_seed(1)
    plain = random_crops(numbered(8), CROP, PLAIN, mirror=True)
    torch.manual_seed(1)
    found = random_crops(numbered(8), CROP, Normalisation(mean, deviation), mirror=True)
    torch.testing.assert_close(found, (plain - mean) / deviation)
    centre = centre_crops(numbered(8), CROP, Normalisation(mean, deviation))
    torch.testing.assert_close(centre, (centre_crops(numbered(8), CROP, PLAIN) - mean) / deviation)


@pytest.mark.parametrize(("crop", "edge"), [(6, 1), (5, 2), (9, 0)])
def test_the_central_crop(crop: int, edge: int) -> None:
    assert places(centre_crops(numbered(1), crop, PLAIN)) == [(edge, edge, False)]
    mean = torch.arange(3 * SIZE * SIZE).reshape(3, SIZE, SIZE)
    assert torch.equal(replace(PLAIN, mean=mean).centre(crop), mean[:, edge : edge + crop, edge : edge + crop])


def test_crops_are_shrunk_to_train_on_small_pictures_first() -> None:
    torch.manual_seed(2)
    full = random_crops(numbered(5), CROP, PLAIN, mirror=True)
    torch.manual_seed(2)
    small = random_crops(numbered(5), CROP, PLAIN, mirror=True, side=3)
    torch.testing.assert_close(small, F.interpolate(full, size=(3, 3), mode="bilinear", antialias=True))
    assert random_crops(numbered(5), CROP, PLAIN, mirror=True, side=CROP).shape == (5, 3, CROP, CROP)


def test_nothing_is_erased_blurred_compressed_or_drawn_where_that_is_off() -> None:
    x, before = torch.ones(4, 3, SIZE, SIZE), torch.get_rng_state()
    assert erased(x, probability=0.0) is x
    assert blurred(x, probability=0.0) is x
    pixels = torch.zeros(4, SIZE, SIZE, 3, dtype=torch.uint8)
    assert recompressed(pixels, probability=0.0) is pixels
    assert torch.equal(torch.get_rng_state(), before)


def test_boxes_are_erased_by_chance_of_the_areas_and_ratios_of_the_paper() -> None:
    torch.manual_seed(3)
    n, side = 3000, 40
    x = torch.ones(n, 3, side, side)
    found = erased(x, probability=0.5)
    assert bool(x.all()), "the batch itself is left as it was"
    assert torch.equal(found, found[:, :1].expand_as(found)), "in all colours the same"
    gone = found[:, 0] == 0
    rows, columns = gone.any(2), gone.any(1)
    assert torch.equal(gone, rows[:, :, None] & columns[:, None, :]), "each is one whole rectangle"
    hit = gone.flatten(1).any(1)
    assert 0.46 < hit.float().mean() < 0.54  # 4.4 deviations of a fair coin
    height, width = (sides[hit].sum(1).float() for sides in (rows, columns))
    area = height * width / side**2
    assert ERASED_AREA[0] * 0.8 < area.min() < 0.04
    assert 0.36 < area.max() < ERASED_AREA[1] * 1.05
    whole = (height < side) & (width < side)
    ratio = (height / width)[whole]
    assert ratio.max() < ERASED_RATIO * 1.3, "but for rounding to whole pixels"
    assert ratio.min() > 1 / (ERASED_RATIO * 1.3)
    assert 0.45 < (height > width)[whole & (height != width)].float().mean() < 0.55
    for sides in (rows, columns):
        assert bool(sides[:, 0].any()), "every place, the first and the last included"
        assert bool(sides[:, -1].any())
        span = sides.int().diff(dim=1).abs().sum(1)
        assert int(span.max()) <= 2, "without gaps"


def test_every_picture_can_be_asked_to_lose_a_box() -> None:
    torch.manual_seed(4)
    assert (erased(torch.ones(500, 3, 9, 9), probability=1.0) == 0).flatten(1).any(1).all()


def test_some_pictures_lose_fine_detail_and_keep_the_rest() -> None:
    torch.manual_seed(5)
    n, side = 600, 40
    fine = (torch.arange(side) % 2 * 2.0 - 1).expand(n, 3, side, side)  # lines of one pixel
    coarse = torch.linspace(-1, 1, side).expand(n, 3, side, side)
    x = fine + coarse
    found = blurred(x, probability=0.5)
    assert torch.equal(x, fine + coarse), "the batch itself is left as it was"
    touched = (found != x).flatten(1).any(1)
    assert 0.41 < touched.float().mean() < 0.59  # 4.4 deviations of a fair coin
    detail = (found - coarse)[touched][..., 4:-4].abs().mean((1, 2, 3))
    assert detail.max() < 0.6, "of 1 before"
    assert len(torch.unique((detail * 1000).round())) == len(BLURRED_TO), "each share of the side"
    assert (found[touched].mean((1, 2, 3)) - x[touched].mean((1, 2, 3))).abs().max() < 0.02
    assert blurred(x, probability=1.0).ne(x).flatten(1).any(1).all()


def test_some_pictures_carry_the_marks_of_a_small_jpeg() -> None:
    torch.manual_seed(6)
    n, side = 300, 48
    pixels = torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8)
    pixels[0] = 77
    before = pixels.clone()
    found = recompressed(pixels, probability=0.5)
    assert torch.equal(pixels, before), "the batch itself is left as it was"
    assert (found.shape, found.dtype) == (pixels.shape, torch.uint8)
    touched = (found != pixels).flatten(1).any(1)
    assert 0.37 < touched.float().mean() < 0.63  # 4.4 deviations of a fair coin
    # Noise is what JPEG and small sides take away; how much differs with the quality and the side.
    spread = found[touched].float().std((1, 2))
    assert spread.max() < pixels[touched].float().std((1, 2)).min()
    assert spread.min() < 0.6 * spread.max()
    assert (found.float().mean((1, 2)) - pixels.float().mean((1, 2))).abs().max() < 4, "the colour stays"
    assert (recompressed(pixels[:1].expand(50, -1, -1, -1), probability=1.0).float() - 77).abs().max() <= 2
    torch.manual_seed(6)
    torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8)
    assert torch.equal(recompressed(pixels, probability=0.5), found), "the same seed, the same pictures"


def slopes(n: int) -> torch.Tensor:
    """Pictures (n, 101, 101, 3) whose first two channels tell the row and the column, as shares of 200."""
    rows, columns = torch.meshgrid(torch.arange(101), torch.arange(101), indexing="ij")
    return torch.stack([2 * rows, 2 * columns, rows + columns], dim=2).to(torch.uint8).expand(n, 101, 101, 3)


def test_crops_of_any_size_are_boxes_of_the_picture_of_that_share_and_shape() -> None:
    torch.manual_seed(0)
    crops = random_crops(slopes(2000), 21, PLAIN, mirror=False, scale=0.25) / 2
    # Pixels are half a step inside the box that they show.
    height, width = ((crops[:, channel].amax((1, 2)) - crops[:, channel].amin((1, 2))) * 21 / 20 for channel in (0, 1))
    area, ratio = height * width / 101**2, width / height
    found = [float(value) for values in (area, ratio) for value in (values.min(), values.max())]
    np.testing.assert_allclose(found, [0.25, 1, 1 / CROP_RATIO, CROP_RATIO], rtol=0.05)
    assert 0.55 < area.mean() < 0.68, "as often any share, but for shapes that reach beyond the picture"
    inner = crops[:, :, 1:-1, 1:-1]
    assert torch.allclose(2 * inner[:, 2], inner[:, 0] + inner[:, 1], atol=0.01), (
        "rows and columns are those of one box"
    )
    for channel, along in ((0, 2), (1, 3)):
        ends = [crops[:, channel].amin(), crops[:, channel].amax()]
        np.testing.assert_allclose(ends, [0, 100], atol=2, err_msg="boxes lie at every edge, and not beyond")
        assert crops.diff(dim=along)[:, channel].min() >= 0, "not mirrored"


def test_crops_of_any_size_are_mirrored_shrunk_and_drawn_by_the_seed() -> None:
    torch.manual_seed(0)
    first = random_crops(slopes(400), 21, PLAIN, mirror=True, scale=0.25, side=11)
    assert first.shape == (400, 3, 11, 11)
    assert 140 < int((first[:, 1, 5, 10] < first[:, 1, 5, 0]).sum()) < 260
    torch.manual_seed(0)
    assert torch.equal(random_crops(slopes(400), 21, PLAIN, mirror=True, scale=0.25, side=11), first)


def test_a_mean_picture_moves_with_crops_of_any_size() -> None:
    mean = slopes(1)[0].permute(2, 0, 1).float()
    crops = random_crops(slopes(50), 21, replace(PLAIN, mean=mean), mirror=True, scale=0.25)
    assert crops.abs().max() < 1e-3
