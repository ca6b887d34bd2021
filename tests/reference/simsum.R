# Writes simsum.csv, made-up estimates of two methods, and simsum.json, the performance measures of
# the R package rsimsum for them. Run from the root of the repository, with the package's source:
#   Rscript tests/reference/simsum.R path/to/rsimsum

source_of <- commandArgs(trailingOnly = TRUE)[1]
for (file in c("compact-method-column", "dropbig", "performance", "simsum", "utils")) {
  source(file.path(source_of, "R", paste0(file, ".R")))
}

# The package's own example gives the values that its introduction prints.
load(file.path(source_of, "data", "MIsim.rda"))
example <- simsum(MIsim, estvarname = "b", true = 0.50, se = "se", methodvar = "method", ref = "CC")
bias <- subset(example$summ, stat == "bias")
stopifnot(round(bias$est, 4) == c(0.0168, 0.0009, -0.0012),
          round(bias$mcse, 4) == c(0.0048, 0.0042, 0.0043))

set.seed(1, kind = "Mersenne-Twister", normal.kind = "Inversion")
replicates <- 60
shared <- rnorm(replicates)
rows <- rbind(
  data.frame(method = "a", replicate = seq_len(replicates) - 1, estimate = 0.55 + 0.2 * shared,
             standard_error = runif(replicates, 0.12, 0.28)),
  data.frame(method = "b", replicate = seq_len(replicates) - 1,
             estimate = 0.45 + 0.15 * shared + 0.1 * rnorm(replicates),
             standard_error = runif(replicates, 0.10, 0.20)))
rows$truth <- 0.5
# as many digits as a 32-bit number has for certain
rows$estimate <- signif(rows$estimate, 5)
rows$standard_error <- signif(rows$standard_error, 5)
write.csv(rows, "tests/reference/simsum.csv", row.names = FALSE, quote = FALSE)

result <- simsum(rows, estvarname = "estimate", true = "truth", se = "standard_error",
                 methodvar = "method", ref = "a")$summ
values <- lapply(split(result, result$method), function(of_method) {
  pairs <- lapply(seq_len(nrow(of_method)), function(i) {
    list(est = of_method$est[i], mcse = of_method$mcse[i])
  })
  setNames(pairs, of_method$stat)
})
version <- read.dcf(file.path(source_of, "DESCRIPTION"))[, "Version"]
about <- list(script = "tests/reference/simsum.R", R = as.character(getRversion()),
              rsimsum = unname(version))
text <- jsonlite::toJSON(c(list(about = about), values), digits = 15, auto_unbox = TRUE,
                         pretty = TRUE)
writeLines(text, "tests/reference/simsum.json")
