"""`perennial train repeat`, stopped where a test can kill it: ... killed_training HOME CONFIG."""

import sys
import time
from typing import Any

import perennial
from training import registry


def wait_to_be_killed(*_: Any, **__: Any) -> int:
    """Stand where a version would be registered."""
    sys.stdout.write("learned\n")
    sys.stdout.flush()
    time.sleep(600)
    return 0


if __name__ == "__main__":
    registry.register = wait_to_be_killed
    home, config = sys.argv[1:]
    sys.argv = ["perennial", "train", "repeat", "--home", home, "--config", config]
    perennial.main()
