# Writes notebooks/data/cbpp.csv and contraception.csv from the R packages lme4 and mlmRev.
# Run from the root of the repository:  Rscript tests/reference/datasets.R
# (toenail.R does the same for the third data set, from HSAUR3.)

write_rows <- function(rows, name) {
  stopifnot(!anyNA(rows))
  out <- file(sprintf("notebooks/data/%s.csv", name), "wb")  # binary: the same line ends anywhere
  write.csv(rows, out, row.names = FALSE, quote = FALSE, eol = "\n")
  close(out)
}

label <- function(x) as.integer(as.character(x))

data("cbpp", package = "lme4")
herds <- data.frame(herd = label(cbpp$herd), period = cbpp$period, incidence = cbpp$incidence,
                    size = cbpp$size)
stopifnot(nrow(herds) == 56, length(unique(herds$herd)) == 15)
write_rows(herds, "cbpp")

data("Contraception", package = "mlmRev")
women <- with(Contraception, data.frame(
  woman    = label(woman),
  district = label(district),
  urban    = urban,
  livch    = livch,
  age      = sprintf("%.15g", age),
  use      = as.integer(use == "Y")
))
stopifnot(
  nrow(women) == 1934, length(unique(women$district)) == 60,
  as.numeric(women$age) == Contraception$age  # the text gives R's numbers back, bit for bit
)
write_rows(women, "contraception")
