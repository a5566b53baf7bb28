"""Rows -> judged, registered models, and what the champions say."""

import os

# MLflow reads these when it is imported, which any module below may do first: it shall neither
# unpickle a model nor call home.
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
