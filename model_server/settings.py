"""The model server's settings."""

from pathlib import Path

from pydantic import Field

from alpha.config.services import HealthSettings, LogSettings


class ModelServerSettings(LogSettings, HealthSettings):
    """Everything the model server reads from the environment. All seconds are wall-clock."""

    models_dir: Path = Field(Path("models"), description="the folder of artefacts")
    models_host: str = Field("127.0.0.1", description="the address to listen on; never one outside the trading network")
    models_port: int = Field(8500, ge=0, le=65535, description="the port to listen on; 0 chooses a free one")
    models_max_rows: int = Field(1_024, ge=1, le=100_000, description="the most rows in one request")
    models_rescan_s: float = Field(5.0, gt=0, le=3_600, description="seconds between two looks at the folder")
