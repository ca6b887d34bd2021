# Writes notebooks/data/toenail.csv from the R package HSAUR3.
# Run from the root of the repository:  Rscript tests/reference/toenail.R

data("toenail", package = "HSAUR3")

rows <- data.frame(
  patient   = as.integer(as.character(toenail$patientID)),
  treatment = as.character(toenail$treatment),
  month     = sprintf("%.15g", toenail$time),
  visit     = toenail$visit,
  outcome   = as.integer(toenail$outcome == "moderate or severe")
)

stopifnot(
  nrow(rows) == 1908, length(unique(rows$patient)) == 294, !anyNA(rows),
  as.numeric(rows$month) == toenail$time  # the text gives R's numbers back, bit for bit
)

out <- file("notebooks/data/toenail.csv", "wb")  # binary: the line ends are the same everywhere
write.csv(rows, out, row.names = FALSE, quote = FALSE, eol = "\n")
close(out)
