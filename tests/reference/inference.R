# Reference values for penalties, profile intervals and likelihood-ratio tests, from lme4.
#
# Run from the root of the repository:  Rscript tests/reference/inference.R     (two minutes)
# Reads   tests/reference/lme4.R, for the functions that both scripts need
#         tests/reference/simulated.csv, boundary.csv
# Writes  tests/reference/culcita.csv, inference.json    (the same bytes each time)
# Needs   lme4, and nothing that does not come with it.
#
# THE MODEL  y_ij ~ Bernoulli(p_ij), logit p_ij = x_ij'beta + u_i, u_i ~ N(0, tau^2).
#
# THE DATA
#   culcita  y ~ x1 + x2 + x3 + (1 | group): whether sea stars (Culcita) ate a coral that crabs (x1),
#            shrimp (x2), both (x3) or none guarded, twice in each of ten blocks, without the second
#            outcome of block 10 without guards. The outcomes are those of table 1 of Sterzinger and
#            Kosmidis (2023), Statistics and Computing 33, 53. They come from McKeon, C. S., Stier,
#            A. C., McIlroy, S. E. and Bolker, B. M. (2012), Multiple defender effects: synergistic
#            coral defense by mutualist crustaceans, Oecologia 169, 1095-1103.
#
# inference.json
#   about      versions and settings
#   culcita    the maximum softly-penalised likelihood, programmed below from the paper's formulas,
#              on lme4's log-likelihood with nAGQ = 100: beta, tau, loglik, penalised, gradient (of
#              `penalised` in (beta, log tau), by differences), se, se_log_tau (from the Hessian of
#              loglik without the penalty)
#   profile    keyed by data and nAGQ: 95 % profile-likelihood intervals of each coefficient and of
#              tau, `lower` and `upper`, where lme4's log-likelihood, maximised over the other
#              parameters, is qchisq(0.95, 1) / 2 below its maximum; and `confint`, what lme4's own
#              confint(method = "profile") says, which interpolates by splines. boundary has the
#              upper end of tau alone.
#   test       simulated, nAGQ = 25: anova() of the models with and without x2, and twice the
#              difference in log-likelihood to the fit without random intercepts

suppressPackageStartupMessages(library(lme4))
options(warn = 1)

# The functions of lme4.R, without running it.
for (line in parse("tests/reference/lme4.R")) {
  is_function <- identical(line[[1]], as.name("<-")) && is.call(line[[3]]) &&
    identical(line[[3]][[1]], as.name("function"))
  if (is_function) eval(line)
}
TOLERANCE <- 1e-13  # of lme4's inner loop, relative

newton <- function(f, theta, free = seq_along(theta), steps = 6) {
  for (step in seq_len(steps)) {
    part <- function(x) f(replace(theta, free, x))
    theta[free] <- theta[free] -
      solve(hessian_of(part, theta[free]), gradient_of(part, theta[free]))
  }
  theta
}

# ---- Culcita -----------------------------------------------------------------------------------

outcomes <- list(
  none = c(0,1, 1,1, 1,1, 1,1, 1,1, 1,1, 1,1, 1,1, 1,1, 1,0),
  crabs = c(0,0, 0,0, 0,0, 0,0, 1,1, 1,1, 1,1, 1,1, 1,1, 1,1),
  shrimp = c(0,0, 0,0, 0,0, 0,0, 0,1, 1,1, 1,1, 1,1, 1,1, 1,1),
  both = c(0,0, 0,0, 0,0, 0,0, 0,0, 0,1, 1,1, 1,1, 1,1, 1,1))
treatment <- rep(1:4, each = 20)
culcita <- write_csv(data.frame(
  y = unlist(outcomes), x1 = +(treatment == 2), x2 = +(treatment == 3), x3 = +(treatment == 4),
  group = rep(rep(1:10, each = 2), 4))[-20, ], "tests/reference/culcita.csv")
data <- as_data(y ~ x1 + x2 + x3 + (1 | group), culcita, "group")

p <- ncol(data$X)
c_soft <- 2 * sqrt(p / nrow(data$X))
jeffreys <- function(beta) {
  prob <- plogis(drop(data$X %*% beta))
  as.numeric(determinant(crossprod(data$X, prob * (1 - prob) * data$X))$modulus) / 2
}
huber <- function(x) if (abs(x) <= 1) -x^2 / 2 else 1 / 2 - abs(x)
f <- objective(data, 100)
penalised <- function(theta) f(theta) + c_soft * (jeffreys(theta[1:p]) + huber(theta[p + 1]))
rough <- optim(rep(0, p + 1), function(theta) -penalised(theta), method = "BFGS",
               control = list(reltol = 1e-12, maxit = 1000))$par
theta <- newton(penalised, rough)
cov <- solve(-hessian_of(f, theta))
soft <- list(
  beta = theta[1:p], tau = exp(theta[p + 1]), loglik = f(theta), penalised = penalised(theta),
  gradient = gradient_of(penalised, theta), se = sqrt(diag(cov))[1:p],
  se_log_tau = sqrt(cov[p + 1, p + 1]))
str(soft)

# ---- Profile intervals ---------------------------------------------------------------------------

CUT <- qchisq(0.95, 1) / 2

profile_ends <- function(f, best, se, which, log_scale, sides = c(-1, 1)) {
  top <- f(best)
  sapply(sides, function(side) {
    others <- setdiff(seq_along(best), which)
    theta <- best
    short <- function(value) {
      theta <<- newton(f, replace(theta, which, value), others, steps = 3)
      top - f(theta) - CUT
    }
    # regula falsi from a bracket around the end of the Wald interval
    near <- best[which] + side * se[which]
    theta <- best
    stopifnot(short(near) < 0)
    far <- near
    while (short(far) < 0) far <- far + side * se[which]
    end <- uniroot(short, sort(c(far - side * se[which], far)), tol = 1e-10)$root
    if (log_scale) exp(end) else end
  })
}

profiles <- function(path, formula, K) {
  frame <- read.csv(path)
  d <- as_data(formula, frame, "group")
  f <- objective(d, K)
  glmm <- quietly(glmer(formula, frame, binomial, nAGQ = K, control = control()))
  best <- newton(f, c(fixef(glmm), log(getME(glmm, "theta"))))
  se <- sqrt(diag(solve(-hessian_of(f, best))))
  q <- length(best)
  ends <- sapply(seq_len(q), function(k) profile_ends(f, best, se, k, k == q))
  own <- quietly(confint(glmm, method = "profile", oldNames = FALSE))
  own <- own[c(rownames(own)[-1], rownames(own)[1]), ]
  list(lower = ends[1, ], upper = ends[2, ],
       confint = list(lower = unname(own[, 1]), upper = unname(own[, 2])))
}

# On the boundary: the log-likelihood at tau, maximised over beta, falls from that of glm().
boundary_upper <- function(path, formula, K) {
  frame <- read.csv(path)
  d <- as_data(formula, frame, "group")
  f <- objective(d, K)
  g <- glm(lme4::nobars(formula), binomial, frame, control = list(epsilon = 1e-14, maxit = 50))
  p <- length(coef(g))
  theta <- c(coef(g), log(0.1))
  short <- function(x) {
    theta <<- newton(f, replace(theta, p + 1, x), seq_len(p), steps = 3)
    as.numeric(logLik(g)) - f(theta) - CUT
  }
  exp(uniroot(short, log(c(0.1, 2)), tol = 1e-10)$root)
}

simulated <- y ~ x1 + x2 + (1 | group)
profile <- list(
  simulated = setNames(lapply(c(1, 25), function(K) {
    profiles("tests/reference/simulated.csv", simulated, K)
  }), c(1, 25)),
  boundary = list("1" = list(upper = boundary_upper("tests/reference/boundary.csv",
                                                    y ~ x1 + (1 | group), 1))))
str(profile)

# ---- Likelihood-ratio tests ----------------------------------------------------------------------

frame <- read.csv("tests/reference/simulated.csv")
large <- quietly(glmer(simulated, frame, binomial, nAGQ = 25, control = control()))
small <- quietly(glmer(y ~ x1 + (1 | group), frame, binomial, nAGQ = 25, control = control()))
table <- anova(large, small)
without <- glm(y ~ x1 + x2, binomial, frame, control = list(epsilon = 1e-14, maxit = 50))
test <- list(statistic = table$Chisq[2], df = table$Df[2], pvalue = table$`Pr(>Chisq)`[2],
             tau_statistic = 2 * (as.numeric(logLik(large)) - as.numeric(logLik(without))))
str(test)

values <- list(
  about = list(script = "tests/reference/inference.R", R = as.character(getRversion()),
               lme4 = as.character(packageVersion("lme4")), tolPwrss = TOLERANCE),
  culcita = soft, profile = profile, test = test)
out <- file("tests/reference/inference.json", "wb")
writeLines(to_json(values), out, sep = "\n")
close(out)
