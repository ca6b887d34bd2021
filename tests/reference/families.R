# Reference values for binomial and Poisson outcomes, from lme4 and from R's own integrate().
#
# Run from the root of the repository:  Rscript tests/reference/families.R     (ten seconds)
# Reads   notebooks/data/cbpp.csv; tests/reference/lme4.R, for the functions that both scripts need
# Writes  tests/reference/counts.csv, families.json    (the same bytes each time)
# Needs   lme4, and nothing that does not come with it.
#
# THE MODELS  y_ij ~ Binomial(n_ij, p_ij), logit p_ij = x_ij'beta + u_i, u_i ~ N(0, tau^2), and
#             y_ij ~ Poisson(m_ij),        log m_ij = offset_ij + x_ij'beta + u_i.
#
# THE DATA
#   cbpp    cbind(incidence, size - incidence) ~ period + (1 | herd), the package's copy of it
#   counts  y ~ x1 + x2 + offset(log(exposure)) + (1 | group): 40 groups of 1 to 12 rows, simulated
#
# families.json
#   about      versions; the control settings
#   cbpp, counts   each has `columns` (of X, in order), `rows`, `groups`, and
#     saturated    what lme4 drops for nAGQ > 1; see below
#     fits         keyed by nAGQ; beta, tau, loglik, loglik_direct, loglik_integral, gradient, se,
#                  se_log_tau, modes and glmer_default as in lme4.json, whose script says more
#     fixed        log-likelihoods at given parameters away from the maximum: beta, tau, integral,
#                  lme4 (by nAGQ), direct (by nAGQ), ordinary (by K)
#     glm          the fit without random intercepts: beta, loglik, se, and `score_tau2`, the
#                  derivative of the log-likelihood in tau^2 at tau = 0
#
# THE CONSTANT  For nAGQ > 1 lme4 (1.1.31) measures the log-likelihood from the saturated model: it
# leaves out sum(dbinom(y, n, y / n, log = TRUE)), or sum(dpois(y, y, log = TRUE)). It is added back
# here, so that every value keeps all constants: the binomial coefficients, and 1 / y!. Without
# lme4, `direct` and `integral` say the same; the script stops where they do not.

suppressPackageStartupMessages(library(lme4))
RNGversion("4.0.0")  # the generators of this version, whichever R runs the script
options(warn = 1)

# The functions of lme4.R, without running it; those that follow here replace some of them.
for (line in parse("tests/reference/lme4.R")) {
  is_function <- identical(line[[1]], as.name("<-")) && is.call(line[[3]]) &&
    identical(line[[3]][[1]], as.name("function"))
  if (is_function) eval(line)
}

TOLERANCE <- 1e-13  # of lme4's inner loop, relative
NAGQ <- c(1, 9, 25)

# ---- The log-likelihood without lme4 -----------------------------------------------------------

# What differs between the families, as functions of y, the number of trials n, and eta.
FAMILIES <- list(
  binomial = list(
    log_density = function(y, n, eta) {
      lchoose(n, y) + y * plogis(eta, log.p = TRUE) + (n - y) * plogis(-eta, log.p = TRUE)
    },
    mean = function(n, eta) n * plogis(eta),
    variance = function(n, eta) n * plogis(eta) * plogis(-eta),
    saturated = function(y, n) sum(dbinom(y, n, y / n, log = TRUE))
  ),
  poisson = list(
    log_density = function(y, n, eta) y * eta - exp(eta) - lfactorial(y),
    mean = function(n, eta) exp(eta),
    variance = function(n, eta) exp(eta),
    saturated = function(y, n) sum(dpois(y, y, log = TRUE))
  )
)

log_integrand <- function(u, f, rows, tau) {
  of_rows <- sapply(u, function(v) sum(f$log_density(rows$y, rows$n, rows$eta + v)))
  of_rows + dnorm(u, 0, tau, log = TRUE)
}

mode_of <- function(f, rows, tau) {
  score <- function(u) sum(rows$y - f$mean(rows$n, rows$eta + u)) - u / tau^2
  information <- function(u) sum(f$variance(rows$n, rows$eta + u)) + 1 / tau^2
  u <- uniroot(score, c(-1, 1), extendInt = "downX", tol = 1e-10)$root
  for (step in 1:4) u <- u + score(u) / information(u)
  c(u, information(u)^-0.5)
}

by_group <- function(data, beta, one_group) {
  eta <- drop(data$X %*% beta) + data$offset
  sapply(split(seq_along(eta), data$group), function(j) {
    one_group(list(y = data$y[j], n = data$n[j], eta = eta[j]))
  })
}

integral <- function(data, beta, tau) {
  sum(by_group(data, beta, function(rows) {
    m <- mode_of(data$f, rows, tau)
    top <- log_integrand(m[1], data$f, rows, tau)
    height <- function(s) exp(log_integrand(m[1] + m[2] * s, data$f, rows, tau) - top)
    piece <- function(a, b) {
      integrate(height, a, b, rel.tol = 1e-12, abs.tol = 0, subdivisions = 1000)$value
    }
    top + log(m[2]) + log(piece(-Inf, 0) + piece(0, Inf))
  }))
}

direct <- function(data, beta, tau, K, adaptive = TRUE) {
  rule <- gauss_hermite(K)
  sum(by_group(data, beta, function(rows) {
    m <- if (adaptive) mode_of(data$f, rows, tau) else c(0, tau)
    u <- m[1] + m[2] * rule$z
    from <- log_integrand(u, data$f, rows, tau) - dnorm(u, m[1], m[2], log = TRUE)
    log_sum_exp(rule$logw + from)
  }))
}

# ---- lme4 --------------------------------------------------------------------------------------

glmer_of <- function(data, K, ...) {
  quietly(glmer(data$formula, data$frame, data$family, nAGQ = K, ...))
}

# lme4's log-likelihood as a function of (beta, log tau); see lme4.R.
objective <- function(data, K) {
  deviance <- glmer_of(data, K, devFunOnly = TRUE, control = control())
  inside <- environment(deviance)
  start <- inside$lp0
  p <- ncol(data$X)
  constant <- if (K > 1) data$f$saturated(data$y, data$n) else 0
  function(theta) {
    par <- c(exp(theta[p + 1]), theta[1:p])
    inside$lp0 <- start
    deviance(par)
    inside$lp0 <- inside$resp$eta - inside$baseOffset
    constant - deviance(par) / 2
  }
}

interior_fit <- function(data, K) {
  p <- ncol(data$X)
  f <- objective(data, K)
  default <- glmer_of(data, K)
  constant <- if (K > 1) data$f$saturated(data$y, data$n) else 0
  theta <- c(fixef(default), log(getME(default, "theta")))
  for (step in 1:5) theta <- theta - solve(hessian_of(f, theta), gradient_of(f, theta))
  cov <- solve(-hessian_of(f, theta))
  beta <- unname(theta[1:p])
  tau <- unname(exp(theta[p + 1]))
  modes <- by_group(data, beta, function(rows) mode_of(data$f, rows, tau)[1])
  fit <- list(
    beta = beta, tau = tau, loglik = f(theta), loglik_direct = direct(data, beta, tau, K),
    loglik_integral = integral(data, beta, tau), gradient = unname(gradient_of(f, theta)),
    se = unname(sqrt(diag(cov))[1:p]), se_log_tau = unname(sqrt(cov[p + 1, p + 1])),
    modes = as.list(modes[1:8]),
    glmer_default = list(
      beta = unname(fixef(default)), tau = unname(getME(default, "theta")),
      loglik = as.numeric(logLik(default)) + constant,
      se = unname(sqrt(diag(as.matrix(quietly(vcov(default)))))))
  )
  cat(sprintf("  nAGQ = %-2g  loglik %.10f  tau %.8f  max |gradient| %.1e\n", K, fit$loglik, tau,
              max(abs(fit$gradient))))
  stopifnot(max(abs(fit$gradient)) < 1e-9, abs(fit$loglik - fit$loglik_direct) < 1e-9)
  fit
}

at_fixed <- function(data, beta, tau, ordinary) {
  by <- function(K, value) as.list(setNames(sapply(K, value), K))
  list(beta = beta, tau = tau, integral = integral(data, beta, tau),
       lme4 = by(NAGQ, function(K) objective(data, K)(c(beta, log(tau)))),
       direct = by(NAGQ, function(K) direct(data, beta, tau, K)),
       ordinary = by(ordinary, function(K) direct(data, beta, tau, K, adaptive = FALSE)))
}

plain_fit <- function(data) {
  g <- glm(lme4::nobars(data$formula), data$family, data$frame,
           control = list(epsilon = 1e-14, maxit = 50))
  scores <- by_group(data, coef(g), function(rows) {
    sum(rows$y - data$f$mean(rows$n, rows$eta))^2 - sum(data$f$variance(rows$n, rows$eta))
  })
  list(beta = unname(coef(g)), loglik = as.numeric(logLik(g)), se = unname(sqrt(diag(vcov(g)))),
       score_tau2 = sum(scores) / 2)
}

all_of <- function(data, beta, tau) {
  cat(data$family, "\n")
  list(columns = as.list(colnames(data$X)), rows = nrow(data$X),
       groups = length(unique(data$group)), saturated = data$f$saturated(data$y, data$n),
       fits = setNames(lapply(NAGQ, function(K) interior_fit(data, K)), NAGQ),
       fixed = at_fixed(data, beta, tau, c(5, 25)), glm = plain_fit(data))
}

# ---- The data ----------------------------------------------------------------------------------

as_data <- function(formula, family, frame, n, offset) {
  X <- model.matrix(lme4::nobars(formula), frame)
  list(formula = formula, family = family, f = FAMILIES[[family]], frame = frame, X = X,
       y = frame$y, n = n, offset = offset, group = frame$group)
}

counts_csv <- function(path) {
  set.seed(20240503)
  size <- sample(rep(1:12, length.out = 40))
  group <- rep(1:40, size)
  x1 <- round(rnorm(length(group)), 3)
  x2 <- rbinom(length(group), 1, 0.4)
  exposure <- round(exp(rnorm(length(group), 0, 0.5)), 3)
  u <- rnorm(40, 0, 0.8)
  y <- rpois(length(group), exposure * exp(0.4 + 0.5 * x1 - 0.6 * x2 + u[group]))
  write_csv(data.frame(y, x1, x2, exposure, group), path)
}

herds <- with(read.csv("notebooks/data/cbpp.csv"), data.frame(
  y = incidence, trials = size, period = factor(period), group = herd))
events <- counts_csv("tests/reference/counts.csv")
binomial_data <- as_data(cbind(y, trials - y) ~ period + (1 | group), "binomial", herds,
                         herds$trials, numeric(nrow(herds)))
poisson_data <- as_data(y ~ x1 + x2 + offset(log(exposure)) + (1 | group), "poisson", events,
                        rep(1, nrow(events)), log(events$exposure))

values <- list(
  about = list(script = "tests/reference/families.R", R = as.character(getRversion()),
               lme4 = as.character(packageVersion("lme4")), tolPwrss = TOLERANCE,
               newton_steps = 5),
  cbpp = all_of(binomial_data, c(-1, -0.5, -1.5, -1), 1.1),
  counts = all_of(poisson_data, c(0.2, 0.7, -0.3), 1.3))

out <- file("tests/reference/families.json", "wb")
writeLines(to_json(values), out, sep = "\n")
close(out)
