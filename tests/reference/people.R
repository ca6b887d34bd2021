# Reference values for weights, residuals, predictions with standard errors, and Wald tests by term.
#
# Run from the root of the repository:  Rscript tests/reference/people.R     (a few seconds)
# Reads   notebooks/data/cbpp.csv, tests/reference/simulated.csv, counts.csv
# Writes  tests/reference/people.json    (the same bytes each time)
# Needs   lme4, glmmTMB, jsonlite
#
# people.json
#   about      versions
#   residuals  cbpp, incidence of size ~ period + (1 | herd), Laplace, by lme4: residuals of the
#              proportions, by type, at the conditional modes
#   weights    simulated, y ~ x1 + x2 + (1 | group) with weights 1, 2, 3, 1, ..., by lme4 with 25
#              nodes; counts, y ~ x1 + x2 + offset(log(exposure)) + (1 | group), Poisson with the same
#              weights, by glmmTMB: beta, tau, loglik
#   predict    cbpp by glmmTMB (Laplace): linear predictor and standard error of a typical herd in
#              each period, and of the rows of the data with the herd's own intercept
#   terms      cbpp by glmmTMB: Wald's chi-squared of period

suppressPackageStartupMessages({library(lme4); library(glmmTMB); library(jsonlite)})
options(warn = 1)

cbpp <- read.csv("notebooks/data/cbpp.csv", colClasses = c(herd = "factor", period = "factor"))
simulated <- read.csv("tests/reference/simulated.csv")
counts <- read.csv("tests/reference/counts.csv")
simulated$w <- 1 + (seq_len(nrow(simulated)) - 1) %% 3
counts$w <- 1 + (seq_len(nrow(counts)) - 1) %% 3

tight <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e6),
                      tolPwrss = 1e-13, calc.derivs = FALSE)
sharp <- glmmTMBControl(optCtrl = list(iter.max = 1000, eval.max = 1000, rel.tol = 1e-13,
                                       x.tol = 1e-10))

by_lme4 <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial,
                 control = tight)
residuals_of <- function(type) as.numeric(residuals(by_lme4, type = type))

weighted <- glmer(y ~ x1 + x2 + (1 | group), simulated, binomial, weights = w, nAGQ = 25,
                  control = tight)
counted <- glmmTMB(y ~ x1 + x2 + offset(log(exposure)) + (1 | group), counts, poisson, weights = w,
                   control = sharp)
by_tmb <- glmmTMB(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial,
                  control = sharp)
new <- data.frame(period = factor(1:4), herd = NA)
typical <- predict(by_tmb, new, se.fit = TRUE, re.form = NA)
own <- predict(by_tmb, se.fit = TRUE)
b <- fixef(by_tmb)$cond
V <- vcov(by_tmb)$cond
period <- grep("period", names(b))
tau_of <- function(fit) sqrt(as.numeric(VarCorr(fit)$cond[[1]]))

write_json(
  list(
    about = list(script = "tests/reference/people.R", R = as.character(getRversion()),
                 lme4 = as.character(packageVersion("lme4")),
                 glmmTMB = as.character(packageVersion("glmmTMB"))),
    residuals = lapply(c(response = "response", pearson = "pearson", deviance = "deviance"),
                       residuals_of),
    weights = list(
      simulated = list(beta = as.numeric(fixef(weighted)),
                       tau = as.numeric(getME(weighted, "theta")),
                       loglik = as.numeric(logLik(weighted))),
      counts = list(beta = as.numeric(fixef(counted)$cond), tau = tau_of(counted),
                    loglik = as.numeric(logLik(counted)))),
    predict = list(typical = lapply(typical, as.numeric), own = lapply(own, as.numeric)),
    terms = list(period = as.numeric(t(b[period]) %*% solve(V[period, period]) %*% b[period]))),
  "tests/reference/people.json", auto_unbox = TRUE, digits = NA, pretty = TRUE)
