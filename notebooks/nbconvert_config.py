"""Settings of `make notebooks`: a notebook run twice is the same file twice."""

c = get_config()  # noqa: F821

c.ExecutePreprocessor.record_timing = False
c.ExecutePreprocessor.timeout = None
# How many pieces a text arrives in is chance, so they are joined, after the run.
c.NotebookExporter.preprocessors = [
    "nbconvert.preprocessors.CoalesceStreamsPreprocessor"
]
c.CoalesceStreamsPreprocessor.enabled = True
c.ClearMetadataPreprocessor.enabled = True
c.ClearMetadataPreprocessor.preserve_nb_metadata_mask = {
    "kernelspec",
    ("language_info", "name"),
}
c.ClearMetadataPreprocessor.preserve_cell_metadata_mask = {"tags", "mystnb"}
# Encrypts the messages to the kernel, and so spares the reader its warning.
c.KernelManager.transport_encryption = "auto"
