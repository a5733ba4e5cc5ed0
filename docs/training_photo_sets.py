"""The sets of photos that the built-in model learned from or is measured on: where each is from, what shows what."""

from collections.abc import Mapping
from dataclasses import dataclass, field

IMAGENET = "ImageNet: research"
ELSEWHERE = (
    "109073|109077|109085|109090|109092|141004|184002|184003|184006|184008|184014|184021|184033|184036|"
    "184038|184039|184042|184066|244059|247039|247048|247081|407037|415007|415070|415071|427015|427017|"
    "427020|458033|644026|659042|659058"
)
"""Photos of Corel that training sets have too, stored otherwise: found by comparing thumbnails, then by eye."""


@dataclass(frozen=True)
class Rule:
    """Which paths of a repository are photos, and what they show.

    The label is the group `label` of the pattern, or what the file `labels` says of the photo: a line for each, name
    and label. `names` are a file and a pattern, for labels that are numbers: its lines tell `number` and `label`. A
    photo with no label is an unlabelled one.
    """

    pattern: str
    part: str = ""
    labels: str = ""
    names: tuple[str, str] | None = None


@dataclass(frozen=True)
class PhotoSet:
    """Photos of one repository. Of the rules, the first that fits a path holds.

    `apart_from` is a set for judging that has some of the photos too, under the same names but stored otherwise: those
    are left out.
    """

    name: str
    repository: str
    commit: str
    photos: int
    terms: str
    rules: tuple[Rule, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    apart_from: str = ""

    @property
    def judges(self) -> bool:
        return self.name.startswith("judge-")


TRAIN_AND_VAL = (Rule("train/(?P<label>n[0-9]+)/[^/]+", "train"), Rule("val/(?P<label>n[0-9]+)/[^/]+", "val"))

TABLE = (
    PhotoSet(
        "scenes",
        "rathull/CTFs",
        "f35c219885f163ca00a045236dd44be489598837",
        109_976,
        "MIT Places: research",
        (
            Rule("data/images/train/./(?P<label>.+)/[^/]+", "train"),
            Rule(
                "data/images/val/[^/]+",
                "val",
                labels="data/val.txt",
                names=("data/train.txt", "train/./(?P<label>.+)/[^/]+ (?P<number>[0-9]+)"),
            ),
            Rule("data/images/test/[^/]+"),
        ),
    ),
    PhotoSet(
        "mini-imagenet",
        "Deo0330/split_minidataset",
        "557ebcae0db23651f9370f54a5f31b1f0fd4064d",
        59_992,
        IMAGENET,
        TRAIN_AND_VAL,
    ),
    PhotoSet(
        "cats-dogs",
        "4GeeksAcademy/Deep-Learning-CarlosFS",
        "d771ae194ca9a8fe14e746dca60af5361d57a5e1",
        37_431,
        "Kaggle, research",
        (Rule(r"train/(?P<label>cat|dog)\.[^/]+"), Rule("test1/[^/]+")),
    ),
    PhotoSet(
        "imagenette",
        "thunderInfy/imagenette",
        "b850f030ff0701c36a4adc8b928ea9483a46915b",
        13_394,
        IMAGENET,
        TRAIN_AND_VAL,
    ),
    PhotoSet(
        "imagewoof",
        "q878787/imagewoof2-320",
        "874e58f0c1acebb0d90e40f48460d65322f09f85",
        12_951,
        IMAGENET,
        TRAIN_AND_VAL,
    ),
    PhotoSet(
        "judge-corel",
        "satishrdd/Fast_image_retrieval",
        "20834a60ac7f8d6a46b4efa48085a00faa3a6749",
        9_867,
        "stock photos, not stated",
        (Rule(rf"CorelDB/(?!texture_|art_cybr/|obj_moleculr/)(?P<label>[^/]+)/(?!({ELSEWHERE})\.)[^/]+"),),
    ),
    PhotoSet(
        "intel-scenes",
        "afroozsheikh/Intel-Image-Classifier",
        "b48be1d6e02b3e3019c44a1b01482fa04f5259c5",
        10_890,
        "not stated",
        (Rule("train/(?P<label>[^/]+)/[^/]+", "train"), Rule("test/(?P<label>[^/]+)/[^/]+", "val")),
    ),
    PhotoSet(
        "cars",
        "fmejbah/car_dataset1",
        "2ac6920297f51277ac4e24afd231c46d35077831",
        8_133,
        "research",
        (Rule("cars_train/[^/]+"),),
    ),
    PhotoSet(
        "butterflies",
        "HPD1155/Image-CNN",
        "ec99c16d4c2480924ca6f7fbf9e9e1c61f3f037f",
        6_495,
        "not stated",
        (Rule("train/[^/]+", labels="Training_set.csv"),),
    ),
    PhotoSet(
        "groceries",
        "marcusklasson/GroceryStoreDataset",
        "fc80ba90f803d79d0383df52c5a4ac5de99ff6fc",
        5_503,
        "MIT",
        (
            Rule("dataset/(train|test)/[^/]+/(?P<label>.+)/[^/]+", "train"),
            Rule("dataset/val/[^/]+/(?P<label>.+)/[^/]+", "val"),
            Rule("sample_images/natural/[^/]+"),
            Rule("dataset/iconic-images-and-descriptions/.+"),
        ),
        {"mushroom_brown-cap-mushroom": "brown-cap-mushroom"},
    ),
    PhotoSet(
        "landscapes",
        "jaaumeadrover/Landscape-Image-Classification",
        "7985b6b6e532f94f96da7dee74eb9a0ae7972083",
        4_467,
        "not stated",
        (Rule("data/(train|test)/(?P<label>[^/]+)/[^/]+"),),
        {
            "insidecity": "inside_city",
            "livingroom": "living_room",
            "opencountry": "open_country",
            "tallbuilding": "tall_building",
        },
    ),
    # Its training_set and test_set are those of cats-dogs, stored otherwise.
    PhotoSet(
        "dog-cat-breeds",
        "chanakya2734/Image-classification-using-CNN",
        "bf746c6e53f1edacd97b383de350f7a495cef0e1",
        3_980,
        "not stated",
        (
            Rule("dataset/breed_dataset/cat_breeds/.+", labels="dataset/breed_dataset/cat_breeds/cat_labels.csv"),
            Rule("dataset/breed_dataset/dog_breeds/.+", labels="dataset/breed_dataset/dog_breeds/labels.csv"),
        ),
    ),
    PhotoSet(
        "clothing",
        "alexeygrigorev/clothing-dataset-small",
        "11961516512414bf9f6c150a832cfd21b54a6b54",
        3_781,
        "CC0",
        (Rule("(train|test)/(?P<label>[^/]+)/[^/]+", "train"), Rule("validation/(?P<label>[^/]+)/[^/]+", "val")),
    ),
    PhotoSet(
        "trash",
        "congduytran12/Trash-Classification-",
        "00212f2c18dcdb9045c74481eaae5baaf72537df",
        2_524,
        "original MIT",
        (Rule("dataset-resized/(?P<label>[^/]+)/[^/]+"),),
    ),
    PhotoSet(
        "ikea",
        "IvonaTau/ikea",
        "6f316e3fecf8ce95069eaef5f2021405c536168a",
        2_381,
        "non-commercial",
        (Rule("images/.+"),),
    ),
    PhotoSet(
        "houses",
        "emanhamed/Houses-dataset",
        "5e148219500558089cf5cf121b626b17fdde9b92",
        2_126,
        "to be cited",
        (Rule("Houses Dataset/[^/]+"),),
    ),
    PhotoSet(
        "pacs-photo",
        "MachineLearning2020/Homework3-PACS",
        "d586a6cf3db84896fb6cc465c7bf51bdaf6d65d8",
        1_670,
        "research",
        (Rule("PACS/photo/(?P<label>[^/]+)/[^/]+"),),
    ),
    PhotoSet(
        "dishes",
        "pochih/CBIR",
        "f6e3d95fca77b8c3ea69e4ed7417cde660f1e628",
        1_490,
        "not stated",
        (Rule("database/(?P<label>[^/]+)/[^/]+"),),
    ),
    PhotoSet(
        "bsds",
        "BIDS/BSDS500",
        "a04b7c6c3a9f0ace74bf205c72a43d32e1c72722",
        433,
        "not stated",
        (Rule("BSDS500/data/images/.+"),),
        apart_from="judge-corel",
    ),
)
