"""The API keeps what its own OpenAPI description says: Schemathesis sends what it allows and what it does not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings

pytest.importorskip("fastapi", reason="the page needs the extra web")
pytest.importorskip("schemathesis", reason="the API is tested through Schemathesis")
import schemathesis
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from web.app import create_app
from web.settings import Settings

pytestmark = pytest.mark.slow
EXAMPLES = 12
"""For each address; besides these Schemathesis tries the bounds of each value."""
TOLD = ["2xx", "400", "403", "404", "409", "413", "422"]
"""What a request of the right form may be answered with: no schema can say which bytes are a picture, which numbers are
photos of this index, which names are labels of this model, and whether a run goes on."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("openapi")
    given = ["index", str(make_photos(folder / "photos")), "--index", str(folder / "index"), "-m", str(tiny_model)]
    assert CliRunner().invoke(main, given).exit_code == 0
    with serving(Settings(folder / "index", uploads_a_minute=1_000_000, decode_seconds=120)) as server:
        yield server


described = schemathesis.openapi.from_dict(create_app(Settings(Path("nowhere"))).openapi())
described.config.checks.positive_data_acceptance.expected_statuses = TOLD


@described.parametrize()
@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: "schemathesis.Case[Any]", served: Served) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{served.port}", timeout=120)
