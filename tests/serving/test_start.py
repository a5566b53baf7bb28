"""What keeps the service from starting is said before anything heavy is imported."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from programme.errors import InputRefused
from programme.settings import Settings
from serving.start import run


def test_a_taken_port_is_refused_by_its_number(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]

        with pytest.raises(InputRefused, match=f"Port {port} of 127.0.0.1 cannot be used"):
            run(Settings(home=tmp_path), port=port)


def test_an_open_address_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="perennial keys create"):
        run(Settings(home=tmp_path), host="0.0.0.0")


def test_starting_imports_neither_models_nor_the_server() -> None:
    heavy = ("bentoml", "pandas", "lightgbm", "torch", "mlflow", "fastapi")
    code = f"import sys, serving.start; print([n for n in {heavy} if n in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
