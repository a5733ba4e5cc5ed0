"""Documents as people keep pictures of: chats, spreadsheets, letters and book pages, each kind drawn in one layout."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "he",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "have",
    "from",
    "or",
    "one",
    "had",
    "by",
    "word",
    "but",
    "not",
    "what",
    "all",
    "were",
    "we",
    "when",
    "your",
    "can",
    "said",
    "there",
    "use",
    "an",
    "each",
    "which",
    "she",
    "do",
    "how",
    "their",
    "if",
    "will",
    "up",
    "other",
    "about",
    "out",
    "many",
    "then",
    "them",
    "these",
    "so",
    "some",
    "her",
    "would",
    "make",
    "like",
    "him",
    "into",
    "time",
    "has",
    "look",
    "two",
    "more",
    "write",
    "go",
    "see",
    "number",
    "no",
    "way",
    "could",
    "people",
    "my",
    "than",
    "first",
    "water",
    "been",
    "call",
    "who",
    "oil",
    "its",
    "now",
    "find",
    "long",
    "down",
    "day",
    "did",
    "get",
    "come",
    "made",
    "may",
    "part",
]


def chat(number: int) -> Image.Image:
    random = np.random.default_rng((1, number))
    image = Image.new("RGB", (360, 640), (236, 229, 221))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 360, 50), fill=(7, 94, 84))
    draw.text((50, 15), "Family", fill="white", font_size=18)
    for bubble in range(8):
        left, top = (120 if bubble % 2 else 10), 62 + 70 * bubble
        draw.rounded_rectangle((left, top, left + 230, top + 58), 8, fill=(220, 248, 198) if bubble % 2 else "white")
        for line in range(3):
            draw.text((left + 8, top + 5 + 16 * line), _words(random, 5, 32), fill=(30, 30, 30), font_size=13)
    return image


def spreadsheet(number: int) -> Image.Image:
    random = np.random.default_rng((2, number))
    image = Image.new("RGB", (640, 480), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 640, 20), fill=(230, 230, 230))
    for column in range(9):
        draw.line((column * 80, 0, column * 80, 480), fill=(200, 200, 200))
    for row in range(25):
        draw.line((0, row * 20, 640, row * 20), fill=(200, 200, 200))
    for column, name in enumerate("ABCDEFGH"):
        draw.text((column * 80 + 30, 3), name, fill="black", font_size=12)
        for row in range(1, 24):
            text = f"{random.integers(0, 99999) / 100:.2f}" if column else _words(random, 1, 10)
            draw.text((column * 80 + 6, row * 20 + 3), text, fill="black", font_size=12)
    return image


def letter(number: int) -> Image.Image:
    random = np.random.default_rng((3, number))
    image = Image.new("RGB", (595, 842), "white")
    draw = ImageDraw.Draw(image)
    draw.text((60, 60), "Acme Insurance Ltd", fill=(0, 60, 140), font_size=22)
    draw.text((60, 90), "12 High Street, London", fill="black", font_size=11)
    for line in range(4):
        draw.text((60, 140 + 14 * line), _words(random, 4, 40), fill="black", font_size=12)
    draw.text((60, 220), "Dear customer,", fill="black", font_size=12)
    for line in range(24):
        draw.text((60, 245 + 16 * line + 14 * (line // 6)), _words(random, 14, 78), fill="black", font_size=12)
    draw.text((60, 700), "Yours sincerely", fill="black", font_size=12)
    draw.text((60, 790), "Registered in England 123456", fill=(120, 120, 120), font_size=10)
    return image


def page(number: int) -> Image.Image:
    random = np.random.default_rng((4, number))
    image = Image.new("L", (500, 760), 250)
    draw = ImageDraw.Draw(image)
    draw.text((180, 30), "CHAPTER FOUR", fill=60, font_size=14)
    for line in range(36):
        draw.text((50, 70 + 18 * line), _words(random, 15, 62), fill=20, font_size=13)
    draw.text((240, 730), str(100 + number), fill=20, font_size=12)
    return image.convert("RGB")


KINDS: dict[str, Callable[[int], Image.Image]] = {
    "chat": chat,
    "spreadsheet": spreadsheet,
    "letter": letter,
    "page": page,
}


def _words(random: np.random.Generator, count: int, most: int) -> str:
    return " ".join(random.choice(WORDS, count))[:most]
