import json
import math
from typing import Any

import pytest
from told import told

from index.errors import OptionError
from training.loop.recipe import BOUNDS, PAPER, RECIPES, Recipe, recipe_options
from training.networks.architectures import CONFIGS


def test_every_architecture_has_a_recipe_that_fits_it() -> None:
    assert RECIPES.keys() == CONFIGS.keys()
    for arch, recipe in RECIPES.items():
        assert recipe.arch == arch
        assert recipe.dropout == CONFIGS[arch].dropout
        assert recipe.crops(CONFIGS[arch].crop)[-1][1] == CONFIGS[arch].crop


def test_the_recipe_of_the_paper() -> None:
    # Krizhevsky, Sutskever, Hinton (2012), sections 4 and 5.
    assert RECIPES["alexnet"] is PAPER
    assert (PAPER.batch_size, PAPER.momentum, PAPER.weight_decay, PAPER.lr) == (128, 0.9, 5e-4, 0.01)
    assert (PAPER.epochs, PAPER.schedule, PAPER.dropout, PAPER.mean) == (90, "plateau", 0.5, "picture")
    assert (PAPER.mirror, PAPER.nesterov, PAPER.label_smoothing, PAPER.grow) == (True, False, 0.0, "")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_recipe_survives_its_plain_values(recipe: Recipe) -> None:
    assert Recipe(**json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe(**recipe.for_fine_tuning().to_dict()) == recipe.for_fine_tuning()


def test_only_what_is_given_is_changed() -> None:
    changed = PAPER.changed(lr=0.5, epochs=None, mirror=False, grow=None)
    assert changed.to_dict() == {**PAPER.to_dict(), "lr": 0.5, "mirror": False}
    assert PAPER.changed() == PAPER


def test_every_value_but_the_architecture_is_an_option() -> None:
    options = {option.name: option for option in recipe_options()}
    assert options.keys() == PAPER.to_dict().keys() - {"arch"}
    assert options["batch_size"].help.endswith("alexnet-owt: 128, alexnet-64: 256, alexnet-128: 256; with --from 32]")
    assert options["momentum"].help.endswith("[default: 0.9]")
    assert options["mirror"].help.endswith("[default: mirror]")
    assert options["nesterov"].help.endswith("alexnet-64: nesterov, alexnet-128: nesterov; with --from nesterov]")
    assert options["grow"].help.split("[")[1].startswith("default: alexnet: none, alexnet-owt: none, alexnet-64: 0:32,")


def test_crops_grow() -> None:
    assert PAPER.crops(224) == ((0.0, 224),)
    assert PAPER.changed(grow="0:32,0.5:40,0.8:56").crops(56) == ((0.0, 32), (0.5, 40), (0.8, 56))
    assert PAPER.changed(grow="0:56").crops(56) == ((0.0, 56),)


@pytest.mark.parametrize(
    "grow",
    [
        "32",
        "0:32",
        "0.1:32,0.5:56",
        "0:32,0.8:40,0.5:56",
        "0:64,0.5:56",
        "0:40,0.4:32,0.5:56",
        "0:32,0:56",
        "0:32,1:56",
        "0:8,0.5:56",
        "0:32,x:56",
        "nan:32,0.5:56",
        "0:32,0.5:5.6",
        ":",
        ",",
        "0:32 0.5:56",
        "0:32,0.5:56,",
    ],
)
def test_malformed_growth_is_refused(grow: str) -> None:
    with told(OptionError, r"does not read share:side,share:side .* the last side 56; give --grow"):
        PAPER.changed(grow=grow).crops(56)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs 0 is not at least 1"),
        ({"batch_size": 1}, "batch size 1 is not at least 2"),
        ({"lr": -0.1}, "lr -0.1 is not at least 0"),
        ({"lr": math.nan}, "lr nan is not at least 0"),
        ({"momentum": 1.5}, "momentum 1.5 is not from 0 to 1"),
        ({"label_smoothing": 2.0}, "label smoothing 2.0 is not from 0 to 1"),
        ({"dropout": -0.5}, "dropout -0.5 is not from 0 to 1"),
        ({"patience": 0}, "patience 0 is not at least 1"),
        ({"schedule": "step"}, "schedule step is none of plateau, cosine, linear"),
        ({"seed": -1}, "seed -1 is not from 0 to 4.29497e+09"),
        ({"nesterov": True, "momentum": 0.0}, "Nesterov momentum needs a momentum above 0"),
    ],
)
def test_values_that_would_fail_in_the_midst_of_a_run_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        PAPER.changed(**values)
    assert str(caught.value).startswith(message)


def test_bounds_are_of_values_that_there_are_and_belong_to_the_range() -> None:
    assert BOUNDS.keys() <= PAPER.to_dict().keys()
    for name, (least, most) in BOUNDS.items():
        for value in {least, most} - {math.inf}:
            assert getattr(PAPER.changed(**{name: type(getattr(PAPER, name))(value)}), name) == value
