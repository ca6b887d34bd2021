# Reference values for reml=True, from glmmTMB with REML = TRUE.
#
# Run from the root of the repository:  Rscript tests/reference/restricted.R     (a few seconds)
# Reads   tests/reference/simulated.csv; notebooks/data/cbpp.csv, contraception.csv
# Writes  tests/reference/few_sites.csv, restricted.json    (the same bytes each time)
# Needs   glmmTMB and jsonlite.
#
# THE MODEL  y_ij ~ Bernoulli(p_ij), logit p_ij = x_ij'beta + u_i, u_i ~ N(0, tau^2).
#
# glmmTMB integrates over the coefficients and the random intercepts at once, by the Laplace
# approximation at their joint mode. laplace integrates over the random intercepts first, and over
# the coefficients at the maximum of what is left. The two are near each other, and not the same; the
# coefficients of glmmTMB are those of the joint mode, so that tau alone is compared.
#
# THE DATA
#   few_sites  y ~ x + z + (1 | group): 5 groups of 40 rows, drawn below; z is constant in groups
#   simulated: see lme4.R;  cbpp, contraception: see notebooks/data
#
# restricted.json
#   about      versions
#   by data    tau, criterion (the log of the integral, by the approximation), ml (tau by REML = FALSE)

suppressPackageStartupMessages(library(glmmTMB))
RNGversion("4.0.0")  # the generators of this version, whichever R runs the script
options(warn = 1)

set.seed(12)
group <- rep(1:5, each = 40)
z <- c(0, 1, 0, 1, 1)[group]
x <- round(rnorm(200), 3)
u <- c(-0.9, 0.7, 0.4, -0.5, 1.1)[group]
few_sites <- data.frame(
  y = rbinom(200, 1, plogis(-0.3 + 0.8 * x + 0.4 * z + u)), x = x, z = z, group = group)
write.csv(few_sites, "tests/reference/few_sites.csv", row.names = FALSE, quote = FALSE)

simulated <- read.csv("tests/reference/simulated.csv")
contraception <- read.csv("notebooks/data/contraception.csv")
cbpp <- read.csv("notebooks/data/cbpp.csv")
cbpp$period <- factor(cbpp$period)

fits <- list(
  few_sites = list(y ~ x + z + (1 | group), few_sites),
  simulated = list(y ~ x1 + x2 + (1 | group), simulated),
  contraception = list(use ~ age + I(age^2) + urban + livch + (1 | district), contraception),
  cbpp = list(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp))

tight <- glmmTMBControl(optCtrl = list(iter.max = 1000, eval.max = 1000, rel.tol = 1e-10))
result <- lapply(fits, function(one) {
  by <- lapply(c(reml = TRUE, ml = FALSE), function(reml)
    glmmTMB(one[[1]], one[[2]], family = binomial, REML = reml, control = tight))
  tau <- function(fit) attr(VarCorr(fit)$cond[[1]], "stddev")[[1]]
  list(tau = tau(by$reml), criterion = as.numeric(logLik(by$reml)), ml = tau(by$ml))
})
about <- list(
  R = paste(R.version$major, R.version$minor, sep = "."),
  glmmTMB = as.character(packageVersion("glmmTMB")), TMB = as.character(packageVersion("TMB")))
writeLines(
  jsonlite::toJSON(c(list(about = about), result), auto_unbox = TRUE, pretty = TRUE, digits = 10),
  "tests/reference/restricted.json")
