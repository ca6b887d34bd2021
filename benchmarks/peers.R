# Times lme4 or glmmTMB on the data of one design; benchmarks/__main__.py calls it.
#
# Rscript peers.R PEER FOLDER ROWS COLUMNS THREADS BUDGET REPETITIONS OUTPUT
#   FOLDER       holds y, X and groups, as benchmarks/designs.py writes them
#   BUDGET       seconds that repetitions may take in all, the first one apart
#   REPETITIONS  the most of them
#   OUTPUT       the file to write: JSON

arguments <- commandArgs(trailingOnly = TRUE)
peer <- arguments[1]
folder <- arguments[2]
number <- as.numeric(arguments[3:7])
rows <- number[1]
columns <- number[2]
threads <- number[3]
budget <- number[4]
repetitions <- number[5]
output <- arguments[8]
suppressPackageStartupMessages(library(peer, character.only = TRUE))

numbers <- function(name, what, count) {
  readBin(file.path(folder, name), what, n = count, size = if (what == "integer") 4 else 8)
}

as_data <- function(y, X, groups) {
  colnames(X) <- paste0("x", seq_len(ncol(X)) - 1)
  cbind(data.frame(y = y, g = factor(groups)), X)
}

model <- function(data) {
  reformulate(c("0", setdiff(names(data), c("y", "g")), "(1 | g)"), response = "y")
}

fit <- function(data) {
  if (peer == "lme4") {
    # at a million rows the check of derivatives after the fit would take longer than the fit
    control <- glmerControl(calc.derivs = nrow(data) < 1e6)
    glmer(model(data), data = data, family = binomial, nAGQ = 1, control = control)
  } else {
    control <- glmmTMBControl(parallel = threads)
    glmmTMB(model(data), data = data, family = binomial, control = control)
  }
}

estimates <- function(found) {
  if (peer == "lme4") {
    list(beta = fixef(found), tau = sqrt(VarCorr(found)$g[1, 1]))
  } else {
    list(beta = fixef(found)$cond, tau = sqrt(VarCorr(found)$cond$g[1, 1]))
  }
}

# The kernel's own record of this process's largest resident size, in bytes; Linux only.
forget_peak <- function() try(writeLines("5", "/proc/self/clear_refs"), silent = TRUE)
peak <- function() {
  status <- tryCatch(readLines("/proc/self/status"), error = function(e) "", warning = function(w) "")
  line <- grep("^VmHWM:", status, value = TRUE)
  if (length(line)) 1024 * as.numeric(gsub("\\D", "", line)) else NA
}

timed <- function(data) {
  begin <- proc.time()[["elapsed"]]
  found <- fit(data)
  list(seconds = proc.time()[["elapsed"]] - begin, found = found)
}

# A small fit first, so that what is loaded and compiled at first use is not timed.
set.seed(1)
small <- as_data(rbinom(200, 1, 0.5), cbind(1, rnorm(200)), rep(1:10, 20))
invisible(suppressMessages(suppressWarnings(fit(small))))

data <- as_data(
  numbers("y", "double", rows),
  matrix(numbers("X", "double", rows * columns), ncol = columns, byrow = TRUE),
  numbers("groups", "integer", rows)
)
invisible(gc())
forget_peak()
before <- peak()
said <- character()
first <- withCallingHandlers(
  timed(data),
  warning = function(w) {
    said <<- c(said, conditionMessage(w))
    invokeRestart("muffleWarning")
  },
  message = function(m) {
    said <<- c(said, conditionMessage(m))
    invokeRestart("muffleMessage")
  }
)
memory <- peak() - before
at <- estimates(first$found)
seconds <- first$seconds
more <- min(repetitions - 1, floor(budget / max(first$seconds, 0.001)))
rm(first)
for (i in seq_len(more)) {
  seconds <- c(seconds, suppressMessages(suppressWarnings(timed(data)$seconds)))
}

json <- function(values) paste0("[", paste(sprintf("%.17g", values), collapse = ", "), "]")
quoted <- gsub("[^ -~]", " ", gsub('(["\\\\])', "\\\\\\1", unique(said)))
writeLines(
  paste0(
    '{"seconds": ', json(seconds),
    ', "memory": ', if (is.na(memory)) "null" else sprintf("%.0f", memory),
    ', "beta": ', json(at$beta),
    ', "tau": ', sprintf("%.17g", at$tau),
    ', "said": [', paste0('"', quoted, '"', recycle0 = TRUE, collapse = ", "), "]}"
  ),
  output
)
