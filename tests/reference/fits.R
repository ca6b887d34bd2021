# What lme4 and glmmTMB give for the data sets of the package: reference values for the tests, and
# the numbers that the chapter on real data shows beside its own.
#
# Run from the root of the repository:  Rscript tests/reference/fits.R         (three minutes)
# Reads   notebooks/data/*.csv; tests/reference/lme4.R, for the functions that both scripts need
# Writes  notebooks/data/fits.json                              (the same bytes each time)
# Needs   lme4, glmmTMB, and nothing that does not come with them.
#
# fits.json
#   about      versions; the control settings
#   toenail, cbpp, contraception   each has
#     call         as an R user would write it, `nodes` for the number of nodes
#     md5, columns   of the CSV file: its hash; sums of columns of numbers, counts of categories
#     terms        R's names of the columns of X
#     rows, groups   rows with 0/1 outcomes; cbpp's counts are taken apart into them
#     log_coefficients   what the counts add to the log-likelihood of those rows: the log of the
#                  binomial coefficients; 0 where the outcomes are 0/1 as they come
#     saturated    what lme4 leaves out for nAGQ > 1; see below
#     glmer        keyed by nAGQ: what `call` returns, with no further settings; beta, tau, loglik,
#                  se (from vcov); messages, lme4's own
#     maximum      keyed by nAGQ: lme4's objective, on 0/1 rows, maximised from there with Newton
#                  steps on lme4's own deviance function; beta, tau, loglik, se, se_log_tau, modes
#                  as in lme4.json, whose script says more; gradient, of `loglik` in (beta, log
#                  tau), in the units of the differences; loglik_direct, the same approximation
#                  programmed without lme4; loglik_glmer, the value at glmer's estimates, lme4's
#                  inner loop converged
#     integral     the log-likelihood itself at the last of these maxima, by integrate()
#     glmmTMB      of the same model, by its own optimiser and then Newton steps on its own gradient:
#                  beta, tau, loglik, se, se_log_tau, gradient
#
# THE CONSTANT  For nAGQ > 1 lme4 (1.1.31) measures the log-likelihood of counts from the saturated
# model: it leaves out sum(dbinom(y, n, y / n, log = TRUE)), `saturated`. On 0/1 rows that is zero,
# so that all values in `maximum` keep all constants. Those in `glmer` are as lme4 prints them.

suppressPackageStartupMessages({
  library(lme4)
  library(glmmTMB)
})
options(warn = 1)

# The functions of lme4.R, without running it.
for (line in parse("tests/reference/lme4.R")) {
  is_function <- identical(line[[1]], as.name("<-")) && is.call(line[[3]]) &&
    identical(line[[3]][[1]], as.name("function"))
  if (is_function) eval(line)
}

TOLERANCE <- 1e-13  # of lme4's inner loop, relative
NEWTON_STEPS <- 5
# Steps of the differences, in standard errors, and the unit of log tau, of the size of its own.
H_GRADIENT <- 0.005
H_HESSIAN <- 0.02
UNIT_LOG_TAU <- 0.1
H_TMB <- 2e-3  # of glmmTMB's exact gradient, differenced once

# ---- The data and the calls --------------------------------------------------------------------

read_rows <- function(name) {
  read.csv(sprintf("notebooks/data/%s.csv", name), stringsAsFactors = TRUE)
}

toenail <- read_rows("toenail")
cbpp <- transform(read_rows("cbpp"), period = factor(period))
contraception <- read_rows("contraception")

MODELS <- list(
  toenail = list(
    frame = toenail, group = "patient", nodes = c(1, 3, 5, 9, 10, 20, 25, 50, 75, 100),
    call = quote(glmer(outcome ~ treatment * month + (1 | patient), data = toenail,
                       family = binomial, nAGQ = nodes))),
  cbpp = list(
    frame = cbpp, group = "herd", nodes = c(1, 5, 9, 25),
    call = quote(glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), data = cbpp,
                       family = binomial, nAGQ = nodes))),
  contraception = list(
    frame = contraception, group = "district", nodes = c(1, 5, 9, 25),
    call = quote(glmer(use ~ age + I(age^2) + urban + livch + (1 | district),
                       data = contraception, family = binomial, nAGQ = nodes)))
)

# Rows of counts as rows of 0/1 outcomes, successes first.
one_by_one <- function(frame, successes, trials) {
  rows <- frame[rep(seq_len(nrow(frame)), trials), ]
  rows$outcome <- unlist(Map(function(k, n) rep(1:0, c(k, n - k)), successes, trials))
  rows
}

# What the fits need of a model: its 0/1 rows, and what counts add to their log-likelihood.
prepare <- function(model) {
  formula <- eval(model$call[[2]])
  frame <- model$frame
  y <- model.response(model.frame(lme4::nobars(formula), frame))
  counts <- is.matrix(y)
  n <- if (counts) rowSums(y) else rep(1, length(y))
  k <- if (counts) y[, 1] else y
  if (counts) {
    frame <- one_by_one(frame, k, n)
    formula[[2]] <- quote(outcome)
  }
  c(as_data(formula, frame, model$group),
    list(log_coefficients = sum(lchoose(n, k)),
         saturated = sum(dbinom(k, n, k / n, log = TRUE))))
}

# ---- lme4 --------------------------------------------------------------------------------------

as_called <- function(model, K) {
  fit <- eval(model$call, list(nodes = K))
  list(beta = unname(fixef(fit)), tau = unname(getME(fit, "theta")),
       loglik = as.numeric(logLik(fit)), se = unname(sqrt(diag(as.matrix(vcov(fit))))),
       messages = as.list(gsub("\\s+", " ", fit@optinfo$conv$lme4$messages)))
}

# All differences are taken in units of glmer's standard errors, so that the covariates may have any
# scale.
maximum <- function(data, from, K) {
  p <- ncol(data$X)
  unit <- c(from$se, UNIT_LOG_TAU)
  in_parameters <- objective(data, K)
  f <- function(x) in_parameters(unit * x)
  x <- start <- c(from$beta, log(from$tau)) / unit
  for (step in seq_len(NEWTON_STEPS)) {
    x <- x - solve(hessian_of(f, x, H_HESSIAN), gradient_of(f, x, H_GRADIENT))
  }
  se <- unit * sqrt(diag(solve(-hessian_of(f, x, H_HESSIAN))))
  theta <- unit * x
  beta <- theta[1:p]
  tau <- exp(theta[p + 1])
  eta <- drop(data$X %*% beta)
  groups <- split(seq_along(eta), data$group)[1:8]
  fit <- list(
    beta = beta, tau = tau, loglik = f(x), loglik_direct = direct(data, beta, tau, K),
    loglik_glmer = f(start), gradient = gradient_of(f, x, H_GRADIENT), se = se[1:p],
    se_log_tau = se[p + 1],
    modes = lapply(groups, function(j) mode_of(data$y[j], eta[j], tau)[1])
  )
  cat(sprintf("  nAGQ = %-3g loglik %.10f  tau %.8f  max |gradient| %.1e  from glmer %.1e\n", K,
              fit$loglik, tau, max(abs(fit$gradient)), fit$loglik - fit$loglik_glmer))
  stopifnot(max(abs(fit$gradient)) < 1e-9, abs(fit$loglik - fit$loglik_direct) < 1e-9)
  fit
}

# ---- glmmTMB -----------------------------------------------------------------------------------

of_tmb <- function(model) {
  call <- model$call
  call[[1]] <- quote(glmmTMB)
  call$nAGQ <- NULL
  from <- eval(call)
  obj <- from$obj
  theta <- obj$env$last.par.best[-obj$env$random]
  p <- length(theta) - 1
  unit <- c(sqrt(diag(vcov(from)$cond)), UNIT_LOG_TAU)
  information <- function(theta) {
    optimHess(theta, obj$fn, obj$gr, control = list(ndeps = H_TMB * unit))
  }
  for (step in seq_len(NEWTON_STEPS)) {
    theta <- theta - solve(information(theta), drop(obj$gr(theta)))
  }
  se <- sqrt(diag(solve(information(theta))))
  fit <- list(beta = unname(theta[1:p]), tau = unname(exp(theta[p + 1])),
              loglik = -as.numeric(obj$fn(theta)), gradient = -unit * drop(obj$gr(theta)),
              se = unname(se[1:p]), se_log_tau = unname(se[p + 1]))
  cat(sprintf("  glmmTMB    loglik %.10f  tau %.8f  max |gradient| %.1e\n", fit$loglik, fit$tau,
              max(abs(fit$gradient))))
  stopifnot(max(abs(fit$gradient)) < 1e-9)
  fit
}

# ---- All of it ---------------------------------------------------------------------------------

about_columns <- function(frame) {
  lapply(frame, function(x) if (is.factor(x)) as.list(table(x)) else sum(x))
}

values_of <- function(name) {
  cat(name, "\n")
  model <- MODELS[[name]]
  data <- prepare(model)
  by_nodes <- function(value) setNames(lapply(model$nodes, value), model$nodes)
  called <- by_nodes(function(K) as_called(model, K))
  best <- by_nodes(function(K) maximum(data, called[[as.character(K)]], K))
  last <- best[[length(best)]]
  c(list(call = paste(trimws(deparse(model$call, width.cutoff = 500)), collapse = " "),
         md5 = unname(tools::md5sum(sprintf("notebooks/data/%s.csv", name))),
         columns = about_columns(model$frame), terms = as.list(colnames(data$X)),
         rows = nrow(data$X), groups = length(unique(data$group)),
         log_coefficients = data$log_coefficients, saturated = data$saturated),
    list(glmer = called, maximum = best, integral = integral(data, last$beta, last$tau),
         glmmTMB = of_tmb(model)))
}

values <- c(
  list(about = list(
    script = "tests/reference/fits.R", R = as.character(getRversion()),
    lme4 = as.character(packageVersion("lme4")), glmmTMB = as.character(packageVersion("glmmTMB")),
    TMB = as.character(packageVersion("TMB")), tolPwrss = TOLERANCE,
    newton_steps = NEWTON_STEPS)),
  sapply(names(MODELS), values_of, simplify = FALSE))

out <- file("notebooks/data/fits.json", "wb")
writeLines(to_json(values), out, sep = "\n")
close(out)
