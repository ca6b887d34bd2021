"""The end at the coordinator: fits, and writes down the result in its folder."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from laplace.engines import flower

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Fit the run that was begun in the folder."""
    config = context.run_config
    flower.fit(grid, str(config["folder"]), str(config["keys"]) or None, float(config["patience"]))
